"""The one place that imports `realesrgan` and `basicsr`, which today's torchvision breaks.

basicsr imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, a module that
torchvision removed in 0.17. Before its first import, a module of that name with that one function
takes its place. (torchvision itself may need help too: see components/common/vision.py.)
"""

import functools
import importlib
import sys
import types
from typing import Any

from components.common.vision import import_torchvision
from interfaces.errors import AtelierError

INSTALL = "pip install --no-deps --no-build-isolation basicsr==1.4.2 realesrgan==0.3.0"

_FUNCTIONAL_TENSOR = "torchvision.transforms.functional_tensor"


class MissingPackagesError(AtelierError):
    """`realesrgan` or `basicsr` is not installed, or does not import."""


@functools.cache
def network_classes() -> tuple[Any, Any]:
    """(`basicsr`'s RRDBNet, `realesrgan`'s SRVGGNetCompact), imported on first use.

    Raises `MissingPackagesError` with the line that installs them where they cannot be imported.
    """
    try:
        import_torchvision()
        _restore_functional_tensor()
        rrdbnet = importlib.import_module("basicsr.archs.rrdbnet_arch").RRDBNet
        compact = importlib.import_module("realesrgan.archs.srvgg_arch").SRVGGNetCompact
    except ImportError as error:
        raise MissingPackagesError(
            f"the Real-ESRGAN networks cannot be imported ({error}); install them: {INSTALL}"
        ) from error
    return rrdbnet, compact


def _restore_functional_tensor() -> None:
    try:
        importlib.import_module(_FUNCTIONAL_TENSOR)
    except ModuleNotFoundError:
        functional = importlib.import_module("torchvision.transforms.functional")
        stand_in: Any = types.ModuleType(_FUNCTIONAL_TENSOR)
        stand_in.rgb_to_grayscale = functional.rgb_to_grayscale
        sys.modules[_FUNCTIONAL_TENSOR] = stand_in
