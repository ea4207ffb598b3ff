"""Which device and which arithmetic: chosen once, for training, generation and enhancement."""

import torch

from interfaces.errors import AtelierError


def pick_device(name: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'mps' => a device; auto takes the fastest that is there.

    Raises `AtelierError` where the named one is not.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, is_there in available.items() if is_there)
    if not available[name]:
        raise AtelierError(f"device {name}: not available on this machine; choose auto or cpu")
    return torch.device(name)


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """'auto', 'float32' or 'bfloat16' => the networks' arithmetic on a device.

    Auto is bfloat16 where the hardware multiplies matrices in it: CUDA from Ampere on, CPUs with
    AMX. Vector units alone (avx512_bf16) gained nothing in training; see benchmarks/.
    """
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16_units(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _has_bfloat16_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return False
