"""Models that were trained elsewhere, from their files to stored pictures; bad ones in one line."""

import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pipeline
from atelier.adoption import Adoption, adopt
from atelier.commands.models import default_name
from components.generation import create
from interfaces.errors import AtelierError
from interfaces.igme import IGME
from interfaces.igs import IGS
from tests.components.families import test_stylegan2_pickles as stylegan2
from tests.components.families.test_cyclegan import TheirGenerator


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published StyleGAN2 of 16 pixels that knows three labels."""
    stylegan2.name_the_layout(monkeypatch)
    path = tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps(stylegan2.published(16, c_dim=3)))
    return path


@pytest.fixture
def two_ways(tmp_path: Path) -> tuple[str, str]:
    """Both generators of a CycleGAN, as its own program saves them."""
    torch.manual_seed(0)
    paths = [tmp_path / "horse2zebra" / f"latest_net_G_{way}.pth" for way in "AB"]
    paths[0].parent.mkdir()
    for path in paths:
        torch.save(TheirGenerator(4, 6).state_dict(), path)
    return str(paths[0]), str(paths[1])


def test_a_published_network_makes_pictures_by_label(network: Path, tmp_path: Path) -> None:
    model = adopt(Adoption(sources=(str(network),), styles=("cat", "dog", "owl")), tmp_path / "m")
    assert IGME.open(tmp_path / "m") == model
    assert (model.family, model.resolution, model.images_seen) == ("stylegan2", 16, 0)
    assert model.dataset_digest is None
    assert set(model.companions) == {"discriminator"}
    images = {
        style: next(create(tmp_path).generate(model, IGS(count=1, style=style))).images
        for style in model.styles
    }
    assert not np.array_equal(images["cat"], images["owl"])


def test_both_ways_of_a_cyclegan_turn_a_picture(two_ways: tuple[str, str], tmp_path: Path) -> None:
    model = adopt(Adoption(sources=two_ways, styles=("horse", "zebra")), tmp_path / "m")
    Image.linear_gradient("L").resize((40, 28)).save(tmp_path / "field.png")
    source = tmp_path / "field.png"
    made = [
        next(create(tmp_path).generate(model, IGS(count=1, source=source, style=style))).images
        for style in ("zebra", "horse")
    ]
    theirs = TheirGenerator(4, 6).eval()
    theirs.load_state_dict(torch.load(two_ways[0], weights_only=True))
    levels = np.asarray(Image.open(source).convert("RGB")).astype(np.float32)
    picture = torch.from_numpy(levels / 127.5 - 1).permute(2, 0, 1)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            torch.from_numpy(made[0].copy()), theirs.model(picture), rtol=0, atol=1e-5
        )
    assert made[1].shape == (1, 3, 28, 40)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": ("absent.pkl",)}, "absent.pkl: cannot be read"),
        ({"sources": ("text.pkl",)}, "text.pkl: not a StyleGAN2 network pickle"),
        ({"sources": ("text.pth", "text.pth")}, "not a plain state dict"),
        ({"sources": ("text.pth",)}, "two generators"),
        ({"sources": ("network.pkl",), "styles": ("cat",)}, "styles: name 3"),
        ({"sources": ("network.pkl",), "styles": ("cat",) * 3}, "each once"),
        ({"sources": ("network.pkl", "network.pkl")}, "alone"),
        ({"sources": ("nowhere",)}, r"^[^:]*nowhere: no such folder"),
        ({"sources": ("network.pkl",), "styles": ("cat", "", "owl")}, "styles: name 3"),
        ({"sources": ("network.pkl",), "dtype": "float32"}, "dtype: only of a diffusers pipeline"),
        ({"sources": ("numbers.pth",) * 2}, "not a plain state dict"),
        ({"sources": ("narrow.pth",) * 2}, "channels: Input should be greater"),
        ({"sources": ("overflown.pth",) * 2}, "not all of its numbers are finite"),
    ],
)
def test_what_cannot_be_adopted_is_one_line(
    network: Path, tmp_path: Path, changes: dict[str, tuple[str, ...]], said: str
) -> None:
    for name in ("text.pkl", "text.pth"):
        (tmp_path / name).write_text("no network at all")
    torch.save({1: torch.zeros(1)}, tmp_path / "numbers.pth")
    torch.save(TheirGenerator(2, 6).state_dict(), tmp_path / "narrow.pth")
    overflown = TheirGenerator(4, 6).state_dict()
    next(iter(overflown.values())).fill_(torch.nan)
    torch.save(overflown, tmp_path / "overflown.pth")
    changes["sources"] = tuple(str(tmp_path / name) for name in changes["sources"])
    with pytest.raises(AtelierError, match=said) as caught:
        adopt(Adoption.model_validate(changes), tmp_path / "m")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "m").exists()


class Harmful:
    def __reduce__(self) -> object:
        return subprocess.check_call, (["false"],)


@pytest.mark.parametrize("ending", ["pkl", "pth"])
def test_a_file_that_runs_code_runs_none(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"harmful.{ending}"
    path.write_bytes(pickle.dumps({"G_ema": Harmful()}))
    sources = (str(path),) * (2 if ending == "pth" else 1)
    with pytest.raises(AtelierError, match=r"subprocess|refused"):
        adopt(Adoption(sources=sources), tmp_path / "m")


def test_from_the_command_line_to_enlarged_pictures(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = ["--workspace", str(tmp_path / "w")]
    assert pipeline.main(["adopt", str(network), "--name", "beasts", *workspace]) == 0
    made = ["--model", "beasts", "--count", "2", "--enhancer", "lanczos", "--scale", "4"]
    assert pipeline.main(["generate", *made, *workspace]) == 0
    files = list((tmp_path / "w" / "results").rglob("*.png"))
    assert len(files) == 2
    assert pipeline.main(["results", "show", "--json", str(files[0])]) == 0
    assert '"family": "stylegan2"' in capfd.readouterr().out
    assert pipeline.main(["adopt", str(network), "--name", "beasts", *workspace]) == 1
    assert "is here already" in capfd.readouterr().err
    assert pipeline.main(["adopt", str(network), "--name", "..", *workspace]) == 1
    assert "give it a --name" in capfd.readouterr().err


def test_a_model_is_named_like_its_file_its_folder_or_its_place_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sd-v1.5").mkdir()
    monkeypatch.chdir(tmp_path / "sd-v1.5")
    names = [default_name(source) for source in ("cats.v2.pkl", ".", "org/sd-v2.1")]
    assert names == ["cats.v2", "sd-v1.5", "sd-v2.1"]
