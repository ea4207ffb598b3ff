"""In which order the training images come: a function of the seed and the position alone.

No state to save: whoever knows how many images were seen knows which come next.
"""

import numpy as np


class ImageOrder:
    """An endless sequence of image indices, shuffled anew in every pass.

    With `is_balanced` a pass draws every style equally often (to within one), each style's own
    images in turn, so that a style with few images is repeated more.
    """

    def __init__(self, labels: np.ndarray, seed: int, is_balanced: bool) -> None:
        self.labels = labels
        self.seed = seed
        self.is_balanced = is_balanced
        self._pass = (-1, np.empty(0, np.int64))

    def take(self, position: int, count: int) -> np.ndarray:
        """Indices of the images number `position` to `position + count` of the sequence."""
        size = len(self.labels)
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
            shuffled = rng.permutation(len(self.labels))
            self._pass = (number, self._balanced(rng) if self.is_balanced else shuffled)
        return self._pass[1]

    def _balanced(self, rng: np.random.Generator) -> np.ndarray:
        styles = np.unique(self.labels)
        size = len(self.labels)
        # Which styles get the remainder changes from pass to pass, so that none is favoured.
        rng.shuffle(styles)
        share = [size // len(styles) + (place < size % len(styles)) for place in range(len(styles))]
        drawn = [
            _repeated(rng, np.flatnonzero(self.labels == style), count)
            for style, count in zip(styles, share, strict=True)
        ]
        return rng.permutation(np.concatenate(drawn))


def _repeated(rng: np.random.Generator, images: np.ndarray, count: int) -> np.ndarray:
    """`count` of these images: each as often as any other, to within one."""
    rounds = -(-count // len(images))
    return np.concatenate([rng.permutation(images) for _ in range(rounds)])[:count]
