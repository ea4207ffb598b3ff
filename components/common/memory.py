"""Free memory of a device, and errors that mean it ran out."""

import os
from pathlib import Path

import torch

_UNKNOWN = 4 * 2**30  # bytes taken for free where the system does not say


def free_memory(device: torch.device) -> int:
    """Bytes that can still be taken on a device, about."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min(_free_in_system(), _free_in_container())


def _free_in_system() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = dict(line.split(":") for line in lines)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    try:  # macOS counts pages, and not those that it could give back
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def _free_in_container() -> int:
    """Bytes that the control group still allows; past them the process is killed without a word."""
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        return limit - int((group / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no group, or 'max'
        return 2**63
