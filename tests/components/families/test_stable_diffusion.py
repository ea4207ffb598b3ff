"""Stable Diffusion on small pipelines with seeded random weights, saved and loaded for real.

Truth is diffusers itself, called directly, and plain arithmetic: a LoRA merged by hand, a mask laid
over by hand.
"""

import errno
import functools
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch.testing import assert_close

from components.common.checkpoints import load_weights, save_weights
from components.common.vision import import_torchvision
from components.families.port import Inputs, Request, Shape
from components.families.stable_diffusion import method
from components.families.stable_diffusion.config import Options, StableDiffusionConfig
from components.families.stable_diffusion.files import PipelineError, wanted_files
from components.families.stable_diffusion.method import Sampler, make_canvas
from components.families.stable_diffusion.published import adopt
from components.families.trainer import Machine

import_torchvision()  # transformers imports it too, and may need the same help
MISSING = "needs the extra: pip install 'atelier[stable-diffusion]'"
diffusers: Any = pytest.importorskip("diffusers", reason=MISSING)
transformers: Any = pytest.importorskip("transformers", reason=MISSING)

# Of diffusers' schedulers, about how they call numpy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")

CAT = Inputs(prompt="a cat")
QUICK = Options(steps=2)
STYLES = torch.ones(1, 1)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


# ---------------------------------------------------------------- small pipelines

Build = Callable[[Path], Any]


def tokenizer(folder: Path) -> Any:
    """Reads letters; written down as CLIP's own is."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    vocabulary = {word: place for place, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer.from_pretrained(str(folder), model_max_length=77)


def text_encoder(projection: int | None = None) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=54,
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
        projection_dim=projection or 32,
    )
    if projection:
        return transformers.CLIPTextModelWithProjection(config)
    return transformers.CLIPTextModel(config)


def unet(**changes: Any) -> Any:
    chosen = {
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 2,
    }
    return diffusers.UNet2DConditionModel(**chosen | changes)


def vae() -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=16,
    )


def scheduler() -> Any:
    return diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )


def text_pipeline(folder: Path, kind: str = "StableDiffusionPipeline", **changes: Any) -> Any:
    return getattr(diffusers, kind)(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(folder / "tokens"),
        unet=unet(**changes),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def xl_pipeline(folder: Path) -> Any:
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=text_encoder(),
        text_encoder_2=text_encoder(projection=32),
        tokenizer=tokenizer(folder / "tokens"),
        tokenizer_2=tokenizer(folder / "tokens 2"),
        unet=unet(
            cross_attention_dim=64,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=80,
            use_linear_projection=True,
        ),
        scheduler=scheduler(),
    )


def unclip_pipeline(folder: Path) -> Any:
    """Pipeline like SD 2.1 unCLIP: takes a picture's CLIP embedding, and words if any."""
    return diffusers.StableUnCLIPImg2ImgPipeline(
        **picture_reader(),
        image_normalizer=import_normalizer()(embedding_dim=32),
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=tokenizer(folder / "tokens"),
        text_encoder=text_encoder(),
        unet=unet(class_embed_type="projection", projection_class_embeddings_input_dim=64),
        scheduler=scheduler(),
        vae=vae(),
    )


def karlo_pipeline(folder: Path) -> Any:
    """Pipeline like Karlo, the published unCLIP: it paints pixels, enlarged 8×8 => 16×16."""
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    resnets = {"down_block_types": ("ResnetDownsampleBlock2D",) * 2}
    resnets |= {"up_block_types": ("ResnetUpsampleBlock2D",) * 2}
    small = {"block_out_channels": (32, 64), "layers_per_block": 1}
    return diffusers.UnCLIPImageVariationPipeline(
        **picture_reader(),
        tokenizer=tokenizer(folder / "tokens"),
        text_encoder=text_encoder(projection=32),
        text_proj=UnCLIPTextProjModel(
            clip_embeddings_dim=32, time_embed_dim=128, cross_attention_dim=32
        ),
        decoder=diffusers.UNet2DConditionModel(
            sample_size=8,
            in_channels=3,
            out_channels=6,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            cross_attention_dim=32,
            attention_head_dim=4,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="identity",
            **small,
        ),
        super_res_first=diffusers.UNet2DModel(16, 6, 3, **small, **resnets),
        super_res_last=diffusers.UNet2DModel(16, 6, 3, **small, **resnets),
        decoder_scheduler=diffusers.UnCLIPScheduler(variance_type="learned_range"),
        super_res_scheduler=diffusers.UnCLIPScheduler(variance_type="fixed_small_log"),
    )


