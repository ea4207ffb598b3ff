"""The comparison: Table 3's numbers, what it may not say, and that nothing of it is lost."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from atelier.experiments import ComparisonRow, compare
from interfaces.errors import AtelierError
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import ProgressEvent, silent
from tests.atelier.experiments.fake_trainer import FakeTrainer
from tests.helpers import tiny_prepared

pytestmark = pytest.mark.usefixtures("blank_charts")

FIGURES = ("fig3.png", "fig4.png", "distance.png")


@pytest.fixture
def prepared(tmp_path: Path) -> IPDT:
    return tiny_prepared(tmp_path / "set")


def settings(value: float = 10.0, **changes: Any) -> TrainingSettings:
    fields = {
        "options": {"value": value},
        "total_images": 400,
        "measure_images": 100,
        "held_out_fraction": 0.0,
    }
    return TrainingSettings.model_validate(fields | changes)


def value_of(options: dict[str, Any]) -> float:
    return options["value"]


def saw(trouble: str, images_seen: int) -> dict[str, Any]:
    return {"images_seen": images_seen, "seconds": 1.0, "saw": trouble, "figures": {}, "did": "x"}


def collapses(chosen: TrainingSettings, images_seen: int) -> list[dict[str, Any]]:
    """Whatever has a distance of 10 collapses twice and over-fits once."""
    if chosen.options["value"] != 10.0:
        return []
    troubles = {150: "collapse", 300: "collapse", 350: "over-fitting"}
    return [saw(troubles[images_seen], images_seen)] if images_seen in troubles else []


def test_the_table_holds_the_numbers_computed_by_hand(tmp_path: Path, prepared: IPDT) -> None:
    entries = [("papers/dcgan", settings(10.0)), ("steady", settings(20.0, family="wgan_gp"))]
    trainer = FakeTrainer(value_of, collapses)
    first, second = compare(trainer, prepared, entries, tmp_path / "out", silent)
    assert (first.name, first.family, second.family) == ("papers-dcgan", "dcgan", "wgan_gp")
    assert first.images_seen == 400
    assert first.epochs == pytest.approx(400 / 32)
    assert first.training_seconds == pytest.approx(200.0)
    assert first.seconds_per_epoch == pytest.approx(200.0 / 12.5)
    assert first.num_collapses == 2
    assert first.epochs_between_collapses == pytest.approx(6.25)
    assert first.other_interventions == {"over-fitting": 1}
    assert first.distance is not None
    assert (first.distance.value, first.distance.low, first.distance.high) == (10.0, 9.0, 12.0)
    assert second.num_collapses == 0
    assert second.epochs_between_collapses is None
    assert second.is_budget_spent


def test_an_epoch_is_what_was_learnt_from_alone(tmp_path: Path, prepared: IPDT) -> None:
    chosen = settings(held_out_fraction=0.5)
    learnt_from = len(prepared.split(0.5)[0])
    assert 0 < learnt_from < 32
    (row,) = compare(FakeTrainer(value_of), prepared, [("a", chosen)], tmp_path / "out", silent)
    assert row.num_training == learnt_from
    assert row.epochs == pytest.approx(400 / learnt_from)


@pytest.mark.usefixtures("drawn_charts")
def test_markdown_csv_and_json_say_the_same(tmp_path: Path, prepared: IPDT) -> None:
    entries = [("a|b", settings(10.0)), ("steady", settings(20.0))]
    rows = compare(FakeTrainer(value_of, collapses), prepared, entries, tmp_path / "out", silent)
    read = json.loads((tmp_path / "out/table3.json").read_text())
    assert tuple(ComparisonRow.model_validate(row) for row in read["rows"]) == rows
    with (tmp_path / "out/table3.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["name"] for line in lines] == ["a-b", "steady"]
    assert [float(line["distance_value"]) for line in lines] == [10.0, 20.0]
    assert [float(line["seconds_per_epoch"]) for line in lines] == [16.0, 16.0]
    assert lines[0]["other_interventions"] == "over-fitting (1)"
    text = (tmp_path / "out/table3.md").read_text()
    assert "| length of training | 12.5 epochs | 12.5 epochs |" in text
    assert "| time | 3.33 min | 3.33 min |" in text
    assert "| time per epoch | 16 s | 16 s |" in text
    assert "| mode collapse | yes | no |" in text
    assert "| frequency of mode collapse | every 6.25 epochs (2×) | – |" in text
    assert "10.00 [9.00, 12.00], embedded | 20.00 [19.00, 22.00], embedded" in text
    assert "Budget: 400 images for each" in text
    assert "1000 generated against 29 real images (training)" in text
    assert str(tmp_path) not in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {4}
    for name in FIGURES:
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 300


def test_an_interrupted_comparison_goes_on_where_it_was(tmp_path: Path, prepared: IPDT) -> None:
    entries = [(name, settings(value)) for name, value in (("a", 1.0), ("b", 2.0))]

    def interrupt(chosen: TrainingSettings, images_seen: int) -> None:
        if chosen.options["value"] == 2.0 and images_seen == 200:
            raise KeyboardInterrupt

    broken = FakeTrainer(value_of, interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare(broken, prepared, entries, tmp_path / "out", silent)
    text = (tmp_path / "out/table3.md").read_text()
    assert "| finished |" in text
    assert "1 of 2 trainings are still to come" in text
    trainer = FakeTrainer(value_of)
    rows = compare(trainer, prepared, entries, tmp_path / "out", silent)
    assert [row.name for row in rows] == ["a", "b"]
    assert trainer.num_steps == (400 - 190) / 10  # the first was done, the second half done
    assert [row.distance.value for row in rows if row.distance] == [1.0, 2.0]
    assert [row.training_seconds for row in rows] == [200.0, 200.0]
    assert "still to come" not in (tmp_path / "out/table3.md").read_text()


def test_a_failing_training_is_a_row_that_says_why(tmp_path: Path, prepared: IPDT) -> None:
    def fail(chosen: TrainingSettings, images_seen: int) -> None:
        if chosen.options["value"] == 1.0 and images_seen == 200:
            raise AtelierError(f"{tmp_path / 'out/a/training'}: is no number any more")

    entries = [("a", settings(1.0)), ("b", settings(2.0))]
    failed, fine = compare(FakeTrainer(value_of, fail), prepared, entries, tmp_path / "out", silent)
    assert failed.failure == "training: is no number any more"
    assert failed.images_seen == 200
    assert failed.training_seconds == 100.0
    assert failed.distance is None
    assert fine.failure is None
    text = (tmp_path / "out/table3.md").read_text()
    assert "| outcome | failed | finished |" in text
    assert "not measured | 2.00" in text
    assert "a failed: training: is no number any more" in text
    with (tmp_path / "out/table3.csv").open(newline="") as stream:
        assert next(csv.DictReader(stream))["distance_value"] == ""


def test_one_that_fails_before_its_first_image_is_a_row_too(tmp_path: Path, prepared: IPDT) -> None:
    class Refuses(FakeTrainer):
        def train(self, *arguments: object) -> Any:
            raise AtelierError("family 'x': unknown")

    chosen = settings(device="cuda")
    (row,) = compare(Refuses(value_of), prepared, [("a", chosen)], tmp_path / "out", silent)
    assert (row.images_seen, row.epochs, row.seconds_per_epoch) == (0, 0.0, None)
    assert row.failure == "family 'x': unknown"
    assert (tmp_path / "out/fig3.png").exists()


def test_what_was_measured_otherwise_is_not_ranked_silently(tmp_path: Path, prepared: IPDT) -> None:
    class Unlike(FakeTrainer):
        def train(self, prepared: IPDT, chosen: TrainingSettings, *rest: Any) -> Any:
            self.measured = {"num_generated": 500} if chosen.options["value"] == 2.0 else {}
            return super().train(prepared, chosen, *rest)

    entries = [("a", settings(1.0)), ("b", settings(2.0)), ("c", settings(3.0))]
    compare(Unlike(value_of), prepared, entries, tmp_path / "out", silent)
    text = (tmp_path / "out/table3.md").read_text()
    assert "not to be ranked: a and b (num_generated: 1000 and 500)." in text
    assert "not to be ranked: b and c (num_generated: 500 and 1000)." in text
    assert "a and c" not in text


def test_unlike_budgets_are_told(tmp_path: Path, prepared: IPDT) -> None:
    entries = [("a", settings()), ("b", settings(total_images=800, total_seconds=7200))]
    compare(FakeTrainer(value_of), prepared, entries, tmp_path / "out", silent)
    text = (tmp_path / "out/table3.md").read_text()
    assert "Budgets differ (a: 400 images; b: 800 images or 120 min, whichever is first)" in text


def test_collapse_that_nobody_looked_for_is_no_absence_of_it(
    tmp_path: Path, prepared: IPDT
) -> None:
    entries = [("a", settings(guardian="off"))]
    compare(FakeTrainer(value_of), prepared, entries, tmp_path / "out", silent)
    assert "| mode collapse | not looked for |" in (tmp_path / "out/table3.md").read_text()


def test_a_training_that_was_given_up_is_told_apart(tmp_path: Path, prepared: IPDT) -> None:
    class GivesUp(FakeTrainer):
        def train(self, prepared: IPDT, chosen: TrainingSettings, *rest: Any) -> Any:
            short = chosen.model_copy(update={"total_images": 100})
            return super().train(prepared, short, *rest)

    (row,) = compare(GivesUp(value_of), prepared, [("a", settings())], tmp_path / "out", silent)
    assert not row.is_budget_spent
    assert "given up before" in (tmp_path / "out/table3.md").read_text()


def test_names_become_safe_folders_that_differ(tmp_path: Path, prepared: IPDT) -> None:
    given = ["../up", "Up", "con", "…"]
    entries = [(name, settings(total_images=20, measure_images=0)) for name in given]
    rows = compare(FakeTrainer(value_of), prepared, entries, tmp_path / "out", silent)
    names = [row.name for row in rows]
    assert names[0] == "up"
    assert len({name.lower() for name in names}) == len(given)
    for name in names:
        assert (tmp_path / "out" / name / "training").is_dir()
    assert not (tmp_path / "up").exists()
    assert "con" not in names  # a device on Windows
    assert "No final Fréchet distance was measured" in (tmp_path / "out/table3.md").read_text()


def test_a_line_cut_off_by_a_kill_is_passed_over(tmp_path: Path, prepared: IPDT) -> None:
    run = tmp_path / "out/a/training"
    run.mkdir(parents=True)
    whole = json.dumps(saw("collapse", 10))
    (run / "guardian.jsonl").write_text(whole + "\n" + whole[:30])
    (row,) = compare(FakeTrainer(value_of), prepared, [("a", settings())], tmp_path / "out", silent)
    assert row.num_collapses == 1


def test_progress_names_the_entry(tmp_path: Path, prepared: IPDT) -> None:
    events: list[ProgressEvent] = []
    entries = [("a", settings()), ("b", settings())]
    compare(FakeTrainer(value_of), prepared, entries, tmp_path / "out", events.append)
    assert {event.stage for event in events} == {"train a (1 of 2)", "train b (2 of 2)"}


def test_nothing_to_compare_is_refused(tmp_path: Path, prepared: IPDT) -> None:
    with pytest.raises(AtelierError, match="at least one"):
        compare(FakeTrainer(value_of), prepared, [], tmp_path / "out", silent)
