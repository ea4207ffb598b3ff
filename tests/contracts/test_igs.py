"""IGS: the message, and what any user interface and any generator must keep."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from components.training import create as create_trainer
from interfaces.errors import AtelierError
from interfaces.igdt import ImageGenerator
from interfaces.igme import IGME, TrainingSettings
from interfaces.igs import IGS, format_seeds, parse_seeds
from interfaces.progress import ProgressEvent, silent
from interfaces.ui import Choices, UserInterface
from tests.contracts.conftest import Component
from tests.helpers import tiny_prepared

seed_tuples = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=20, unique=True).map(tuple)


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": 1.5},
        {"count": 2_000_000},
        {"seed": -1},
        {"seed": 2**63 - 1, "count": 2},
        {"seeds": ""},
        {"seeds": "5-3"},
        {"seeds": "1,,2"},
        {"seeds": "-4"},
        {"seeds": "a"},
        {"seeds": "0-99999999999"},
        {"seeds": ()},
        {"batch_size": 0},
        {"skip": -1},
        {"device": "tpu"},
        {"prompt": ""},
        {"mask": "mask.png"},
        {"schema_version": 2},
        {"unknown": 1},
    ],
)
def test_nonsense_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IGS.model_validate(changes)


@given(seeds=seed_tuples)
def test_seed_lists_are_read_back_as_written(seeds: tuple[int, ...]) -> None:
    assert parse_seeds(format_seeds(seeds)) == seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-3", (0, 1, 2, 3)), ("7", (7,)), ("9,0-2, 5", (9, 0, 1, 2, 5)), ("1,1-2", (1, 2))],
)
def test_lists_and_ranges_of_seeds(text: str, seeds: tuple[int, ...]) -> None:
    assert IGS(seeds=text).chosen_seeds == seeds  # type: ignore[arg-type]


def test_seeds_follow_the_first_where_no_list_is_given() -> None:
    assert IGS(count=3, seed=10).chosen_seeds == (10, 11, 12)


@given(
    message=st.builds(
        IGS,
        count=st.integers(1, 1000),
        seed=st.integers(0, 2**60),
        seeds=st.none() | seed_tuples,
        style=st.none() | st.text(min_size=1),
        batch_size=st.none() | st.integers(1, 4096),
        options=st.dictionaries(st.text(min_size=1), st.floats(0, 1) | st.text() | st.booleans()),
    )
)
def test_json_and_bytes_bring_it_back(message: IGS) -> None:
    assert IGS.from_json(message.to_json()) == message
    assert IGS.from_bytes(message.to_bytes()) == message


# ---------------------------------------------------------------- the user interface's port


def test_an_interface_asks_watches_and_tells(component: Component) -> None:
    ui = component("ui")
    assert isinstance(ui, UserInterface)
    chosen = ui.ask(Choices(generate=IGS(count=3)))
    assert isinstance(chosen.generate, IGS)
    for done in range(3):
        ui.watch(ProgressEvent(stage="train", done=done, total=2, note="[odd] markup"))
    ui.watch(ProgressEvent(stage="unknown length", done=5))
    ui.say("made 3 images [in] a folder")
    ui.warn("a warning [/] with brackets")
    ui.close()


# ---------------------------------------------------------------- the generator's port


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> IGME:
    folder = tmp_path_factory.mktemp("model")
    options = {"batch_size": 4, "generator_channels": 8, "discriminator_channels": 8}
    settings = TrainingSettings(family="dcgan", options=options, total_images=16)
    prepared = tiny_prepared(folder / "set")
    return create_trainer(folder).train(prepared, settings, folder / "run", silent)


def generator(component: Component) -> ImageGenerator:
    found = component("generation")
    assert isinstance(found, ImageGenerator)
    return found


def pictures(component: Component, model: IGME, **settings: object) -> np.ndarray:
    batches = generator(component).generate(model, IGS.model_validate(settings))
    return np.concatenate([batch.images for batch in batches])


def test_one_picture_a_seed_in_order(component: Component, model: IGME) -> None:
    batches = list(generator(component).generate(model, IGS(seeds="4-6,0", batch_size=3)))  # type: ignore[arg-type]
    origins = [origin for batch in batches for origin in batch.origins]
    assert [(o.seed, o.index) for o in origins] == [(4, 0), (5, 1), (6, 2), (0, 3)]
    assert all(o.model_digest == model.digest for o in origins)
    assert all(o.dataset_digest == model.dataset_digest for o in origins)
    assert [len(batch) for batch in batches] == [3, 1]
    assert batches[0].images.shape == (3, 3, model.resolution, model.resolution)


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_a_picture_is_the_same_in_any_batch(
    component: Component, model: IGME, batch_size: int
) -> None:
    together = pictures(component, model, count=16, batch_size=16)
    found = pictures(component, model, count=16, batch_size=batch_size)
    np.testing.assert_array_equal(found, together)
    alone = pictures(component, model, seeds="11")
    np.testing.assert_array_equal(alone[0], together[11])


def test_seeds_differ(component: Component, model: IGME) -> None:
    made = pictures(component, model, count=8)
    assert len({image.tobytes() for image in made}) == 8


def test_a_resumed_request_goes_on_where_it_stopped(component: Component, model: IGME) -> None:
    whole = next(iter(generator(component).generate(model, IGS(count=6, batch_size=6))))
    rest = next(iter(generator(component).generate(model, IGS(count=6, skip=4, batch_size=6))))
    np.testing.assert_array_equal(rest.images, whole.images[4:])
    assert rest.origins == whole.origins[4:]


def test_batches_are_bounded_where_none_is_asked_for(component: Component, model: IGME) -> None:
    first = next(iter(generator(component).generate(model, IGS(count=1_000_000))))
    assert len(first) < 100_000


@pytest.mark.parametrize(
    "settings",
    [
        {"style": "no such style"},
        {"options": {"no such option": 1}},
        {"options": {"truncation": 7}},
    ],
)
def test_unusable_settings_are_refused_before_the_first_batch(
    component: Component, model: IGME, settings: dict[str, object]
) -> None:
    with pytest.raises(AtelierError):
        generator(component).generate(model, IGS.model_validate(settings))


def test_a_damaged_model_is_refused_before_the_first_batch(
    component: Component, model: IGME, tmp_path: Path
) -> None:
    weights = bytearray(model.weights_path.read_bytes())
    weights[-1] ^= 1
    (tmp_path / "weights.safetensors").write_bytes(weights)
    (tmp_path / "model.json").write_text(model.manifest())
    with pytest.raises(AtelierError, match="weights"):
        generator(component).generate(IGME.open(tmp_path), IGS())
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(AtelierError, match="weights"):
        generator(component).generate(IGME.open(tmp_path), IGS())
