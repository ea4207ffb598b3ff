"""FID's Inception network against `pytorch-fid`'s own, with the same seeded weights in both."""

import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from components.common.images import float_to_pixels
from components.common.vision import import_torchvision
from components.metrics import distances, load_features
from components.metrics import features as features_module
from components.metrics.inception import prepare
from interfaces.errors import AtelierError
from interfaces.measurement import FID_WEIGHTS_SHA256
from tests.helpers import make_images

import_torchvision()  # the programs compared with import it too, and cannot where it needs help


def seeded_state() -> dict[str, Tensor]:
    """Weights of torchvision's network, classifier and all, whose features tell pictures apart.

    He's initialisation, random scales, and running statistics of the network's own activations.
    """
    from torchvision.models.inception import Inception3

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        network = Inception3(
            num_classes=1008, aux_logits=False, transform_input=False, init_weights=False
        )
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.3)
        network.train()(prepare(float_to_pixels(make_images(4, 64, seed=77))))
    return dict(network.state_dict())


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return seeded_state()


@pytest.fixture(scope="module")
def weights(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(state, path)
    return path


@pytest.fixture
def theirs(state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """`pytorch-fid`'s network, which would download its weights."""
    from pytorch_fid import inception

    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda url, progress: state)
    return inception.InceptionV3([3]).eval()


@torch.inference_mode()
def test_features_are_those_of_pytorch_fid(
    weights: Path, theirs: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_module, "BATCH_SIZE", 4)  # 32 take seconds
    network = load_features("inception", weights, "cpu")
    pixels = float_to_pixels(make_images(3, 64))
    found = network.extract(pixels)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    expected = theirs(images)[0][:, :, 0, 0]
    assert found.shape == (3, 2048)
    assert (found.std(dim=0) / found.mean(dim=0).clamp_min(1e-6)).median() > 0.05  # not all alike
    assert float((found - expected).norm() / expected.norm()) < 1e-5
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.mean()))
    assert network.sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert network.sha256 != FID_WEIGHTS_SHA256


def test_classifier_and_counters_are_not_needed(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "bare.pth"
    bare = {k: v for k, v in state.items() if not k.startswith("fc.") and "num_batches" not in k}
    torch.save(bare | {"AuxLogits.fc.weight": torch.zeros(2)}, path)
    assert load_features("inception", path, "cpu").num_features == 2048


class Harmful:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("code in a weights file was run",))


@pytest.mark.parametrize("fault", ["missing", "foreign", "shape", "not finite", "a list"])
def test_other_weights_are_refused(state: dict[str, Tensor], tmp_path: Path, fault: str) -> None:
    name = "Conv2d_1a_3x3.conv.weight"
    content: Any = dict(state)
    if fault == "missing":
        del content[name]
    elif fault == "foreign":
        content["layer1.weight"] = torch.zeros(2)
    elif fault == "shape":
        content[name] = torch.zeros(32, 1, 3, 3)
    elif fault == "not finite":
        content[name] = content[name] * torch.inf
    else:
        content = [1, 2]
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(AtelierError, match="not the weights of FID's inception network"):
        load_features("inception", path, "cpu")


def test_absent_damaged_and_harmful_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(AtelierError, match="cannot read the inception weights"):
        load_features("inception", path, "cpu")
    for data in (b"", b"nonsense", pickle.dumps(Harmful(), protocol=2)):
        path.write_bytes(data)
        with pytest.raises(AtelierError, match="refused"):
            load_features("inception", path, "cpu")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The `disp` argument:DeprecationWarning")
def test_fid_and_kid_of_64_pictures_are_theirs(
    weights: Path, theirs: nn.Module, tmp_path: Path
) -> None:
    """Through files: PNGs as `pytorch-fid` reads them, pixels as we do."""
    from pytorch_fid.fid_score import calculate_frechet_distance, compute_statistics_of_path
    from torch_fidelity.metric_kid import kid_features_to_metric

    network = load_features("inception", weights, "cpu")
    ours, statistics = [], []
    for seed in range(2):
        pixels = float_to_pixels(make_images(32, 64, seed) * (0.9 - 0.2 * seed))
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        for place, picture in enumerate(pixels):
            Image.fromarray(picture).save(folder / f"{place:03d}.png")
        ours.append(network.extract(pixels))
        statistics += compute_statistics_of_path(str(folder), theirs, 32, 2048, "cpu", 0)
    expected = calculate_frechet_distance(*statistics)
    found = distances.frechet(*ours)
    print(f"FID: ours {found}, pytorch-fid {expected}")
    assert found.value == pytest.approx(expected, rel=1e-3)
    options = {"kid_subsets": 1, "kid_subset_size": 32, "verbose": False}
    kid = kid_features_to_metric(*(x.double() for x in ours), **options)
    assert distances.kid(*ours).value == pytest.approx(
        kid["kernel_inception_distance_mean"], rel=1e-9
    )
