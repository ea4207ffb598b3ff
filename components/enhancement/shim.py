"""The one place that imports Real-ESRGAN's networks: of `realesrgan` and `basicsr`, or of spandrel.

Both packages are installed by a command of their own (see README.md), and basicsr 1.4.2 cannot be
built on Python 3.13 and later. spandrel, a dependency, has the same networks, whose pictures are
the same to the bit (tests/components/enhancement/test_of_spandrel.py), and takes their place.

basicsr imports `rgb_to_grayscale` from `torchvision.transforms.functional_tensor`, a module that
torchvision removed in 0.17. Before its first import, a module of that name with that one function
takes its place. (torchvision itself may need help too: see components/common/vision.py.)
"""

import functools
import importlib
import sys
import types
import warnings
from typing import Any

from components.common.vision import import_torchvision
from components.enhancement.of_spandrel import spandrel_classes

_FUNCTIONAL_TENSOR = "torchvision.transforms.functional_tensor"


@functools.cache
def network_classes() -> tuple[Any, Any]:
    """(RRDBNet, SRVGGNetCompact), imported on first use."""
    import_torchvision()
    try:
        return _of_basicsr()
    except ImportError:
        return spandrel_classes()


def _of_basicsr() -> tuple[Any, Any]:
    with warnings.catch_warnings():
        # basicsr imports from SciPy by names that SciPy will drop; nobody here can mend that, and
        # where warnings count as errors it would be the end.
        warnings.simplefilter("ignore", DeprecationWarning)
        _restore_functional_tensor()
        rrdbnet = importlib.import_module("basicsr.archs.rrdbnet_arch").RRDBNet
        compact = importlib.import_module("realesrgan.archs.srvgg_arch").SRVGGNetCompact
    return rrdbnet, compact


def _restore_functional_tensor() -> None:
    try:
        importlib.import_module(_FUNCTIONAL_TENSOR)
    except ModuleNotFoundError:
        functional = importlib.import_module("torchvision.transforms.functional")
        stand_in: Any = types.ModuleType(_FUNCTIONAL_TENSOR)
        stand_in.rgb_to_grayscale = functional.rgb_to_grayscale
        sys.modules[_FUNCTIONAL_TENSOR] = stand_in
