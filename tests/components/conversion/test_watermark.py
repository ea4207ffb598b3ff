"""The watermark: TrustMark's own package and loading code, over networks of seeded weights."""

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import c2pa
import numpy as np
import pytest
import torch
from PIL import Image

from atelier.contracts.samples import make_iedt
from atelier.verification import verify
from components.common.vision import import_torchvision
from components.conversion import ImageConverter, watermark
from interfaces.errors import RefusedError, UnavailableError
from interfaces.ics import ICS

ID = "1a2b3c4d5e6f7081"

CONFIG = """
model:
  target: trustmark.model.TrustMark_Arch
  params:
    cover_key: image
    secret_key: secret
    secret_len: 100
    resolution: 256
    secret_encoder_config:
      target: trustmark.unet.Unet1
      params: {width: 2, ndown: 4, nmiddle: 1, activ: silu}
    secret_decoder_config:
      target: trustmark.unet.SecretDecoder
      params: {arch: resnet18}
    discriminator_config: {target: trustmark.model.Identity}
    loss_config: {target: trustmark.model.Identity}
    noise_config: {target: trustmark.model.Identity}
"""


def test_an_id_is_written_as_61_bits_and_read_back() -> None:
    bits = watermark.bits_of(ID)
    assert len(bits) == 61
    assert f"{int(bits, 2):016x}" == ID
    with pytest.raises(ValueError, match="watermark"):
        ICS(watermark="2" + ID[1:])  # 62 bits


def test_without_the_package_a_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermark, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install 'atelier\[watermark\]'"):
        ImageConverter().check(ICS(watermark="auto"))


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(RefusedError, match="64 x 64 pixels are too few"):
        list(ImageConverter().convert([make_iedt(1, 64)], ICS(watermark="auto")))


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """TrustMark's folder of weights, with seeded ones, and their digests in its own table.

    The decoder finds `ID` in every picture, with five of its bits flipped.
    """
    import_torchvision()
    package = pytest.importorskip("trustmark.trustmark", reason="the extra 'watermark' is missing")
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "trustmark_Q.yaml").write_text(CONFIG)
    torch.manual_seed(0)
    network = package.instantiate_from_config(package.OmegaConf.create(CONFIG).model)
    state = network.state_dict()
    layer = package.DataLayer(100, verbose=False, encoding_mode=1)
    bits = torch.from_numpy(layer.encode_binary([watermark.bits_of(ID)])[0])
    bits[[3, 17, 40, 71, 95]] = 1 - bits[[3, 17, 40, 71, 95]]
    state["decoder.decoder.fc.weight"].zero_()
    state["decoder.decoder.fc.bias"].copy_(bits - 0.5)
    for part in ("encoder", "decoder"):
        own = {key: value for key, value in state.items() if key.startswith(part)}
        torch.save({"state_dict": own}, folder / f"{part}_Q.ckpt")
    monkeypatch.setattr(package, "__file__", str(tmp_path / "trustmark.py"))
    monkeypatch.setattr(watermark, "weights_folder", lambda: folder)
    for path in folder.iterdir():
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        monkeypatch.setitem(package.MODEL_CHECKSUMS, path.name, digest)
    yield folder
    watermark.trustmark_networks.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["png", "jpeg"])
def test_a_picture_is_marked_and_its_credentials_name_the_mark(
    weights: Path, tmp_path: Path, name: str
) -> None:
    chosen = ICS.model_validate({"format": name, "watermark": ID})
    (image,) = ImageConverter().convert([make_iedt(1, 256)], chosen)
    assert image.record.conversion["watermark"] == ID
    reader = c2pa.Reader(image.media_type, io.BytesIO(image.data))
    report = json.loads(reader.json())
    assert report["validation_state"] == "Valid"
    told = report["manifests"][report["active_manifest"]]["assertions"]
    (bound,) = (one["data"] for one in told if one["label"] == "c2pa.soft-binding")
    assert bound["alg"] == "com.adobe.trustmark.Q"
    assert bound["blocks"] == [{"scope": {}, "value": f"1*{int(ID, 16):061b}"}]
    path = tmp_path / f"picture.{name}"
    path.write_bytes(image.data)
    said = verify(path)
    assert (said.state, said.watermark) == ("intact", ID)
    assert said.claimed[-1] == f"the pixels hold the watermark {ID}, as the record says"


@pytest.mark.slow
def test_a_stripped_picture_still_holds_its_id(weights: Path, tmp_path: Path) -> None:
    Image.new("RGB", (256, 256), "teal").save(tmp_path / "stripped.png")
    said = verify(tmp_path / "stripped.png")
    assert (said.state, said.watermark, said.proved) == ("unsigned", ID, ())
    assert said.claimed == (f"the pixels hold the watermark {ID}, which no record here names",)


@pytest.mark.slow
def test_the_mark_is_what_trustmark_itself_writes(weights: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 260, 3), dtype=np.uint8)
    after, name = watermark.marked(pixels, "auto")
    theirs = watermark.trustmark_networks().encode(
        Image.fromarray(pixels), watermark.bits_of(name), MODE="binary"
    )
    assert np.array_equal(after, np.asarray(theirs))
    assert not np.array_equal(after, pixels)
    again, same = watermark.marked(pixels, name)
    assert same == name and np.array_equal(again, after)


@pytest.mark.slow
def test_alpha_grey_and_16_bits_are_kept(weights: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (256, 256, 4), dtype=np.uint8)
    shallow, _ = watermark.marked(levels, ID)
    deep, _ = watermark.marked(levels.astype(np.uint16) * 257, ID)
    assert np.array_equal(deep, shallow.astype(np.uint16) * 257)
    assert np.array_equal(shallow[..., 3], levels[..., 3])
    assert not np.array_equal(shallow[..., :3], levels[..., :3])
    assert watermark.marked(levels[..., :1], ID)[0].shape == (256, 256, 1)


@pytest.mark.slow
def test_missing_or_damaged_weights_are_named_and_never_fetched(weights: Path) -> None:
    path = weights / "encoder_Q.ckpt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnavailableError, match=r"encoder_Q\.ckpt is missing or damaged; fetch"):
        ImageConverter().check(ICS(watermark="auto"))
    path.unlink()
    with pytest.raises(UnavailableError, match=r"encoder_Q\.ckpt is missing or damaged; fetch"):
        ImageConverter().check(ICS(watermark="auto"))
