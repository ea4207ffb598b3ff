"""Real-ESRGAN's two networks as spandrel has them, for where basicsr or realesrgan is missing.

They are made and loaded like basicsr's and realesrgan's, and give the same pictures to the bit.
"""

import importlib
from collections.abc import Callable
from typing import Any

from components.common.vision import import_torchvision

_GROWTH = 32
"""Channels that each convolution of a dense block adds: spandrel leaves no choice."""


def spandrel_classes() -> tuple[Any, Any]:
    """(RRDBNet, SRVGGNetCompact)."""
    import_torchvision()
    architectures = "spandrel.architectures"
    theirs: Any = importlib.import_module(f"{architectures}.ESRGAN.__arch.RRDB").RRDBNet
    compact: Any = importlib.import_module(f"{architectures}.Compact.__arch.SRVGG").SRVGGNetCompact

    class RRDBNet(theirs):
        """spandrel's, with the parameters of basicsr's and its names for the weights."""

        def __init__(
            self,
            num_in_ch: int,
            num_out_ch: int,
            scale: int = 4,
            num_feat: int = 64,
            num_block: int = 23,
            num_grow_ch: int = _GROWTH,
        ) -> None:
            if num_grow_ch != _GROWTH:
                raise ValueError(f"grows by {num_grow_ch} channels; spandrel's by {_GROWTH}")
            super().__init__(  # spandrel has no types  # pyright: ignore[reportUnknownMemberType]
                in_nc=num_in_ch,
                out_nc=num_out_ch,
                scale=scale,
                num_filters=num_feat,
                num_blocks=num_block,
            )
            names = _names(num_block)
            back = {new: old for old, new in names.items()}
            self.register_load_state_dict_pre_hook(_renaming(names))
            self.register_state_dict_post_hook(_renaming(back))

    return RRDBNet, compact


def _names(num_block: int) -> dict[str, str]:
    """Names of RRDBNet's weights in Real-ESRGAN's files => names in spandrel's module."""
    ours = ("conv_first", "conv_body", "conv_up1", "conv_up2", "conv_hr", "conv_last")
    theirs = ("0", f"1.sub.{num_block}", "3", "6", "8", "10")
    layers = dict(zip(ours, theirs, strict=True)) | {
        f"body.{block}.rdb{dense}.conv{conv}": f"1.sub.{block}.RDB{dense}.conv{conv}.0"
        for block in range(num_block)
        for dense in (1, 2, 3)
        for conv in (1, 2, 3, 4, 5)
    }
    return {
        f"{old}.{kind}": f"model.{new}.{kind}"
        for old, new in layers.items()
        for kind in ("weight", "bias")
    }


def _renaming(names: dict[str, str]) -> Callable[..., None]:
    """A hook of torch's that renames weights in a state dict."""

    def rename(module: object, state: dict[str, object], prefix: str, *rest: object) -> None:
        for old, new in names.items():
            if prefix + old in state:
                state[prefix + new] = state.pop(prefix + old)

    return rename