def picture_reader() -> dict[str, Any]:
    config = transformers.CLIPVisionConfig(
        hidden_size=32,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        intermediate_size=37,
        patch_size=8,
    )
    sides = {"shortest_edge": 32}
    return {
        "feature_extractor": transformers.CLIPImageProcessor(crop_size=32, size=sides),
        "image_encoder": transformers.CLIPVisionModelWithProjection(config).eval(),
    }


def import_normalizer() -> Any:
    from diffusers.pipelines.stable_diffusion import StableUnCLIPImageNormalizer

    return StableUnCLIPImageNormalizer


BUILDS: dict[str, Build] = {
    "sd": text_pipeline,
    "sdxl": xl_pipeline,
    "inpainting": functools.partial(
        text_pipeline, kind="StableDiffusionInpaintPipeline", in_channels=9
    ),
    "unclip": unclip_pipeline,
    "karlo": karlo_pipeline,
}

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a saved pipeline, by name; built when it is first asked for."""

    @functools.cache
    def saved(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        BUILDS[name](root).save_pretrained(root / name)
        index = root / name / "model_index.json"
        fields = json.loads(index.read_text())
        if "text_proj" in fields:  # as Karlo is published
            fields["text_proj"] = ["unclip", "UnCLIPTextProjModel"]
            index.write_text(json.dumps(fields))
        return root / name

    return saved


def sampler_of(pipeline: Path, **changes: Any) -> Sampler:
    """Sampler as generation makes one: from a model's config and its empty weights."""
    config = StableDiffusionConfig(**adopt(str(pipeline), **changes).config)
    network = method.PipelineNetwork(config, Shape(16, 1))
    network.load_state_dict({})
    return method.Sampler(network.to(CPU), config)


@pytest.fixture(scope="module")
def sd(folder: Folder) -> Sampler:
    return sampler_of(folder("sd"))


def directly(pipeline: Path, kind: str = "StableDiffusionPipeline") -> Any:
    loaded = getattr(diffusers, kind).from_pretrained(str(pipeline), local_files_only=True)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """A source (3, H, W) whose values are whole levels of 8 bits."""
    levels = torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(seed))
    return levels / 127.5 - 1


# ---------------------------------------------------------------- from words


@pytest.mark.parametrize("name", ["sd", pytest.param("sdxl", marks=pytest.mark.slow)])
def test_seed_7_is_the_same_picture_alone_and_in_a_batch(folder: Folder, name: str) -> None:
    sampler = sampler_of(folder(name))
    together = sampler.sample(Request([3, 7, 11, 0], STYLES, QUICK, CAT))
    assert together.shape == (4, 3, 16, 16)
    assert together.dtype is torch.float32
    assert together.abs().max() <= 1
    alone = sampler.sample(Request([7], STYLES, QUICK, CAT))
    assert_close(alone[0], together[1], rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])


def test_the_steps_of_each_picture_are_told_and_change_nothing(sd: Sampler) -> None:
    told: list[tuple[int, int]] = []
    options = Options(steps=3)
    made = sd.sample(Request([3, 7], STYLES, options, CAT, lambda *steps: told.append(steps)))
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
    assert_close(made, sd.sample(Request([3, 7], STYLES, options, CAT)), rtol=0, atol=0)


