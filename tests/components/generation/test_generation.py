"""Generation: what our own does beyond the port."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.common.checkpoints import save_weights
from components.families import FAMILIES, Family
from components.families.port import FamilyConfig, FamilyOptions
from components.generation import create, sampling
from components.training import create as create_trainer
from interfaces.errors import AtelierError
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS
from interfaces.progress import ProgressEvent, silent
from tests.components.generation import echo_family
from tests.helpers import digest, tiny_prepared


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> IGME:
    folder = tmp_path_factory.mktemp("model")
    options = {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}
    settings = TrainingSettings(family="wgan_gp", options=options, total_images=80)
    prepared = tiny_prepared(folder / "set")
    return create_trainer(folder).train(prepared, settings, folder / "run", silent)


def pictures(model: IGME, **settings: object) -> np.ndarray:
    batches = create(Path()).generate(model, IGS.model_validate(settings))
    return np.concatenate([batch.images for batch in batches])


def test_truncation_tames(model: IGME) -> None:
    free = pictures(model, count=24)
    tame = pictures(model, count=24, options={"truncation": 0.3})
    assert tame.std(axis=0).mean() < 0.7 * free.std(axis=0).mean()


def test_the_record_holds_every_option(model: IGME) -> None:
    batch = next(create(Path()).generate(model, IGS(count=1)))
    assert batch.origins[0].kind == "generated"
    assert batch.origins[0].options == {"truncation": 1.0, "towards_seed": None, "blend": 0.5}


def test_from_one_seed_to_another_and_the_record_says_how_far(model: IGME) -> None:
    first, second = pictures(model, seeds="3,11")
    ways = [
        pictures(model, seeds=3, options={"towards_seed": 11, "blend": blend})[0]
        for blend in (0, 0.5, 1)
    ]
    np.testing.assert_array_equal(ways[0], first)
    np.testing.assert_array_equal(ways[2], second)
    assert not np.allclose(ways[1], first)
    assert not np.allclose(ways[1], second)


@pytest.fixture(scope="module")
def styled(tmp_path_factory: pytest.TempPathFactory) -> IGME:
    folder = tmp_path_factory.mktemp("styled")
    options = {"batch_size": 4, "channels": 16, "max_channels": 16}
    settings = TrainingSettings(
        family="r3gan", options=options, total_images=80, ema_halflife_images=0
    )
    prepared = tiny_prepared(folder / "set")
    return create_trainer(folder).train(prepared, settings, folder / "run", silent)


def test_styles_are_mixed_by_degrees(styled: IGME) -> None:
    first, second = (pictures(styled, count=1, style=style) for style in styled.styles)
    ways = [
        pictures(styled, count=1, style="style0", towards_style="style1", style_blend=blend)
        for blend in (0, 0.5, 1)
    ]
    np.testing.assert_array_equal(ways[0], first)
    np.testing.assert_array_equal(ways[2], second)
    assert not np.array_equal(ways[1], first)
    assert not np.array_equal(ways[1], second)
    batch = next(
        create(Path()).generate(styled, IGS(count=1, style="style0", towards_style="style1"))
    )
    assert batch.origins[0].kind == "generated"
    assert (batch.origins[0].style, batch.origins[0].towards_style) == ("style0", "style1")
    assert batch.origins[0].style_blend == 0.5


def test_each_picture_knows_its_nearest_training_image(model: IGME, tmp_path: Path) -> None:
    together = next(create(Path()).generate(model, IGS(count=5))).origins
    alone = next(create(Path()).generate(model, IGS(seed=3, count=1))).origins[0]
    assert alone.kind == "generated"
    assert alone.originality is not None
    assert alone.originality > 0
    sources = tiny_prepared(tmp_path / "set").sources()
    assert alone.nearest_sha256 in sources
    assert together[3].model_copy(update={"index": 0}) == alone
    unasked = next(create(Path()).generate(model, IGS(count=1, originality=False))).origins[0]
    assert unasked.kind == "generated"
    assert unasked.originality is None


def test_an_unconditional_model_cannot_be_asked_for_a_style(model: IGME) -> None:
    with pytest.raises(AtelierError, match="cannot be asked for a style"):
        create(Path()).generate(model, IGS(style=model.styles[0]))


def test_a_model_of_an_unknown_family_is_refused(model: IGME) -> None:
    with pytest.raises(AtelierError, match="does not know"):
        create(Path()).generate(model.model_copy(update={"family": "future"}), IGS())


def test_a_config_that_does_not_fit_the_weights_is_refused(model: IGME) -> None:
    other = model.model_copy(update={"config": model.config | {"latent_dim": 7}})
    with pytest.raises(AtelierError, match="do not belong together"):
        create(Path()).generate(other, IGS())


def test_a_model_is_loaded_once_and_again_only_when_it_or_its_file_changes(
    model: IGME, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model.directory, tmp_path / "copy")
    copied = IGME.open(tmp_path / "copy")
    loads: list[Path] = []
    load = sampling.load_weights

    def counted(path: Path, sha256: str) -> dict[str, torch.Tensor]:
        loads.append(path)
        return load(path, sha256)

    monkeypatch.setattr(sampling, "load_weights", counted)
    generator = create(Path())
    first = next(generator.generate(copied, IGS(seeds=(3, 4))))
    second = next(generator.generate(copied, IGS(seeds=(4,), originality=False)))
    np.testing.assert_array_equal(second.images[0], first.images[1])
    assert generator.planned(copied, IGS(count=1)).seed == 0
    assert loads == [copied.weights_path]
    next(generator.generate(model, IGS(count=1)))
    next(generator.generate(copied, IGS(count=1)))
    assert loads == [copied.weights_path, model.weights_path, copied.weights_path]
    copied.weights_path.write_bytes(copied.weights_path.read_bytes()[:-10])
    with pytest.raises(AtelierError, match="damaged or exchanged"):
        generator.generate(copied, IGS(count=1))


def test_what_is_planned_is_what_the_record_says(model: IGME, styled: IGME) -> None:
    for which, given in (
        (model, {"options": {"truncation": 0.5}}),
        (styled, {"style": "style0", "towards_style": "style1", "seed": 4}),
        (styled, {"prompt": "something in style1"}),
    ):
        settings = IGS.model_validate({"count": 1} | given)
        generator = create(Path())
        made = next(generator.generate(which, settings)).origins[0]
        unknown = {"originality": None, "nearest_sha256": None}
        assert generator.planned(which, settings) == made.model_copy(update=unknown)


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IGME:
    """A model of a family that takes everything and needs a source."""
    family = Family(
        "echo",
        "shows what it was given",
        FamilyConfig,
        FamilyOptions,
        "tests.components.generation.echo_family",
        is_conditional=False,
        takes=frozenset({"prompt", "source", "mask"}),
        needs=frozenset({"source"}),
        one_by_one=frozenset({"source"}),
    )
    monkeypatch.setitem(FAMILIES, "echo", family)
    echo_family.Sampler.seen.clear()
    return IGME(
        directory=tmp_path,
        family="echo",
        config={},
        weights_sha256=save_weights(tmp_path / "weights.safetensors", {}),
        resolution=16,
        styles=("all",),
        dataset_name="none",
        dataset_digest=digest("none"),
        images_seen=0,
    )


def painted(path: Path, mode: str, size: tuple[int, int], colour: object) -> Path:
    Image.new(mode, size, colour).save(path)  # pyright: ignore[reportArgumentType]
    return path


def test_a_source_reaches_the_family_as_it_is_and_the_record_names_it(
    echo: IGME, tmp_path: Path
) -> None:
    source = painted(tmp_path / "source.png", "RGB", (24, 20), (255, 0, 51))
    mask = painted(tmp_path / "mask.png", "L", (24, 20), 255)
    settings = IGS(seeds=(0, 10), prompt="a tree", source=source, mask=mask)
    batches = list(create(tmp_path).generate(echo, settings))
    images = np.concatenate([batch.images for batch in batches])
    assert images.shape == (2, 3, 20, 24)
    np.testing.assert_allclose(images[0, :, 7, 7], [1, -1, -0.6], atol=1e-6)
    assert not images[1].any()
    inputs = echo_family.Sampler.seen[0]
    assert inputs.has_own_style
    assert inputs.prompt == "a tree"
    assert inputs.mask is not None
    assert inputs.mask.shape == (1, 20, 24)
    assert bool((inputs.mask == 1).all())
    origin = batches[0].origins[0]
    assert origin.kind == "generated"
    assert origin.prompt == "a tree"
    assert [(file.role, file.name, file.sha256) for file in origin.inputs] == [
        (path.stem, path.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in (source, mask)
    ]


@pytest.mark.parametrize(("quick_seconds", "sizes"), [(0, [1] * 10), (float("inf"), [1, 2, 4, 3])])
def test_pictures_that_take_long_are_handed_on_one_by_one(
    echo: IGME,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quick_seconds: float,
    sizes: list[int],
) -> None:
    monkeypatch.setattr(sampling, "QUICK_SECONDS", quick_seconds)
    source = painted(tmp_path / "source.png", "RGB", (16, 16), "red")
    batches = list(create(tmp_path).generate(echo, IGS(count=10, source=source)))
    assert [len(batch) for batch in batches] == sizes
    assert [origin.index for batch in batches for origin in batch.origins] == list(range(10))


def test_the_steps_of_one_picture_are_told(echo: IGME, tmp_path: Path) -> None:
    source = painted(tmp_path / "source.png", "RGB", (16, 16), "red")
    told: list[ProgressEvent] = []
    request = IGS(count=1, source=source, prompt="slowly")
    list(create(tmp_path).generate(echo, request, told.append))
    assert [(event.stage, event.done, event.total) for event in told] == [("one picture", 1, 2)]


def test_memory_that_does_not_suffice_is_one_line(
    echo: IGME, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sample(*_: object) -> None:
        torch.empty(2**60)  # the CPU's allocator has no class of error for it

    monkeypatch.setattr(echo_family.Sampler, "sample", sample)
    source = painted(tmp_path / "source.png", "RGB", (16, 16), "red")
    with pytest.raises(AtelierError, match="there is not enough memory"):
        list(create(tmp_path).generate(echo, IGS(count=1, source=source)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "source: a echo model needs one"),
        ({"sketch": "source.png"}, "sketch: a echo model has no use for one"),
        ({"source": "absent.png"}, "absent.png: cannot be read"),
        ({"source": "text.png"}, "text.png: not an image"),
        ({"source": "cut.png"}, "cut.png: "),
        ({"source": "source.png", "mask": "small.png"}, "mask: is 8x8 pixels, its source 24x20"),
        ({"source": "source.png", "prompt": "impossible"}, "echo: this cannot be drawn"),
    ],
)
def test_unusable_inputs_are_one_line(
    echo: IGME, tmp_path: Path, given: dict[str, str], message: str
) -> None:
    painted(tmp_path / "source.png", "RGB", (24, 20), "red")
    painted(tmp_path / "small.png", "L", (8, 8), 255)
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes((tmp_path / "source.png").read_bytes()[:60])
    files = {k: v if k == "prompt" else str(tmp_path / v) for k, v in given.items()}
    with pytest.raises(AtelierError, match=message) as caught:
        list(create(tmp_path).generate(echo, IGS.model_validate(files)))
    assert "\n" not in str(caught.value)


def test_an_oversized_source_is_refused_before_it_is_decoded(
    echo: IGME, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.generation.inputs.MAX_PIXELS", 400)
    source = painted(tmp_path / "source.png", "RGB", (24, 20), "red")
    with pytest.raises(AtelierError, match=r"is 24 x 20 pixels; at most 400"):
        create(tmp_path).generate(echo, IGS(source=source))


def test_a_family_without_inputs_refuses_them(model: IGME) -> None:
    with pytest.raises(AtelierError, match="prompt: a wgan_gp model has no use for one"):
        create(Path()).generate(model, IGS(prompt="a tree"))


def test_words_choose_the_style_of_a_model_that_knows_no_language(
    styled: IGME, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "atelier")
    (batch,) = create(Path()).generate(styled, IGS(count=1, prompt="something in style1"))
    assert "style 'style1', because" in caplog.text
    origin = batch.origins[0]
    assert origin.kind == "generated"
    assert (origin.style, origin.prompt) == ("style1", "something in style1")
    np.testing.assert_array_equal(batch.images, pictures(styled, count=1, style="style1"))
    with pytest.raises(AtelierError, match="names none of the styles"):
        create(Path()).generate(styled, IGS(prompt="qwertz"))
    with pytest.raises(AtelierError, match="leave one out"):
        create(Path()).generate(styled, IGS(prompt="in style1", style="style0"))
