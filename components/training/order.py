"""Order of the training images: a function of the seed and the position alone.

There is no state to save: the number of images seen tells which come next.
"""

import numpy as np

from interfaces.igme import TrainingSettings


class ImageOrder:
    """An endless sequence of image indices, shuffled anew in every pass.

    `groups` (N,) names the group of each image: its style, or a cluster of similar ones. With
    `is_balanced` a pass draws every group equally often (to within one), each group's own images
    at random, so that a group with few images is repeated more.
    """

    def __init__(self, groups: np.ndarray, seed: int, is_balanced: bool) -> None:
        self.groups = groups
        self.seed = seed
        self.is_balanced = is_balanced
        self._pass = (-1, np.empty(0, np.int64))

    def take(self, position: int, count: int) -> np.ndarray:
        """Indices of the images number `position` to `position + count` of the sequence."""
        size = len(self.groups)
        places = np.arange(position, position + count)
        parts = [
            self._indices(int(number))[places[places // size == number] % size]
            for number in np.unique(places // size)
        ]
        return np.concatenate(parts)

    def _indices(self, number: int) -> np.ndarray:
        """The whole of pass `number`: (N,) indices. The last one is kept."""
        if self._pass[0] != number:
            rng = np.random.default_rng((self.seed, number))
            shuffled = rng.permutation(len(self.groups))
            self._pass = (number, self._balanced(rng) if self.is_balanced else shuffled)
        return self._pass[1]

    def _balanced(self, rng: np.random.Generator) -> np.ndarray:
        names = np.unique(self.groups)
        size = len(self.groups)
        # Which groups get the remainder changes from pass to pass, so that none is favoured.
        rng.shuffle(names)
        share = [size // len(names) + (place < size % len(names)) for place in range(len(names))]
        drawn = [
            _repeated(rng, np.flatnonzero(self.groups == name), count)
            for name, count in zip(names, share, strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def _repeated(rng: np.random.Generator, images: np.ndarray, count: int) -> np.ndarray:
    """`count` of these images: each as often as any other, to within one."""
    rounds = -(-count // len(images))
    return np.concatenate([rng.permutation(images) for _ in range(rounds)])[:count]


def image_order(groups: np.ndarray, settings: TrainingSettings) -> ImageOrder:
    """The order of a training whose images belong to `groups` (N,)."""
    is_balanced = settings.style_balanced or settings.cluster_balanced
    return ImageOrder(groups, settings.seed, is_balanced)
