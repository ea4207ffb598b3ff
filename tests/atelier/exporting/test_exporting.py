"""Exports: what another program computes with them is what Atelier does."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch.testing import assert_close

from atelier.exporting import export_enlarger, export_model
from components.common.checkpoints import load_weights, save_weights
from components.common.shipped import ENLARGER, SHIPPED_MODELS
from components.enhancement import open_network
from components.families import FAMILIES
from components.families.latent import LatentOptions
from components.families.port import Request, Shape, no_graphs
from components.families.sampling import draw_latents
from components.families.sketch_diffusion.solvers import ddim_step
from components.results_store import create
from interfaces.errors import RefusedError
from interfaces.igme import IGME
from interfaces.iodt import ResultQuery
from interfaces.record import GeneratedOrigin
from tests.components.families.test_every_family import TINY
from tests.end_to_end.cli import atelier
from tests.helpers import digest
from tests.s3 import s3_bucket

SHAPE = Shape(16, 2)


def model_of(name: str, folder: Path, **options: Any) -> IGME:
    """A model of a family with random weights, large enough that its pictures show them."""
    family = FAMILIES[name]
    config = family.config.model_validate(TINY[name] | options)
    network = family.method().build_network(config, SHAPE)
    rng = torch.Generator().manual_seed(3)
    deviation = 1.0 if name == "stylegan2" else 0.15  # it scales its weights by itself
    for parameter in network.parameters():
        parameter.data.normal_(0, deviation, generator=rng)
    model = IGME(
        directory=folder,
        family=name,
        config=config.model_dump(mode="json"),
        weights_sha256=save_weights(folder / "weights.safetensors", network.state_dict()),
        resolution=16,
        styles=("ink", "oil"),
        dataset_name="tiny",
        dataset_digest=digest("collection"),
        images_seen=10,
        style_counts=(3, 4),
    )
    (folder / "model.json").write_text(model.manifest())
    return model


def run_folder(folder: Path, argument: str) -> Image.Image:
    """Run the folder's own lines where no module of Atelier, nor torch, can be imported."""
    forbidden = ("atelier", "components", "interfaces", "settings", "pipeline", "torch")
    code = (
        f"import runpy, sys; sys.modules.update(dict.fromkeys({forbidden}))\n"
        f"sys.argv = ['run.py', {argument!r}]; runpy.run_path('run.py')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Image.open(folder / "picture.png")


def pictures_of(model: IGME, seeds: list[int], styles: torch.Tensor) -> torch.Tensor:
    """Pictures that the family's own sampler makes."""
    family = FAMILIES[model.family]
    config = family.config.model_validate(model.config)
    network = family.method().build_network(config, SHAPE)
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    request = Request(seeds, styles, family.options())
    return family.method().build_sampler(network, config).sample(request)


@pytest.mark.parametrize("name", ["wgan_gp", "r3gan", "stylegan2", "vae"])
def test_torchscript_makes_the_pictures_of_the_familys_sampler(name: str, tmp_path: Path) -> None:
    model = model_of(name, tmp_path / "model")
    (file,) = export_model(model, "torchscript", tmp_path / "out").files
    styles = torch.eye(2)[[0, 1, 1]]
    wanted = pictures_of(model, [4, 5, 6], styles)
    latents = draw_latents([4, 5, 6], model.config["latent_dim"], LatentOptions())
    inputs = [latents] if name == "wgan_gp" else [latents, styles]
    found = torch.jit.load(str(file))(*inputs)
    assert wanted.std() > 0.01
    assert_close(found.clamp(-1, 1), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["cyclegan", "sketch_diffusion"])
def test_torchscript_of_other_inputs_is_compared_with_the_network(
    name: str, tmp_path: Path
) -> None:
    made = export_model(model_of(name, tmp_path / "model"), "torchscript", tmp_path / "out")
    assert [file.stem for file in made.files] == (
        ["to_second", "to_first"] if name == "cyclegan" else ["model"]
    )
    assert made.difference is not None
    assert made.difference < 1e-5


@pytest.mark.parametrize("conditioning", ["none", "guided"])
def test_a_model_that_is_told_of_works_takes_them_with_or_without_strokes(
    conditioning: str, tmp_path: Path
) -> None:
    told = {"conditioning": conditioning, "representation": "embedded"}
    model = model_of("sketch_diffusion", tmp_path / "model", **told)
    (file,) = export_model(model, "torchscript", tmp_path / "out").files
    strokes = [torch.zeros(1, 2, 16, 16)] if conditioning == "guided" else []
    noisy, style, mask = torch.rand(1, 3, 16, 16), torch.eye(2)[:1], torch.ones(1, 1, 16, 16)

    def step(work: torch.Tensor) -> torch.Tensor:
        loaded = torch.jit.load(str(file))
        return loaded(noisy, torch.tensor([0.7]), style, mask, *strokes, work)

    assert (step(torch.ones(1, 64)) - step(torch.zeros(1, 64))).abs().max() > 1e-3


def test_onnx_makes_the_pictures_of_the_familys_sampler(tmp_path: Path) -> None:
    onnxruntime = needs_onnx()
    model = model_of("r3gan", tmp_path / "model")
    (file,) = export_model(model, "onnx", tmp_path / "out").files
    styles = torch.eye(2)[[0, 1, 1]]
    latents = draw_latents([4, 5, 6], model.config["latent_dim"], LatentOptions())
    session = onnxruntime.InferenceSession(file)
    (found,) = session.run(None, {"z": latents.numpy(), "styles": styles.numpy()})
    wanted = pictures_of(model, [4, 5, 6], styles).numpy()
    assert np.abs(found.clip(-1, 1) - wanted).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dcgan", "r3gan", "stylegan2", "vae", "cyclegan", "sketch_diffusion"]
)
def test_a_hub_folder_runs_without_atelier(name: str, tmp_path: Path) -> None:
    needs_onnx()
    made = export_model(model_of(name, tmp_path / "model"), "hub-folder", tmp_path / "hub")
    assert made.difference is not None
    assert made.difference < 1e-3
    Image.new("RGB", (30, 20), "orange").save(tmp_path / "hub" / "own.png")
    argument = "own.png" if name == "cyclegan" else "7"
    card = (tmp_path / "hub/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: atelier\n")
    assert (tmp_path / "hub/run.py").read_text(encoding="utf-8") in card
    first = np.asarray(run_folder(tmp_path / "hub", argument))
    assert first.shape == (16, 16, 3)
    assert np.ptp(first) > 0
    if name != "cyclegan":
        assert (np.asarray(run_folder(tmp_path / "hub", "8")) != first).any()


