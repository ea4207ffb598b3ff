"""Colours of transparent pixels, which must not bleed into visible ones."""

import numpy as np


def bled(images: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Pictures whose fully transparent pixels have the colour of the nearest one that shows.

    `images` are (N, 3, H, W), `alpha` (N, 1, H, W) in [0, 1]. What lies under an opacity of 0 is
    usually black, and enlarging mixes it into the edges of what shows, as a dark ring. A picture in
    which nothing shows at all stays as it is.
    """
    if not np.any(alpha == 0):
        return images
    from scipy import ndimage  # most pictures hide nothing, and its import takes a while  # pyright: ignore[reportMissingTypeStubs]

    filled = images.copy()
    for image, opacity in zip(filled, alpha[:, 0], strict=True):
        is_hidden = opacity == 0
        if is_hidden.any() and not is_hidden.all():
            # The indices of the nearest pixel that shows, for every pixel.
            nearest = ndimage.distance_transform_edt(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                is_hidden, return_distances=False, return_indices=True
            )
            rows, columns = np.asarray(nearest)[:, is_hidden]
            image[:, is_hidden] = image[:, rows, columns]
    return filled
