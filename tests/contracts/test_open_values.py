"""A replacement may take another scale or format than ours: nothing but ours refuses it."""

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from atelier.assembly import assemble
from atelier.choices import choose
from components.common.devices import pick_device
from components.common.images import float_to_pixels
from interfaces.capabilities import Capabilities
from interfaces.contract import offered
from interfaces.errors import RefusedError
from interfaces.ics import ICS
from interfaces.iedt import IEDT
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import TrainingSettings
from interfaces.igs import IGS
from interfaces.iodt import IODT, suffix_of
from interfaces.progress import Progress, silent
from interfaces.record import EnhancementRecord
from tests.helpers import make_igdt, make_iodt, tiny_prepared

HERE = "tests.contracts.test_open_values"


class Doubler:
    """Repeats every pixel, twice or three times."""

    capabilities = Capabilities(scales=(2, 3))

    def planned(self, settings: IES, pixels: int | None = None) -> EnhancementRecord:
        return EnhancementRecord(
            enhancer="repeat", weights_sha256=None, scale=settings.scale, strength=0.0
        )

    def enhance(
        self,
        batches: Iterable[IGDT],
        settings: IES,
        progress: Progress = silent,
        pixels: int | None = None,
    ) -> Iterator[IEDT]:
        for batch in batches:
            images = batch.images.repeat(settings.scale, axis=2).repeat(settings.scale, axis=3)
            yield IEDT(images=images, origins=batch.origins, enhancement=self.planned(settings))


class GifWriter:
    """Writes GIF, which ours does not."""

    capabilities = Capabilities(formats=("gif",))

    def convert(self, batches: Iterable[IEDT], settings: ICS) -> Iterator[IODT]:
        for batch in batches:
            for image, origin in zip(batch.images, batch.origins, strict=True):
                buffer = io.BytesIO()
                pixels = float_to_pixels(image[None])[0]
                Image.fromarray(pixels).save(buffer, "GIF")
                usual = make_iodt()
                changed = {"origin": origin, "conversion": {"format": settings.format}}
                record = usual.record.model_copy(
                    update={**changed, "enhancement": batch.enhancement}
                )
                yield IODT.model_validate(
                    dict(usual)
                    | {
                        "data": buffer.getvalue(),
                        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
                        "media_type": "image/gif",
                        "width": pixels.shape[1],
                        "height": pixels.shape[0],
                        "record": record,
                    }
                )


def make_doubler(workspace: Path) -> Doubler:
    return Doubler()


def make_gif_writer(workspace: Path) -> GifWriter:
    return GifWriter()


REPLACED = {"enhancement": f"{HERE}:make_doubler", "conversion": f"{HERE}:make_gif_writer"}


def test_another_scale_and_format_go_the_whole_way(tmp_path: Path) -> None:
    chosen = choose(
        {"enhance": {"scale": "2"}, "convert": {"format": "gif"}, "components": REPLACED}
    )
    parts = assemble(tmp_path, chosen.components)
    enlarged = parts.enhancement.enhance([make_igdt(1, 16)], chosen.enhance)
    (image,) = parts.conversion.convert(enlarged, chosen.convert)
    assert (image.width, image.media_type) == (32, "image/gif")
    assert IODT.from_bytes(image.to_bytes()) == image
    assert IES.from_json(chosen.enhance.to_json()) == chosen.enhance
    kept = parts.results_store.keep(image, "0001-mine")
    assert kept.path.suffix == ".gif"
    assert parts.results_store.get(kept.id).record.enhancement.scale == 2


def test_what_it_does_not_declare_is_refused_by_its_name(tmp_path: Path) -> None:
    parts = assemble(tmp_path, REPLACED)
    with pytest.raises(RefusedError, match=r"component enhancement .*: enlarges by 2, 3, not 4"):
        parts.enhancement.planned(IES(scale=4))
    with pytest.raises(RefusedError, match=r"component conversion .*: writes gif, not png"):
        next(iter(parts.conversion.convert([], ICS())))


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("enhance", "scale", 2),
        ("enhance", "route", "tensorrt"),
        ("convert", "format", "gif"),
        ("generate", "device", "tpu"),
        ("train", "precision", "float8"),
        ("train", "track", "aim"),
    ],
)
def test_ours_refuse_it_before_anything_is_begun(
    section: str, field: str, value: str | int
) -> None:
    with pytest.raises(RefusedError, match=rf"{section}\.{field}: '?{value}'? is none of "):
        choose({section: {field: value}})


def test_ours_refuse_it_in_a_host_program_too(tmp_path: Path) -> None:
    ours = assemble(tmp_path)
    with pytest.raises(RefusedError, match=r"enhance\.scale: 2 is none of 1, 4, 16"):
        ours.enhancement.planned(IES(scale=2))
    with pytest.raises(RefusedError, match=r"enhance\.route: 'tensorrt' is none of auto, float32"):
        ours.enhancement.planned(IES(route="tensorrt"))
    with pytest.raises(RefusedError, match=r"convert\.format: 'gif' is none of png"):
        next(iter(ours.conversion.convert([], ICS(format="gif"))))
    with pytest.raises(RefusedError, match=r"train\.precision: 'float8' is none of auto, float32"):
        ours.training.train(
            tiny_prepared(tmp_path),
            TrainingSettings(precision="float8", total_images=1),
            tmp_path / "run",
            silent,
        )
    with pytest.raises(RefusedError, match="device tpu: unknown; there are auto, cuda"):
        pick_device("tpu")


def test_schemas_name_what_is_offered_and_stay_open() -> None:
    open_fields = ((IES, "scale"), (IES, "route"), (ICS, "format"), (IGS, "device"))
    for model, field in (*open_fields, (TrainingSettings, "precision")):
        schema = model.model_json_schema()["properties"][field]
        assert schema["examples"] == list(offered(model.model_fields[field]))
        assert "enum" not in schema


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [("image/jpeg", ".jpg"), ("image/jxl", ".jxl"), ("image/svg+xml", ".svg"), ("image/x-y", ".y")],
)
def test_every_media_type_has_a_suffix(media_type: str, suffix: str) -> None:
    assert suffix_of(media_type) == suffix
