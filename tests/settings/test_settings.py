"""Presets, environment and flags: who overrides whom, and what is refused."""

from pathlib import Path

import pytest

import settings
from atelier.choices import choose, with_defaults
from atelier.commands.flags import flags_of, layer_of
from components.families import FAMILIES
from interfaces.errors import AtelierError


def test_every_preset_that_ships_is_valid() -> None:
    assert {"default", "papers/dcgan", "papers/dcgan_wi", "papers/wgan_gp"} <= set(
        settings.preset_names()
    )
    for name in settings.preset_names():
        chosen = settings.resolve(with_defaults(settings.load_preset(name)))
        FAMILIES[chosen.train.family].config.model_validate(chosen.train.options)


def test_the_default_gives_way_to_a_family_and_a_budget() -> None:
    small = settings.resolve(with_defaults({})).train
    assert small.start_from == Path("shipped-sketch")
    assert small.total_seconds
    scratch = settings.resolve(with_defaults({"train": {"start_from": "none"}})).train
    assert (scratch.family, scratch.start_from) == (small.family, None)
    assert settings.resolve(with_defaults({"train": {"start_from": None}})).train == scratch
    wgan_gp = settings.resolve(with_defaults({"train": {"family": "wgan_gp"}})).train
    assert wgan_gp.start_from is None
    assert wgan_gp.total_seconds == small.total_seconds
    paper = settings.resolve(with_defaults(settings.load_preset("papers/wgan_gp"))).train
    assert paper.total_seconds is None
    assert paper.total_images == 1_920_000


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"total_seconds": 30}, 64),
        ({"total_seconds": "600"}, 200),
        ({"total_seconds": 36_000}, 1000),
        ({"total_seconds": 600, "measure_count": 500}, 500),
        ({"total_seconds": 600, "family": "r3gan"}, 1000),
        ({"total_images": 600}, 1000),
        ({"total_seconds": 600, "measure_images": 0}, 1000),
    ],
)
def test_measuring_a_diffusion_model_stays_within_a_part_of_the_budget(
    given: dict[str, object], count: int
) -> None:
    chosen = settings.resolve(with_defaults({"train": {"start_from": "none", **given}})).train
    assert chosen.measure_count == count
    assert not chosen.idle()


def test_flags_override_environment_overrides_presets() -> None:
    preset = {"generate": {"count": 1, "seed": 1, "style": "a"}}
    environment = settings.from_environment(
        {"ATELIER_GENERATE_COUNT": "2", "ATELIER_GENERATE_SEED": "2", "HOME": "/"}
    )
    merged = settings.merge(preset, environment, {"generate": {"count": "3"}})
    chosen = settings.resolve(with_defaults(merged))
    assert (chosen.generate.count, chosen.generate.seed, chosen.generate.style) == (3, 2, "a")


def test_a_familys_option_comes_from_the_environment_too() -> None:
    layer = settings.from_environment({"ATELIER_TRAIN_OPTIONS_LEARNING_RATE": "1e-3"})
    assert layer == {"train": {"options": {"learning_rate": "1e-3"}}}


@pytest.mark.parametrize("name", ["ATELIER_GENERATE_CUONT", "ATELIER_NONSENSE", "ATELIER_COLLECT_"])
def test_a_variable_that_names_nothing_is_refused(name: str) -> None:
    with pytest.raises(AtelierError, match=name):
        settings.from_environment({name: "1"})


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"generate": {"count": 0}}, r"generate\.count: .*greater than or equal to 1 \(given: 0\)"),
        ({"generate": {"cuont": 1}}, r"generate\.cuont: no such setting; did you mean count"),
        ({"convert": {"format": "b m p"}}, r"convert\.format: .*given: 'b m p'"),
        ({"enhance": {"scale": 0}}, r"enhance\.scale: .*given: 0"),
        ({"train": {"total_seconds": -1}}, r"train\.total_seconds"),
    ],
)
def test_a_bad_value_is_refused_by_name(layer: settings.Layer, message: str) -> None:
    with pytest.raises(AtelierError, match=message) as caught:
        settings.resolve(with_defaults(layer))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[generate\n", "not readable as TOML"),
        ("[genrate]\ncount = 1", r"\[genrate\] is no section"),
        ("generate = 3", r"\[generate\] is no section"),
        ("\udcff", "not readable as TOML"),
        ("a = " + "[" * 100_000, "not readable as TOML"),
        ("a = " + "9" * 5000, "not readable as TOML"),
        ("#" * 2**20 + "\n", "over a megabyte"),
    ],
    ids=range(7),
)
def test_a_bad_preset_is_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(AtelierError, match=message):
        settings.load_preset(str(path))


def test_a_missing_preset_names_those_there_are() -> None:
    with pytest.raises(AtelierError, match="papers/wgan_gp"):
        settings.load_preset("no such preset")


def test_every_field_has_a_flag_and_every_flag_a_field() -> None:
    options = {"train": {name: family.config for name, family in FAMILIES.items()}}
    flags = flags_of(settings.SECTIONS, options, {}, {})
    reached = {target for flag in flags for target in flag.targets}
    for section, model in settings.SECTIONS.items():
        hidden = {"schema_version", "options", "skip"}
        assert {(section, name) for name in set(model.model_fields) - hidden} <= reached
    assert ("train", "options", "learning_rate") in reached
    assert len({flag.name for flag in flags}) == len(flags)
    assert all(flag.help for flag in flags)


def test_the_help_shows_the_default_that_holds() -> None:
    default = settings.load_preset("default")
    flags = {flag.name: flag for flag in flags_of(settings.SECTIONS, {}, default, {})}
    assert "default sketch_diffusion" in flags["family"].help
    assert "default 150" in flags["total_seconds"].help


def test_a_short_flag_sets_every_section_and_a_long_one_wins() -> None:
    flags = {flag.name: flag for flag in flags_of(settings.SECTIONS, {}, {}, {})}
    given = {flags["train.seed"]: "1", flags["seed"]: "2"}
    assert layer_of(given) == {"train": {"seed": "1"}, "generate": {"seed": "2"}}


def test_the_settings_of_a_run_survive_json() -> None:
    chosen = settings.resolve(settings.load_preset("default"))
    assert settings.resolve(chosen.model_dump(mode="json")) == chosen


@pytest.mark.parametrize("given", [{"track": "mlflow"}, {"tensorboard": True}])
def test_a_tracker_that_is_missing_is_refused_before_a_collection_is_read(
    given: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.training.tracking.find_spec", lambda name: None)
    with pytest.raises(AtelierError, match="is not installed; pip install 'atelier"):
        choose({"train": given})


def test_numbers_to_choose_from_may_come_as_text() -> None:
    layer = {"enhance": {"scale": "16"}}
    chosen = settings.resolve(with_defaults(layer))
    assert chosen.enhance.scale == 16
    assert FAMILIES["dcgan"].config.model_validate({"kernel_size": "5"}).kernel_size == 5


def test_a_preset_saved_by_an_editor_of_windows_is_read(tmp_path: Path) -> None:
    """The file has a byte order mark, and carriage returns."""
    preset = tmp_path / "mine.toml"
    preset.write_bytes('\ufeff[convert]\r\nformat = "webp"\r\n'.encode())
    assert settings.load_preset(str(preset)) == {"convert": {"format": "webp"}}
