"""Readings of memory and energy, and a description of the machine.

A figure that this machine does not tell is None: it is said to be missing, never guessed.
"""

import ctypes
import os
import platform
import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from components.common.parallel import available_cpus
from interfaces.contract import Message

MB = 2**20
"""Bytes in what the tables call MB, as the paper's tools count it."""

_STATUS = Path("/proc/self/status")
_POWER = Path("/sys/class/powercap")
_OPTIONAL = ("diffusers", "transformers", "openvino")
_CGROUP = Path("/sys/fs/cgroup")


class Machine(Message):
    """Machine that figures were measured on, with the versions of its packages."""

    processor: str = Field(description="Model of the processor.")
    cores: int = Field(ge=1, description="Processors that the process may use.")
    memory_mb: int | None = Field(description="Memory of the machine, MB; None: unknown.")
    gpu: str | None = Field(description="Model of the GPU that was used; None: none was.")
    system: str = Field(description="Operating system.")
    versions: dict[str, str] = Field(description="Python, and the packages that pictures hang on.")


def describe_machine(device: str) -> Machine:
    """Describe this machine, as far as it serves a device ('cpu' or 'cuda'). Imports torch."""
    import torch

    return Machine(
        processor=processor_name(),
        cores=available_cpus(),
        memory_mb=_memory_mb(),
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        system=platform.platform(),
        versions={
            "python": platform.python_version(),
            **{package: _version(package) for package in ("torch", "numpy", "atelier")},
            **{package: _version(package) for package in _OPTIONAL if find_spec(package)},
        },
    )


def processor_name() -> str:
    """The processor's model; Linux tells it in a file alone."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, flags=re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"  # a source folder on the path will do


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MB
    except (AttributeError, ValueError, OSError):
        return None


# ---------------------------------------------------------------- memory


def resident_bytes() -> int | None:
    """Memory that this process holds now; the peak so far where the system reports only that."""
    return _status("VmRSS") or peak_resident_bytes()


def peak_resident_bytes() -> int | None:
    """The most memory that this process held at once.

    Linux's own file is asked, since getrusage there counts the memory of whoever started the
    process as well.
    """
    if found := _status("VmHWM"):
        return found
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(field: str) -> int | None:
    try:
        text = _STATUS.read_text(encoding="ascii")
    except OSError:
        return None
    found = re.search(rf"^{field}:\s*(\d+) kB$", text, flags=re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def available_bytes() -> int | None:
    """Memory that a process can still take within a container's own limit; None: unknown."""
    rooms: list[int] = []
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        if found := re.search(r"^MemAvailable:\s*(\d+) kB$", text, flags=re.MULTILINE):
            rooms.append(int(found[1]) * 1024)
        limit, used = (
            (_CGROUP / name).read_text(encoding="ascii").strip()
            for name in ("memory.max", "memory.current")
        )
        if limit.isdecimal():
            rooms.append(max(0, int(limit) - int(used)))
    except OSError:
        pass
    return min(rooms, default=None)


# ---------------------------------------------------------------- the driver of an NVIDIA GPU


class _Memory(ctypes.Structure):
    """NVML's nvmlMemory_t."""

    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class NVML:
    """Readings of one GPU from NVIDIA's driver (NVML API reference, section Device Queries)."""

    def __init__(self, library: Any, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle

    @classmethod
    def open(cls, uuid: str) -> Self | None:
        """The GPU of a UUID; None where there is no driver that knows it."""
        try:
            library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
            handle = ctypes.c_void_p()
            failed = library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(
                f"GPU-{uuid}".encode(), ctypes.byref(handle)
            )
        except (OSError, AttributeError):
            return None
        return None if failed else cls(library, handle)

    def used_bytes(self) -> int | None:
        """Memory in use on the whole GPU, by any process."""
        memory = _Memory()
        failed = self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory))
        return None if failed else memory.used

    def joules(self) -> float | None:
        """Energy since the driver was loaded, of the whole GPU; from Volta on."""
        millijoules = ctypes.c_ulonglong()
        failed = self._library.nvmlDeviceGetTotalEnergyConsumption(
            self._handle, ctypes.byref(millijoules)
        )
        return None if failed else millijoules.value / 1000


# ---------------------------------------------------------------- energy


class RAPL:
    """Energy of the processors as Linux tells it (kernel documentation, power capping framework).

    The counters are those of whole packages: whatever else runs there is counted too.
    """

    def __init__(self, root: Path = _POWER) -> None:
        self.reason = ""
        self._packages: list[tuple[Path, int]] = []
        try:
            for zone in sorted(root.glob("intel-rapl:*")):
                if (zone / "name").read_text(encoding="ascii").startswith("package"):
                    int((zone / "energy_uj").read_text(encoding="ascii"))
                    wraps_at = int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
                    self._packages.append((zone / "energy_uj", wraps_at))
        except PermissionError:
            self._packages, self.reason = [], "the processor's counters may be read by root alone"
        except (OSError, ValueError):
            self._packages, self.reason = [], "the processor's counters cannot be read"
        if not self._packages and not self.reason:
            self.reason = "this machine has no counters of the processor's energy"

    @property
    def num_packages(self) -> int:
        """Processors whose counters can be read."""
        return len(self._packages)

    def read(self) -> list[int]:
        """The counters, microjoules; they begin again at 0 when they are full."""
        return [int(path.read_text(encoding="ascii")) for path, _ in self._packages]

    def joules_between(self, before: Sequence[int], after: Sequence[int]) -> float:
        """Energy between two readings less than one round of a counter apart."""
        ranges = [wraps_at for _, wraps_at in self._packages]
        rounds = zip(before, after, ranges, strict=True)
        return sum((late - early) % wraps_at for early, late, wraps_at in rounds) / 1e6


class EnergyMeter:
    """Adds up the energy of what is done between `start` and `stop`, again and again."""

    def __init__(self, rapl: RAPL, gpu: NVML | None) -> None:
        self._rapl = rapl
        self._gpu = gpu if gpu is not None and gpu.joules() is not None else None
        self.joules: float | None = 0.0 if rapl.num_packages or self._gpu else None
        self._before: tuple[list[int], float] = ([], 0.0)

    @property
    def source(self) -> str:
        """Source of the reading, or why there is none."""
        tellers = ["the processor (RAPL)"] * bool(self._rapl.num_packages)
        tellers += ["the GPU (NVML)"] * (self._gpu is not None)
        return " and ".join(tellers) or self._rapl.reason

    def start(self) -> None:
        """Read the counters."""
        self._before = self._read()

    def stop(self) -> None:
        """Add what was used since `start`."""
        if self.joules is not None:
            (packages, gpu), (packages_after, gpu_after) = self._before, self._read()
            self.joules += self._rapl.joules_between(packages, packages_after) + gpu_after - gpu

    def _read(self) -> tuple[list[int], float]:
        return self._rapl.read(), (self._gpu.joules() or 0.0) if self._gpu else 0.0
