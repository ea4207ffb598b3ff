"""Promises that every generator must keep: those of `interfaces/igdt.py`.

Its model is trained by the trainer under test, in the family that `--training` names.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from atelier.assembly import assemble
from atelier.contracts.options import replacements
from atelier.contracts.refusals import refused
from atelier.contracts.samples import tiny_prepared
from interfaces.capabilities import capabilities_of
from interfaces.components import Components
from interfaces.igdt import ImageGenerator
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS
from interfaces.progress import silent


@pytest.fixture
def generator(parts: Components) -> ImageGenerator:
    return parts.generation


@pytest.fixture(scope="module")
def model(
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
    budget: Callable[..., TrainingSettings],
) -> IGME:
    folder, settings = tmp_path_factory.mktemp("model"), budget(16)
    parts = assemble(folder, replacements(pytestconfig))
    families = capabilities_of(parts.generation, "generation").families
    if families is not None and settings.family not in families:
        pytest.fail(f"the generator knows {', '.join(families)}: name one of them with --training")
    prepared = tiny_prepared(folder / "set")
    return parts.training.train(prepared, settings, folder / "run", silent)


def pictures(generator: ImageGenerator, model: IGME, **settings: object) -> np.ndarray:
    batches = generator.generate(model, IGS.model_validate(settings))
    return np.concatenate([batch.images for batch in batches])


def test_one_picture_a_seed_in_order(generator: ImageGenerator, model: IGME) -> None:
    batches = list(generator.generate(model, IGS(seeds=(4, 5, 6, 0), batch_size=3)))
    origins = [origin for batch in batches for origin in batch.origins]
    made = [origin for origin in origins if origin.kind == "generated"]
    assert [(o.seed, o.index) for o in made] == [(4, 0), (5, 1), (6, 2), (0, 3)]
    assert {(o.family, o.model_digest) for o in made} == {(model.family, model.digest)}
    assert {o.dataset_digest for o in made} == {model.dataset_digest}
    assert [len(batch) for batch in batches] == [3, 1]
    assert batches[0].images.shape == (3, 3, model.resolution, model.resolution)


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_a_picture_is_the_same_in_any_batch(
    generator: ImageGenerator, model: IGME, batch_size: int
) -> None:
    together = pictures(generator, model, count=16, batch_size=16)
    found = pictures(generator, model, count=16, batch_size=batch_size)
    np.testing.assert_array_equal(found, together)
    alone = pictures(generator, model, seeds="11")
    np.testing.assert_array_equal(alone[0], together[11])


def test_what_is_planned_is_what_is_made(generator: ImageGenerator, model: IGME) -> None:
    request = IGS(count=3, seed=4)
    (batch,) = generator.generate(model, request)
    unmeasured = {"originality": None, "nearest_sha256": None}
    assert generator.planned(model, request) == batch.origins[0].model_copy(update=unmeasured)


def test_seeds_differ(generator: ImageGenerator, model: IGME) -> None:
    made = pictures(generator, model, count=8)
    assert len({image.tobytes() for image in made}) == 8


def test_a_resumed_request_goes_on_where_it_stopped(generator: ImageGenerator, model: IGME) -> None:
    whole = next(iter(generator.generate(model, IGS(count=6, batch_size=6))))
    rest = next(iter(generator.generate(model, IGS(count=6, skip=4, batch_size=6))))
    np.testing.assert_array_equal(rest.images, whole.images[4:])
    assert rest.origins == whole.origins[4:]


def test_batches_are_bounded_where_none_is_asked_for(
    generator: ImageGenerator, model: IGME
) -> None:
    first = next(iter(generator.generate(model, IGS(count=1_000_000))))
    assert len(first) < 100_000


@pytest.mark.parametrize(
    "settings",
    [
        {"style": "no such style"},
        {"options": {"no such option": 1}},
    ],
)
def test_unusable_settings_are_refused_before_the_first_batch(
    generator: ImageGenerator, model: IGME, settings: dict[str, object]
) -> None:
    with refused():
        generator.generate(model, IGS.model_validate(settings))


def test_a_damaged_model_is_refused_before_the_first_batch(
    generator: ImageGenerator, model: IGME, tmp_path: Path
) -> None:
    weights = bytearray(model.weights_path.read_bytes())
    weights[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(weights)
    (tmp_path / "model.json").write_text(model.manifest())
    with refused("weights"):
        generator.generate(IGME.open(tmp_path), IGS())
    (tmp_path / "weights.safetensors").unlink()
    with refused("weights"):
        generator.generate(IGME.open(tmp_path), IGS())
