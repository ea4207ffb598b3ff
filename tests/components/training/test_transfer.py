"""Starting from a trained model: its networks, its styles by name, and honest refusals."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from components.common.checkpoints import load_state, load_weights
from components.common.shipped import find_shipped
from components.families import FAMILIES, AnyFamily
from components.families.port import Request, Shape
from components.families.sketch_diffusion.config import ALONE, SketchDiffusionConfig
from components.families.trainer import FamilyTrainer, Machine
from components.generation import create as create_generator
from components.training import beginning, create
from components.training.beginning import (
    choose_config,
    choose_family,
    is_familiar,
    start_from,
)
from interfaces.errors import AtelierError
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS
from interfaces.ipdt import IPDT
from interfaces.progress import silent
from tests.components.families.test_every_family import TINY, TRAINABLE, quick_for
from tests.helpers import digest, tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

Known = Callable[[str], IGME]

every_family = pytest.mark.parametrize("family", TRAINABLE)

OTHER_SHAPE = {key: {"latent_dim": 7} for key in TRAINABLE} | {
    "sketch_diffusion": {"channels": 32, "max_channels": 32},
    "cyclegan": {"channels": 16},
}


def settings(family: str = "r3gan", **changes: Any) -> TrainingSettings:
    chosen = {
        "family": family,
        "options": TINY[family],
        "total_images": 40,
        "measure_images": 0,
        "measure_count": 16,
        "guardian": "off",
    }
    return TrainingSettings.model_validate(chosen | changes)


def learn(tmp_path: Path, name: str, **changes: Any) -> IGME:
    prepared = tiny_prepared(tmp_path / "set")
    return create(tmp_path).train(prepared, settings(**changes), tmp_path / name, silent)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    """A trained model of each family, to be read alone."""

    @cache
    def train(family: str) -> IGME:
        return learn(tmp_path_factory.mktemp(family), "origin", family=family, seed=3)

    return train


def fresh(family: AnyFamily, num_styles: int = 2, resolution: int = 16) -> FamilyTrainer[Any]:
    """A trainer of other first weights than any that is trained here."""
    return family.method().build_trainer(
        family.config.model_validate(TINY[family.name]),
        Shape(resolution, num_styles),
        Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(99)),
    )


def weights(model: IGME) -> dict[str, torch.Tensor]:
    return load_weights(model.weights_path, model.weights_sha256)


def pictures(model: IGME, style: str | None = None) -> torch.Tensor:
    asked = IGS(count=8, style=style, originality=False, device="cpu")
    batches = create_generator(model.directory).generate(model, asked)
    return torch.cat([torch.from_numpy(batch.images.copy()) for batch in batches])


def pictures_of(
    trainer: FamilyTrainer[Any], family: AnyFamily, styles: torch.Tensor
) -> torch.Tensor:
    config = family.config.model_validate(TINY[family.name])
    sampler = family.method().build_sampler(trainer.network, config)
    return sampler.sample(Request(range(len(styles)), styles, family.options()))


def equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


# ---------------------------------------------------------------- what is taken over


@pytest.mark.parametrize("family", [name for name in TRAINABLE if not FAMILIES[name].needs])
def test_before_the_first_step_it_is_the_model_it_starts_from(
    family: str, known: Known, tmp_path: Path
) -> None:
    origin = known(family)
    trainer = fresh(FAMILIES[family])
    before = pictures_of(trainer, FAMILIES[family], torch.eye(2).repeat(4, 1))
    start_from(origin, trainer, FAMILIES[family], origin.styles)
    equal(trainer.network.state_dict(), weights(origin))
    after = pictures_of(trainer, FAMILIES[family], torch.eye(2).repeat(4, 1))
    # The trainer's weights lie channels last in memory, which moves a convolution's last bits.
    assert_close(after, pictures(origin), rtol=0, atol=1e-5)
    assert not torch.equal(before, after)


@every_family
def test_its_companions_go_on_too(family: str, known: Known, tmp_path: Path) -> None:
    origin = known(family)
    trained: Any = load_state(origin.directory.parent / "state.safetensors")
    trainer = fresh(FAMILIES[family])
    start_from(origin, trainer, FAMILIES[family], origin.styles)
    before = fresh(FAMILIES[family])
    before.load_state_dict(trained["trainer"])
    for companion, network in trainer.companions().items():
        wanted = {
            name: value.half().to(value.dtype) if value.is_floating_point() else value
            for name, value in before.companions()[companion].state_dict().items()
        }
        equal(dict(network.state_dict()), wanted)


def test_styles_go_on_by_name_and_a_new_one_begins_between_them(known: Known) -> None:
    family, origin = FAMILIES["r3gan"], known("r3gan")
    trainer = fresh(family, num_styles=3)
    start_from(origin, trainer, family, ("style1", "of its own", "style0"))
    for place, style in ((0, "style1"), (2, "style0")):
        rows = torch.eye(3)[[place] * 8]
        found = pictures_of(trainer, family, rows)
        assert_close(found, pictures(origin, style), rtol=0, atol=1e-6)
    table = weights(origin)["style.weight"]
    for network in (trainer.network, trainer.companions()["discriminator"]):
        found = network.state_dict()["style.weight"]
        assert found.shape == (len(table), 3)
        assert_close(found[:, 1], found[:, [0, 2]].mean(dim=1))
    assert_close(trainer.network.state_dict()["style.weight"][:, 1], table.mean(dim=1))


@pytest.mark.slow
def test_a_training_of_its_own_begins_where_the_other_ended(known: Known, tmp_path: Path) -> None:
    """With a learning rate next to nothing, it also ends there."""
    origin = known("r3gan")
    slow = TINY["r3gan"] | {"learning_rate": 1e-12, "final_learning_rate": 1e-12}
    changes = {"options": slow, "ema_halflife_images": 0, "seed": 5}
    followed = learn(tmp_path, "next", start_from=origin.directory, **changes)
    for name, tensor in weights(origin).items():
        assert_close(weights(followed)[name], tensor, rtol=0, atol=1e-8)
    alone = learn(tmp_path, "alone", **changes)
    name = "start.weight"
    assert not torch.allclose(weights(alone)[name], weights(origin)[name], atol=1e-3)


# ---------------------------------------------------------------- what is familiar


def striped(folder: Path) -> IPDT:
    """A set unlike `tiny_prepared`'s in everything but its names."""
    prepared = tiny_prepared(folder)
    rng = np.random.default_rng(4)
    stripes = np.repeat(rng.integers(0, 2, (prepared.num_images, 1, 16, 1)) * 255, 16, axis=1)
    np.save(folder / "images.npy", np.repeat(stripes, 3, axis=3).astype(np.uint8))
    return prepared