def test_noise_of_every_step_is_the_picture_s_own_too(sd: Sampler) -> None:
    options = Options(steps=3, scheduler="EulerAncestralDiscreteScheduler")
    together = sd.sample(Request([3, 7], STYLES, options, CAT))
    assert_close(sd.sample(Request([7], STYLES, options, CAT))[0], together[1], rtol=0, atol=0)


def test_noise_that_is_drawn_without_the_generator_is_the_picture_s_own_too(
    sd: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = diffusers.DDIMScheduler.step

    def noisy(self: Any, output: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return step(self, output + 0.1 * torch.randn(output.shape), *args, **kwargs)

    monkeypatch.setattr(diffusers.DDIMScheduler, "step", noisy)
    before = torch.get_rng_state()
    together = sd.sample(Request([3, 7], STYLES, QUICK, CAT))
    assert_close(sd.sample(Request([7], STYLES, QUICK, CAT))[0], together[1], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_pictures_are_those_that_diffusers_makes_of_the_same_latents(
    folder: Folder, sd: Sampler
) -> None:
    options = Options(steps=3, guidance=4.0, negative_prompt="a dog", width=24, height=16)
    latents = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(7))
    made = directly(folder("sd"))(
        prompt="a cat",
        negative_prompt="a dog",
        num_inference_steps=3,
        guidance_scale=4.0,
        width=24,
        height=16,
        latents=latents,
        output_type="np",
    ).images
    assert_close(sd.sample(Request([7], STYLES, options, CAT)), to_tensor(made), rtol=0, atol=0)


def test_words_guidance_and_steps_matter(sd: Sampler) -> None:
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    for options, inputs in (
        (QUICK, Inputs(prompt="a house")),
        (QUICK.model_copy(update={"guidance": 1.5}), CAT),
        (QUICK.model_copy(update={"negative_prompt": "a dog"}), CAT),
        (Options(steps=3), CAT),
    ):
        assert not torch.equal(sd.sample(Request([7], STYLES, options, inputs)), usual)


def test_a_scheduler_is_taken_by_its_name_and_given_back(folder: Folder, sd: Sampler) -> None:
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    named = sd.sample(
        Request([7], STYLES, Options(steps=2, scheduler="HeunDiscreteScheduler"), CAT)
    )
    pipeline = directly(folder("sd"))
    pipeline.scheduler = diffusers.HeunDiscreteScheduler.from_config(pipeline.scheduler.config)
    rng = torch.Generator().manual_seed(7)
    made = pipeline("a cat", num_inference_steps=2, generator=rng, output_type="np").images
    assert_close(named, to_tensor(made), rtol=0, atol=0)
    assert_close(sd.sample(Request([7], STYLES, QUICK, CAT)), usual, rtol=0, atol=0)


def test_slices_are_the_same_pictures_but_for_last_bits(sd: Sampler) -> None:
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    sliced = sd.sample(Request([7], STYLES, Options(steps=2, low_memory="slices"), CAT))
    assert_close(sliced, usual, rtol=0, atol=1e-4)


# ---------------------------------------------------------------- from a picture


def test_a_picture_reworked_is_as_diffusers_reworks_it(folder: Folder, sd: Sampler) -> None:
    source = noise(16, 24)
    options = Options(steps=4, source_strength=0.5)
    ours = sd.sample(Request([7], STYLES, options, Inputs(prompt="a cat", source=source)))
    levels = ((source + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    made = directly(folder("sd"), "StableDiffusionImg2ImgPipeline")(
        prompt="a cat",
        image=Image.fromarray(levels),
        num_inference_steps=4,
        strength=0.5,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images
    assert_close(ours, to_tensor(made), rtol=0, atol=0)


def test_a_source_of_any_size_keeps_it_and_an_asked_size_is_made(sd: Sampler) -> None:
    inputs = Inputs(prompt="a cat", source=noise(19, 21))
    assert sd.sample(Request([7, 8], STYLES, QUICK, inputs)).shape == (2, 3, 19, 21)
    wide = QUICK.model_copy(update={"width": 42})
    assert sd.sample(Request([7], STYLES, wide, inputs)).shape == (1, 3, 38, 42)


@pytest.mark.parametrize("name", ["sd", "inpainting", "sdxl"])
def test_what_the_mask_leaves_out_is_kept_exactly(folder: Folder, name: str) -> None:
    source, mask = noise(19, 21), torch.zeros(1, 19, 21)
    mask[:, 4:12, 6:15] = 1
    mask[:, 12, 6:15] = 0.5
    made = sampler_of(folder(name)).sample(
        Request(
            [7],
            STYLES,
            Options(steps=2, source_strength=0.9),
            Inputs("a cat", source=source, mask=mask),
        )
    )[0]
    kept = (mask == 0).expand_as(source)
    assert_close(made[kept], source[kept], rtol=0, atol=0)
    assert (made - source)[:, 4:12, 6:15].abs().mean() > 0.1
    assert made.abs().max() <= 1


def test_a_picture_is_painted_on_at_its_sides(sd: Sampler) -> None:
    source = noise(16, 16)
    options = Options(steps=2, extend_left=5, extend_right=1, extend_top=2, extend_bottom=8)
    made = sd.sample(Request([7], STYLES, options, Inputs("a cat", source=source)))[0]
    assert made.shape == (3, 26, 22)
    assert_close(made[:, 2:18, 5:21], source, rtol=0, atol=0)
    canvas = make_canvas(source, None, options)
    assert canvas.mask is not None
    outside = canvas.mask.expand_as(made) == 1
    assert int(outside.sum()) == 3 * (26 * 22 - 16 * 16)
    assert (made - canvas.image)[outside].abs().mean() > 0.05


def test_a_mask_goes_on_inside_an_extended_picture() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, 0, 0] = 1
    canvas = make_canvas(noise(4, 4), mask, Options(extend_left=2))
    assert canvas.mask is not None
    assert canvas.mask[0].tolist() == [[1, 1, 1, 0, 0, 0], *[[1, 1, 0, 0, 0, 0]] * 3]


@pytest.mark.parametrize("name", ["unclip", "karlo"])
def test_variations_look_at_the_picture_and_need_no_words(folder: Folder, name: str) -> None:
    sampler = sampler_of(folder(name))
    first = sampler.sample(Request([7, 8], STYLES, QUICK, Inputs(source=noise(40, 30))))
    assert first.shape == (2, 3, 16, 16)
    alone = sampler.sample(Request([8], STYLES, QUICK, Inputs(source=noise(40, 30))))
    assert_close(alone[0], first[1], rtol=0, atol=0)
    other = sampler.sample(Request([8], STYLES, QUICK, Inputs(source=noise(40, 30, seed=1))))
    assert not torch.equal(other[0], first[1])
    with pytest.raises(PipelineError, match="cannot paint from words alone"):
        sampler.sample(Request([7], STYLES, QUICK, CAT))


# ---------------------------------------------------------------- LoRA


@pytest.fixture(scope="module")
def lora(folder: Folder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA file of rank 2 over queries and values of the small UNet."""
    peft: Any = pytest.importorskip("peft", reason=MISSING)
    torch.manual_seed(1)
    network = directly(folder("sd")).unet
    targets = ["to_q", "to_v"]
    network.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False)
    )
    weights = peft.utils.get_peft_model_state_dict(network)
    place = tmp_path_factory.mktemp("lora")
    diffusers.StableDiffusionPipeline.save_lora_weights(place, unet_lora_layers=weights)
    return place / "pytorch_lora_weights.safetensors"


def test_a_lora_is_the_product_added_to_the_weights(
    folder: Folder, sd: Sampler, lora: Path
) -> None:
    from safetensors.torch import load_file

    options = QUICK.model_validate({"steps": 2, "lora": lora, "lora_scale": 0.5})
    pipeline, parts = directly(folder("sd")), load_file(lora)
    weights = pipeline.unet.state_dict()
    for name in [name for name in parts if name.endswith("lora_A.weight")]:
        layer = name.removeprefix("unet.").removesuffix(".lora_A.weight")
        product = parts[name.replace("lora_A", "lora_B")] @ parts[name]
        weights[f"{layer}.weight"] += 0.5 * product  # into the network's own tensors
    rng = torch.Generator().manual_seed(7)
    made = pipeline("a cat", num_inference_steps=2, generator=rng, output_type="np").images
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    laid_over = sd.sample(Request([7], STYLES, options, CAT))
    assert (laid_over - usual).abs().max() > 1e-3
    assert_close(laid_over, to_tensor(made), rtol=0, atol=1e-4)
    assert_close(sd.sample(Request([7], STYLES, QUICK, CAT)), usual, rtol=0, atol=0)


def test_the_record_has_the_lora_s_digest_and_another_file_is_refused(
    lora: Path, tmp_path: Path
) -> None:
    options = Options.model_validate({"lora": str(lora)})
    assert options.lora_sha256 is not None
    recorded = options.model_dump(mode="json")
    assert recorded["lora"] == lora.name
    assert str(lora.parent) not in options.model_dump_json()
    moved = tmp_path / "elsewhere" / lora.name
    moved.parent.mkdir()
    moved.write_bytes(lora.read_bytes())
    again = Options.model_validate(recorded | {"lora": str(moved)})
    assert again.model_dump(mode="json") == recorded
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"something else")
    with pytest.raises(ValidationError, match="another file"):
        Options.model_validate(options.model_dump() | {"lora": str(other)})
    with pytest.raises(ValidationError, match="cannot be read"):
        Options.model_validate({"lora": str(tmp_path / "none.safetensors")})


@pytest.mark.parametrize("value", [5, ["a"], {"a": 1}, "/dev/zero", "."])
def test_what_is_no_file_is_no_lora(value: object) -> None:
    with pytest.raises(ValueError, match="lora"):
        Options.model_validate({"lora": value})


def test_a_lora_that_is_no_safetensors_or_does_not_fit_is_refused(
    sd: Sampler, tmp_path: Path
) -> None:
    pickled = tmp_path / "lora.bin"
    torch.save({"weight": torch.zeros(1)}, pickled)
    with pytest.raises(PipelineError, match="not safetensors"):
        sd.sample(Request([7], STYLES, Options.model_validate({"lora": pickled}), CAT))
    foreign = tmp_path / "lora.safetensors"
    save_weights(foreign, {"weight": torch.zeros(1)})
    with pytest.raises(PipelineError, match="does not fit this pipeline") as told:
        sd.sample(Request([7], STYLES, Options.model_validate({"lora": foreign}), CAT))
    assert "\n" not in str(told.value)


# ---------------------------------------------------------------- adopting


def test_adopting_says_what_a_model_needs_to_know(folder: Folder) -> None:
    adopted = adopt(str(folder("sd")))
    assert adopted.name == "sd"
    assert adopted.resolution == 16
    assert StableDiffusionConfig(**adopted.config).pipeline == "sd"
    assert adopt(str(folder("karlo"))).resolution == 16


def test_a_pipeline_in_two_places_is_one_model(folder: Folder, tmp_path: Path) -> None:
    first = adopt(str(folder("sd")))
    shutil.copytree(folder("sd"), tmp_path / "sd")
    assert adopt(str(tmp_path / "sd")) == first
    assert str(tmp_path) not in json.dumps(first.config)


def test_a_model_that_holds_its_folder_itself_is_still_read(folder: Folder) -> None:
    """Version 0.2 wrote the folder into the config."""
    config = StableDiffusionConfig.model_validate(
        adopt(str(folder("sd"))).config | {"pipeline": str(folder("sd"))}
    )
    assert method.PipelineNetwork(config, Shape(16, 1)).files().folder == folder("sd").resolve()


def test_a_folder_that_this_machine_does_not_know_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = StableDiffusionConfig.model_validate(adopt(str(folder("sd"))).config)
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "another"))
    network = method.PipelineNetwork(config, Shape(16, 1))
    with pytest.raises(PipelineError, match="does not know where its folder is; adopt it here"):
        method.Sampler(network, config)


def test_a_scale_without_a_lora_is_refused() -> None:
    Options.model_validate(Options().model_dump())  # as a record has it
    with pytest.raises(ValidationError, match="lora_scale: only with a lora"):
        Options(lora_scale=0.5)


def test_a_disk_that_is_full_is_not_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(PipelineError, match=r"cannot be kept on this machine \(No space left"):
        adopt("someone/something")


def test_a_model_of_no_weights_is_written_and_read(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    config = StableDiffusionConfig(**adopt(str(folder("sd"))).config)
    sha256 = save_weights(path, method.PipelineNetwork(config, Shape(16, 1)).state_dict())
    assert load_weights(path, sha256) == {}


def copy_of(pipeline: Path, place: Path) -> Path:
    import shutil

    return Path(shutil.copytree(pipeline, place))


def test_the_digest_is_over_all_that_is_loaded(folder: Folder, tmp_path: Path) -> None:
    pipeline = copy_of(folder("sd"), tmp_path / "sd")
    before = adopt(str(pipeline)).config["files_sha256"]
    (pipeline / "unet/openvino_model.bin").write_bytes(b"for another program")
    (pipeline / "README.md").write_text("hello")
    assert adopt(str(pipeline)).config["files_sha256"] == before
    sampler = sampler_of(pipeline)
    for name in ("scheduler/scheduler_config.json", "unet/diffusion_pytorch_model.safetensors"):
        whole = (pipeline / name).read_bytes()
        (pipeline / name).write_bytes(whole + b" ")
        with pytest.raises(PipelineError, match="not those that were adopted"):
            method.Sampler(
                method.PipelineNetwork(sampler.network.config, Shape(16, 1)), sampler.network.config
            )
        (pipeline / name).write_bytes(whole)


def test_pickled_weights_are_refused_unless_allowed(folder: Folder, tmp_path: Path) -> None:
    pipeline = copy_of(folder("sd"), tmp_path / "sd")
    usual = sampler_of(pipeline).sample(Request([7], STYLES, QUICK, CAT))
    network = diffusers.UNet2DConditionModel.from_pretrained(str(pipeline / "unet"))
    (pipeline / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save(network.state_dict(), pipeline / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(PipelineError, match=r"diffusion_pytorch_model\.bin is a pickle") as told:
        adopt(str(pipeline))
    assert "\n" not in str(told.value)
    made = sampler_of(pipeline, allow_pickles=True).sample(Request([7], STYLES, QUICK, CAT))
    assert_close(made, usual, rtol=0, atol=0)


def test_a_pickle_that_would_run_something_does_not(folder: Folder, tmp_path: Path) -> None:
    pipeline = copy_of(folder("sd"), tmp_path / "sd")
    (pipeline / "unet/diffusion_pytorch_model.safetensors").unlink()
    trap = tmp_path / "trap"

    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trap,)

    torch.save({"conv_in.weight": Hostile()}, pipeline / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(PipelineError, match="cannot be loaded"):
        sampler_of(pipeline, allow_pickles=True).sample(Request([7], STYLES, QUICK, CAT))
    assert not trap.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unet": ["my_networks", "Hostile"]}, "never run here"),
        ({"_class_name": ["my_pipeline", "Hostile"]}, "never run here"),
        ({"_class_name": "DDPMPipeline"}, "makes no pictures that can be asked for"),
        ({"_class_name": "StableVideoDiffusionPipeline"}, "makes no pictures"),
    ],
)
def test_a_pipeline_of_foreign_code_or_another_kind_is_refused(
    folder: Folder, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    pipeline = copy_of(folder("sd"), tmp_path / "sd")
    index = json.loads((pipeline / "model_index.json").read_text())
    (pipeline / "model_index.json").write_text(json.dumps(index | changes))
    with pytest.raises(PipelineError, match=message):
        adopt(str(pipeline))


def test_a_missing_model_and_missing_weights_are_named(folder: Folder, tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such folder"):
        adopt(str(tmp_path / "nowhere"))
    with pytest.raises(PipelineError, match=r"model_index\.json is missing"):
        adopt(str(tmp_path))
    pipeline = copy_of(folder("sd"), tmp_path / "sd")
    (pipeline / "vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(PipelineError, match="no weights for vae; copy or download it again"):
        adopt(str(pipeline))


def test_a_variant_is_found_by_its_name() -> None:
    index = {"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "U"]}
    plain = ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    half = ["unet/config.json", "unet/diffusion_pytorch_model.fp16-00001-of-00001.safetensors"]
    both = [*plain, half[1], "unet/diffusion_pytorch_model.bin", "unet/flax_model.msgpack"]

    def wanted(names: list[str], variant: str | None) -> tuple[str, ...]:
        return wanted_files("it", index, names, variant, allow_pickles=False)

    assert wanted(both, None) == ("model_index.json", *plain)
    assert wanted(both, "fp16") == ("model_index.json", *half)
    assert wanted(plain, "fp16") == ("model_index.json", *plain)
    with pytest.raises(PipelineError, match=r"fp16.*name its variant"):
        wanted(half, None)


# ---------------------------------------------------------------- the hub


def test_without_internet_the_hub_s_models_cannot_be_adopted() -> None:
    with pytest.raises(PipelineError, match="the hub cannot be reached") as told:
        adopt("nobody/no-such-pipeline")
    assert "\n" not in str(told.value)


@pytest.fixture
def hub(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A hub on this machine with one model, 'them/tiny'; yields the paths asked for."""
    pipeline, commit, asked = folder("sd"), "c" * 40, []
    files = [path for path in pipeline.rglob("*") if path.is_file()]
    published = {path.relative_to(pipeline).as_posix(): path.read_bytes() for path in files}
    published |= {"unet/diffusion_pytorch_model.bin": b"a pickle", "README.md": b"hello"}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(send=False)

        def do_GET(self) -> None:
            self.answer(send=True)

        def answer(self, send: bool) -> None:
            asked.append(self.path)
            path, _, _ = self.path.partition("?")
            if path.startswith("/api/models/them/tiny/tree"):
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in published.items()
                ]
                self.reply(200, json.dumps(tree).encode(), send)
            elif path.startswith("/api/models/them/tiny"):
                files = [{"rfilename": name} for name in published]
                answer = {"_id": "1", "id": "them/tiny", "sha": commit, "siblings": files}
                self.reply(200, json.dumps(answer).encode(), send)
            elif path.startswith("/them/tiny/resolve/"):
                _, _, name = path.removeprefix("/them/tiny/resolve/").partition("/")
                self.reply(200, published[name], send)
            else:
                self.reply(404, b"", send, [("X-Error-Code", "RepoNotFound")])

        def reply(self, status: int, data: bytes, send: bool, more: Any = ()) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{abs(hash(data)):x}"')
            self.send_header("X-Repo-Commit", commit)
            for name, value in more:
                self.send_header(name, value)
            self.end_headers()
            if send:
                self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(
        "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}"
    )
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:" + str(server.server_port) + "/{repo_id}/resolve/{revision}/{filename}",
    )
    yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_model_is_downloaded_once_and_pinned(
    hub: list[str], folder: Folder, sd: Sampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopted = adopt("them/tiny")
    assert adopted.name == "them/tiny"
    assert adopted.config["pipeline"] == "them/tiny"
    assert adopted.config["revision"] == "c" * 40
    assert adopted.config["files_sha256"] == adopt(str(folder("sd"))).config["files_sha256"]
    assert not [path for path in hub if path.endswith((".bin", "README.md"))]
    hub.clear()
    config = StableDiffusionConfig(**adopted.config)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    sampler = method.Sampler(method.PipelineNetwork(config, Shape(16, 1)), config)
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    assert_close(sampler.sample(Request([7], STYLES, QUICK, CAT)), usual, rtol=0, atol=0)
    assert adopt("them/tiny") == adopted
    assert not hub


def test_a_name_that_the_hub_does_not_know_is_told(hub: list[str]) -> None:
    with pytest.raises(PipelineError, match="no such model on the hub") as told:
        adopt("them/other")
    assert "\n" not in str(told.value)


# ---------------------------------------------------------------- one clear line each


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        (Options(), Inputs(), "prompt: this model needs one"),
        (
            Options(source_strength=0.5),
            CAT,
            "source_strength: a StableDiffusionPipeline has no use",
        ),
        (Options(extend_top=8), CAT, "extend: name the picture"),
        (Options(scheduler="Fastest"), CAT, "scheduler Fastest: .*there are DDIMScheduler"),
        (Options(low_memory="offload"), CAT, "this is the CPU; choose 'slices'"),
        (Options(width=12, height=9), CAT, "divisible by"),
        (
            Options(steps=4, source_strength=0.1),
            Inputs("a cat", source=torch.zeros(3, 8, 8)),
            "times steps is below 1",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    sd: Sampler, options: Options, inputs: Inputs, message: str
) -> None:
    with pytest.raises(PipelineError, match=message) as told:
        sd.sample(Request([7], STYLES, options, inputs))
    assert "\n" not in str(told.value)


def test_a_pipeline_for_masks_paints_nothing_else(folder: Folder) -> None:
    with pytest.raises(PipelineError, match="only paints into masks"):
        sampler_of(folder("inpainting")).sample(Request([7], STYLES, QUICK, CAT))


def too_much(*args: Any, **kwargs: Any) -> None:
    torch.empty(2**60)


def no_room(*args: Any, **kwargs: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.\nSee …")


@pytest.mark.parametrize("fails", [too_much, no_room])
def test_too_little_memory_comes_with_advice(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., None]
) -> None:
    sampler = sampler_of(folder("sd"))
    monkeypatch.setattr(diffusers.UNet2DConditionModel, "forward", fails)
    with pytest.raises(PipelineError, match="not enough memory; try low_memory 'slices'") as told:
        sampler.sample(Request([7], STYLES, QUICK, CAT))
    assert "\n" not in str(told.value)


def test_arithmetic_that_overflows_is_not_a_black_picture(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = sampler_of(folder("sd"))
    decode = diffusers.AutoencoderKL.decode

    def overflowing(self: Any, *args: Any, **kwargs: Any) -> Any:
        return (decode(self, *args, **kwargs)[0] * float("nan"),)

    monkeypatch.setattr(diffusers.AutoencoderKL, "decode", overflowing)
    with pytest.raises(PipelineError, match="overflowed; adopt the pipeline with dtype"):
        sampler.sample(Request([7], STYLES, QUICK, CAT))


def test_without_the_extra_it_says_how_to_install_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(PipelineError, match=r"pip install 'atelier\[stable-diffusion\]'"):
        adopt(str(folder("sd")))


def test_bfloat16_makes_nearly_the_same_picture(folder: Folder, sd: Sampler) -> None:
    usual = sd.sample(Request([7], STYLES, QUICK, CAT))
    halved = sampler_of(folder("sd"), dtype="bfloat16").sample(Request([7], STYLES, QUICK, CAT))
    assert halved.dtype is torch.float32
    assert not torch.equal(halved, usual)
    assert (halved - usual).abs().mean() < 0.05


def test_training_is_refused(folder: Folder) -> None:
    config = StableDiffusionConfig(**adopt(str(folder("sd"))).config)
    with pytest.raises(ValueError, match="adopted, not trained"):
        method.METHOD.build_trainer(
            config, Shape(16, 1), Machine(CPU, torch.float32, torch.Generator())
        )
