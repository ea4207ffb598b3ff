"""Work begun when a model's digest covered less, which is gone on with and not begun again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from atelier.choices import choose
from atelier.own_files import Requests, Rework
from atelier.runs import Run
from atelier.stages import kept_of
from components.results_store import create as create_store
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT
from interfaces.progress import Progress, silent
from interfaces.record import GeneratedOrigin, InputRecord
from interfaces.ui import Choices
from tests.helpers import digest, make_iodt, make_origin, make_record

MODEL = IGME(
    directory=Path("model"),
    family="dcgan",
    config={},
    weights_sha256=digest("weights"),
    resolution=16,
    styles=("waves",),
    dataset_name="test",
    dataset_digest=digest("prepared"),
    images_seen=1,
)
NOW, BEFORE = MODEL.digests


def image_of(seed: int, model_digest: str) -> IODT:
    image = make_iodt(seed)
    origin = make_origin(seed, seed).model_copy(update={"model_digest": model_digest})
    record = image.record.model_copy(update={"origin": origin})
    return image.model_copy(update={"record": record})


def test_a_run_finds_the_pictures_that_it_kept_before(tmp_path: Path) -> None:
    run = Run(tmp_path / "0001-old", "generate", choose({}))
    store = create_store(tmp_path)
    kept = [store.keep(image_of(s, d), run.name) for s, d in ((0, BEFORE), (1, NOW))]
    wanted = Choices(generate=IGS(count=2))
    assert [result.id for result in kept_of(store, run, MODEL, wanted)] == [k.id for k in kept]


class Planner:
    """A generator that only says what it would make."""

    def planned(self, model: IGME, settings: IGS) -> GeneratedOrigin:
        return make_origin(settings.chosen_seeds[0]).model_copy(update={"model_digest": NOW})

    def generate(self, model: IGME, settings: IGS, progress: Progress = silent) -> Iterator[IGDT]:
        raise NotImplementedError


@pytest.mark.parametrize(
    "model_digest,is_done", [(NOW, True), (BEFORE, True), (digest("other"), False)]
)
def test_a_reworked_file_is_not_reworked_again(
    model_digest: str, is_done: bool, tmp_path: Path
) -> None:
    requests = Requests(tmp_path / "requests")
    rework = Rework(Planner(), MODEL, IGS(), lambda path: None, silent, requests)
    source = InputRecord(role="source", name="own.png", sha256=digest("own"))
    made = make_origin().model_copy(update={"model_digest": model_digest, "inputs": (source,)})
    record = make_record().model_copy(update={"origin": made})
    assert (rework.file_of(record, "0" * 64) is not None) == is_done
