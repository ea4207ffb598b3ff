"""Pictures learnt from that come nearest to a new one, and how near they are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from components.common.checkpoints import save_weights
from components.common.encoder import SHA256 as ENCODER_SHA256
from components.common.tensors import eigenvectors
from components.metrics.distances import Gaussian, nearest
from interfaces.errors import DamagedError, RefusedError, unreadable

DIMENSIONS = 64
"""Kept of a picture's features: 128 bytes, so that 10 000 pictures take 1.6 MB with their names."""


@dataclass(frozen=True)
class Neighbours:
    """The pictures a model learnt from, small enough to travel with it in its folder.

    Features are reduced to the 64 directions in which the training pictures vary most (principal
    components) and kept in float16; what varies little among them is not seen.

    How near a copy comes depends on what was done to it. Of 1 000 paintings learnt from, each
    mirrored, moved by two pixels, made brighter or noisier was found again in over 99 % of cases,
    at a median originality of 0.2 to 0.45; paintings never seen had 0.7 to 1.3 (9 of 10). A copied
    part, a strong crop or another colouring may seem original. A low figure therefore calls for a
    look at both pictures, and one near 1 is no proof that nothing was copied.
    """

    mean: Tensor
    """(F,), float32."""
    basis: Tensor
    """(F, D), float32, orthonormal columns; D is 64, or F where that is less."""
    codes: Tensor
    """(N, D), float16: the training pictures."""
    source_digests: Tensor
    """(N, 32), uint8: SHA-256 of each picture's file."""
    typical: float
    """Median distance of a training picture to its nearest other one."""
    features_sha256: str
    """Digest of the encoder's weights."""

    @classmethod
    def fit(
        cls, features: Tensor, sources: Sequence[str], features_sha256: str = ENCODER_SHA256
    ) -> "Neighbours":
        """Fit to the training pictures' features (N, F) and files' SHA-256, in the same order.

        Raises `AtelierError` where there are not two pictures, or most have an exact double, so
        that no distance is typical.
        """
        if len(features) < 2:
            raise RefusedError("nearest pictures need at least two training images; add more")
        gaussian = Gaussian.of(features)
        _, directions = eigenvectors(gaussian.covariance)  # the strongest is last
        mean, basis = gaussian.mean.float(), directions[:, -DIMENSIONS:].float()
        codes = ((features.float() - mean) @ basis).half()
        between = nearest(codes, codes, 2)[0][:, 1]  # the first is the picture itself
        typical = float(between.median())
        # Equal pictures' distance is not quite 0: it comes from a difference of large products.
        if typical <= 1e-6 * float(codes.double().square().sum(dim=1).max().sqrt()):
            raise RefusedError(
                "most training images have an exact double, so copies cannot be recognised; "
                "remove the doubles"
            )
        digests = torch.tensor([list(bytes.fromhex(source)) for source in sources])
        return cls(mean, basis, codes, digests.to(torch.uint8), typical, features_sha256)

    def save(self, path: Path) -> str:
        """Write them durably as safetensors; returns the file's SHA-256."""
        tensors = {
            "mean": self.mean,
            "basis": self.basis,
            "codes": self.codes,
            "source_digests": self.source_digests,
            "typical": torch.tensor(self.typical, dtype=torch.float64),
            "features_sha256": torch.tensor(list(bytes.fromhex(self.features_sha256))).byte(),
        }
        return save_weights(path, tensors)

    @classmethod
    def load(cls, path: Path, features_sha256: str = ENCODER_SHA256) -> "Neighbours":
        """Read what `save` wrote.

        Raises `AtelierError` where the file is missing, damaged or of another encoder.
        """
        try:
            tensors = load(path.read_bytes())
            found = cls(
                **{name: tensors[name] for name in ("mean", "basis", "codes", "source_digests")},
                typical=float(tensors["typical"]),
                features_sha256=bytes(tensors["features_sha256"].numpy().tolist()).hex(),
            )
            found._check()
        except OSError as error:
            raise unreadable(error)(
                f"{path}: cannot read the training pictures' features ({error.strerror}); "
                "copy the model again"
            ) from error
        except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise DamagedError(
                f"{path}: does not hold the training pictures' features; copy the model again"
            ) from error
        if found.features_sha256 != features_sha256:
            raise RefusedError(
                f"{path}: made with another encoder than this one's; train the model again to "
                "compare its pictures with what it learnt from"
            )
        return found

    def _check(self) -> None:
        (width, dimensions), count = self.basis.shape, len(self.codes)
        fits = (
            self.mean.shape == (width,)
            and self.codes.shape == (count, dimensions)
            and self.source_digests.shape == (count, 32)
            and count > 0
            and 0 < self.typical < math.inf
        )
        if not fits:
            raise ValueError("parts that do not fit together")

    def nearest(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures' features (n, F) => distance to the nearest training picture, and its place.

        Float64 (n,) and int64 (n,); `source` tells whose place it is.
        """
        codes = (features.float() - self.mean) @ self.basis
        distance, place = nearest(codes, self.codes, 1)
        return distance[:, 0], place[:, 0]

    def originality(self, distance: Tensor) -> Tensor:
        """Distances that `nearest` found, as multiples of the training pictures' typical one.

        1.0: as far from the nearest training picture as those are from each other; about 0: a copy.
        """
        return distance / self.typical

    def source(self, place: int) -> str:
        """SHA-256 of the file behind the training picture at a place."""
        return bytes(self.source_digests[place].numpy().tolist()).hex()