@pytest.mark.slow
def test_the_diffusion_models_own_lines_sample_as_ddim_does(tmp_path: Path) -> None:
    """The folder's thirty steps and the sampler's start from one noise, without guidance."""
    needs_onnx()
    model = model_of("sketch_diffusion", tmp_path / "model")
    export_model(model, "hub-folder", tmp_path / "hub")
    side = model.resolution
    draws = np.random.default_rng(5).standard_normal((1, 3, side, side), "float32")
    family = FAMILIES[model.family]
    config = family.config.model_validate(model.config)
    network = family.method().build_network(config, SHAPE).eval()
    network.load_state_dict(load_weights(model.weights_path, model.weights_sha256))
    hints = torch.zeros(1, network.num_hints, side, side)
    style, mask = torch.eye(2)[:1], torch.ones(1, 1, side, side)

    def denoise(x: torch.Tensor, t: float) -> torch.Tensor:
        return network(x, torch.tensor([t]), style, mask, hints).clamp(-1, 1)

    levels = np.linspace(1, 0, 31, dtype="float32").tolist()
    x = torch.from_numpy(draws)
    with torch.no_grad():
        for t, s in pairwise(levels):
            x = ddim_step(x, denoise(x, t), t, s)
    wanted = ((x[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).numpy()
    found = np.asarray(run_folder(tmp_path / "hub", "5")).astype(float)
    assert np.abs(found - wanted).max() <= 1


def test_the_safetensors_say_what_they_are(tmp_path: Path) -> None:
    model = model_of("vae", tmp_path / "model")
    made = export_model(model, "safetensors", tmp_path / "out")
    assert made.difference is None
    with safe_open(made.files[0], framework="pt") as file:
        described = file.metadata()
        found = {name: file.get_tensor(name) for name in list(file.keys())}
    assert json.loads(described["config"]) == model.config
    assert described["digest"] == model.digest
    assert_close(found, load_weights(model.weights_path, model.weights_sha256), rtol=0, atol=0)


def test_an_enlarger_of_any_size_is_the_networks_own(tmp_path: Path) -> None:
    made = export_enlarger("embedded", "torchscript", tmp_path)
    picture = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(1))
    found = torch.jit.load(str(made.files[0]))(picture)
    assert found.shape == (2, 3, 68, 92)
    assert_close(found, open_network("embedded").module(picture), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_an_enlargers_folder_enlarges_without_atelier(tmp_path: Path) -> None:
    needs_onnx()
    made = export_enlarger(str(ENLARGER), "hub-folder", tmp_path / "hub")
    assert made.difference is not None
    assert made.difference < 1e-4
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (9, 14, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "hub" / "own.png")
    found = np.asarray(run_folder(tmp_path / "hub", "own.png")).astype(int)
    given = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    wanted = open_network("embedded").module(given)[0].permute(1, 2, 0) * 255
    assert found.shape == (36, 56, 3)
    assert np.abs(found - wanted.round().clamp(0, 255).numpy()).max() <= 1


def test_a_pipeline_of_networks_is_refused_in_a_line(tmp_path: Path) -> None:
    model = model_of("vae", tmp_path)
    other = model.model_copy(update={"family": "stable_diffusion", "config": {}})
    with pytest.raises(RefusedError, match="export does not take"):
        export_model(other, "onnx", tmp_path / "out")


def test_a_trained_family_without_graphs_is_not_called_a_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of("vae", tmp_path)
    method = replace(FAMILIES["vae"].method(), build_graphs=no_graphs)
    monkeypatch.setattr(type(FAMILIES["vae"]), "method", lambda self: method)
    with pytest.raises(RefusedError, match="family vae says nothing of how it is exported"):
        export_model(model, "onnx", tmp_path / "out")


def test_the_command_exports_what_ships_and_overwrites_nothing(tmp_path: Path) -> None:
    done = atelier("export", "shipped", "--to=safetensors", "--output=out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").is_file()
    again = atelier("export", "embedded", "--to=torchscript", "--output=out", cwd=tmp_path)
    assert again.returncode == 1
    assert "is there already" in again.stderr


@pytest.mark.slow
def test_a_model_goes_to_a_bucket_and_is_used_from_there(tmp_path: Path) -> None:
    """By the command line: `export --to atelier`, then `generate --model` on another workspace."""
    with s3_bucket("models"):
        sent = ("export", "shipped", "--to=atelier", "--output=s3://models/waves")
        done = atelier(*sent, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        again = atelier(*sent, cwd=tmp_path)
        assert again.returncode == 1 and "s3://models/waves: is there already" in again.stderr
        there = ("--model=s3://models/waves", "--count=1", "--enhance.enhancer=lanczos")
        made = atelier("generate", *there, cwd=tmp_path)
        assert made.returncode == 0, made.stderr
    (result,) = create(tmp_path / "workspace").find(ResultQuery())
    assert isinstance(result.record.origin, GeneratedOrigin)
    assert result.record.origin.model_digest == IGME.open(SHIPPED_MODELS["shipped"]).digest


def test_a_whole_model_is_copied_to_the_byte(tmp_path: Path) -> None:
    model = model_of("vae", tmp_path / "own")
    made = export_model(model, "atelier", tmp_path / "copy")
    assert [path.name for path in made.files] == ["model.json", "weights.safetensors"]
    for path in made.files:
        assert path.read_bytes() == (tmp_path / "own" / path.name).read_bytes()
    with pytest.raises(RefusedError, match="an enlarger is no model"):
        export_enlarger("embedded", "atelier", tmp_path / "enlarger")


def needs_onnx() -> Any:
    """ONNX Runtime; skips where a package of the extra `export` is missing."""
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name)
    return pytest.importorskip("onnxruntime")