def test_works_like_those_a_model_learnt_from_are_familiar(known: Known, tmp_path: Path) -> None:
    origin = known("r3gan")
    assert is_familiar(origin, tiny_prepared(tmp_path / "same"))
    assert is_familiar(origin, tiny_prepared(tmp_path / "alike", seed=1))
    assert not is_familiar(origin, striped(tmp_path / "unlike"))


def test_without_what_it_learnt_from_nothing_is_familiar(known: Known, tmp_path: Path) -> None:
    prepared = tiny_prepared(tmp_path / "same")
    copied = tmp_path / "model"
    shutil.copytree(known("r3gan").directory, copied)
    alone = known("r3gan").model_copy(update={"directory": copied, "companions": {}})
    assert not is_familiar(alone, prepared)
    (copied / "neighbours.safetensors").unlink()
    assert not is_familiar(IGME.open(copied), prepared)


@pytest.mark.parametrize(("familiar", "weight"), [(True, 0.5), (False, 0.0)])
def test_a_critic_goes_on_with_what_is_familiar(
    familiar: bool, weight: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(beginning, "is_familiar", lambda *_: familiar)
    origin = IGME.open(find_shipped(Path("shipped-sketch")))
    chosen = settings("sketch_diffusion", options={"learning_rate": 1e-5})
    family, prepared = choose_family(chosen), tiny_prepared(tmp_path / "set")

    def config() -> SketchDiffusionConfig:
        found = choose_config(family, chosen, origin, prepared, tmp_path)
        assert isinstance(found, SketchDiffusionConfig)
        return found

    assert (config().adversarial, config().learning_rate) == (weight, 1e-5)
    (tmp_path / "settings.json").write_text(json.dumps({"options": config().model_dump()}))
    monkeypatch.setattr(beginning, "is_familiar", lambda *_: not familiar)
    assert config().adversarial == weight  # as it was begun


def test_a_training_begins_with_what_suits_its_start(known: Known, tmp_path: Path) -> None:
    origin = known("sketch_diffusion")
    begun = {"family": "sketch_diffusion", "start_from": origin.directory}
    learn(tmp_path, "next", **begun)
    used = json.loads((tmp_path / "next" / "settings.json").read_text())["options"]
    assert used["learning_rate"] == ALONE["learning_rate"]


# ---------------------------------------------------------------- what it is known by


def test_its_origin_is_part_of_what_a_training_is(known: Known, tmp_path: Path) -> None:
    first, second = learn(tmp_path, "first"), known("r3gan")
    learn(tmp_path, "next", start_from=first.directory)
    saved = json.loads((tmp_path / "next" / "settings.json").read_text())
    assert saved["start_from"] == first.digest
    for other, told in ((second.directory, second.digest), (None, None)):
        with pytest.raises(AtelierError) as caught:
            learn(tmp_path, "next", start_from=other, total_images=80)
        assert f"start_from was {first.digest!r}, is now {told!r}" in str(caught.value)
    alone = json.loads((tmp_path / "first" / "settings.json").read_text())
    assert alone["start_from"] is None


def test_its_origin_may_be_named_as_an_earlier_version_did(known: Known, tmp_path: Path) -> None:
    origin = known("r3gan")
    learn(tmp_path, "next", start_from=origin.directory)
    path = tmp_path / "next" / "settings.json"
    path.write_text(path.read_text().replace(*origin.digests))
    longer = learn(tmp_path, "next", start_from=origin.directory, total_images=80)
    assert longer.images_seen == 80


def test_its_origin_may_be_moved(known: Known, tmp_path: Path) -> None:
    """The origin is known by its weights, not by where they lie."""
    origin = known("r3gan")
    learn(tmp_path, "next", start_from=origin.directory)
    shutil.copytree(origin.directory, tmp_path / "elsewhere")
    longer = learn(tmp_path, "next", start_from=tmp_path / "elsewhere", total_images=80)
    assert longer.images_seen == 80


@quick_for("sketch_diffusion")
def test_stopped_and_resumed_equals_straight(family: str, known: Known, tmp_path: Path) -> None:
    origin = known(family)
    begun = {"family": family, "start_from": origin.directory}
    straight = learn(tmp_path, "straight", **begun, total_images=64)
    learn(tmp_path, "resumed", **begun, total_images=28)
    resumed = learn(tmp_path, "resumed", **begun, total_images=64)
    equal(weights(resumed), weights(straight))
    assert resumed.digest == straight.digest
    assert straight.digest != learn(tmp_path, "alone", family=family, total_images=64).digest


# ---------------------------------------------------------------- what is refused


def refused(tmp_path: Path, message: str, **changes: Any) -> str:
    with pytest.raises(AtelierError, match=message) as caught:
        learn(tmp_path, "refused", **changes)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_of_another_family_is_one_clear_line(known: Known, tmp_path: Path) -> None:
    origin = known("dcgan")
    line = refused(tmp_path, "a dcgan model; a r3gan training", start_from=origin.directory)
    assert str(origin.directory) in line


@every_family
def test_networks_of_another_shape_are_one_clear_line(
    family: str, known: Known, tmp_path: Path
) -> None:
    origin = known(family)
    options = TINY[family] | OTHER_SHAPE[family]
    line = refused(
        tmp_path,
        "for 16 pixels, have another shape",
        family=family,
        options=options,
        start_from=origin.directory,
    )
    assert "mismatch for" in line  # which layer
    assert str(origin.directory) in line


# CycleGAN's networks turn pictures of any size.
@pytest.mark.parametrize("family", [name for name in TRAINABLE if name != "cyclegan"])
def test_a_model_of_another_resolution_is_one_clear_line(
    family: str, known: Known, tmp_path: Path
) -> None:
    origin = known(family)
    with pytest.raises(AtelierError, match="for 16 pixels, have another shape") as caught:
        start_from(origin, fresh(FAMILIES[family], resolution=32), FAMILIES[family], origin.styles)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    refused(tmp_path, "no model here", start_from=tmp_path / "nowhere")


def test_a_damaged_companion_is_one_clear_line(tmp_path: Path) -> None:
    origin = learn(tmp_path, "origin")
    path = origin.companion_path("discriminator")
    path.write_bytes(path.read_bytes()[:-10])
    refused(tmp_path, "discriminator", start_from=origin.directory)


def test_none_by_name_is_no_origin() -> None:
    assert settings(start_from="none").start_from is None
    assert settings(start_from="none") == settings()


def test_a_description_with_another_digest_than_its_weights_is_refused(tmp_path: Path) -> None:
    origin = learn(tmp_path, "origin")
    description = json.loads((origin.directory / "model.json").read_text())
    description["weights_sha256"] = digest("others")
    (origin.directory / "model.json").write_text(json.dumps(description))
    refused(tmp_path, "damaged or exchanged", start_from=origin.directory)
