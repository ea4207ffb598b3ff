"""Choice of device and arithmetic, made once for training, generation and enhancement."""

import ctypes
import platform

import torch

from interfaces.errors import RefusedError, UnavailableError


def pick_device(name: str) -> torch.device:
    """'auto', 'cpu', 'cuda' or 'mps' => a device; auto takes the fastest that is there.

    Raises `RefusedError` for another name, `UnavailableError` where the machine has none.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, is_there in available.items() if is_there)
    if name not in available:
        raise RefusedError(f"device {name}: unknown; there are auto, {', '.join(available)}")
    if not available[name]:
        raise UnavailableError(f"device {name}: not available on this machine; choose auto or cpu")
    return torch.device(name)


def pick_dtype(precision: str, device: torch.device) -> torch.dtype:
    """'auto', 'float32' or 'bfloat16' => the networks' arithmetic on a device.

    Auto is bfloat16 where the hardware multiplies matrices in it: CUDA from Ampere on, CPUs with
    AMX. Of vector units alone (avx512_bf16) nobody can tell: on some they double a convolution's
    speed, on others they gain nothing, so a training measures (components/training/arithmetic.py).
    """
    if precision == "auto":
        return torch.bfloat16 if _has_matrix_units(device) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def has_bfloat16_vectors(device: torch.device) -> bool:
    """Whether the CPU has bfloat16 instructions at all, so that measuring them is worth it."""
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _has_matrix_units(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(torch.cpu.get_capabilities().get("amx_bf16", False))
    return False


# glibc's numbers for mallopt (malloc.h), and what we set: never give pages back to the system.
_MALLOPT = {"M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**27), "M_MMAP_MAX": (-4, 0)}


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where the C library allows it.

    A training step frees and takes the same large blocks again and again; glibc maps each anew, and
    the kernel clears each page. Keeping them made steps a seventh faster (benchmarks/RESULTS.md).
    """
    if platform.libc_ver()[0] == "glibc":
        for number, value in _MALLOPT.values():
            ctypes.CDLL(None).mallopt(number, value)
