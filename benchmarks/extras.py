"""Cost of each extra: megabytes, packages, and seconds of import, in fresh environments.

`python -m benchmarks.extras` measures all of them, `python -m benchmarks.extras ray ui` these. The
first environment holds Atelier alone; each extra gets one of its own on top of it, where pip finds
what is there already and installs what is not. A gigabyte and a half is needed on the disk.
"""

import resource
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]

IMPORTS = {
    "train": ("matplotlib.pyplot",),
    "parquet": ("pyarrow.parquet",),
    "remote": ("fsspec", "s3fs"),
    "postgres": ("psycopg",),
    "tensorboard": ("torch.utils.tensorboard",),
    "mlflow": ("mlflow",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
    "search": ("optuna",),
    "openvino": ("openvino",),
    "ray": ("ray",),
    "stable-diffusion": ("diffusers", "transformers"),
    "ui": ("fastapi", "uvicorn"),
    "watermark": (),  # nearly all of its import is torchvision's, for which Atelier has a remedy
    "contracts": ("pytest", "hypothesis"),
}
"""Modules that users of an extra import first."""


def main(*names: str) -> None:
    """Print a line for Atelier alone, and one for what each extra adds."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = declared["optional-dependencies"]
    assert set(IMPORTS) == set(extras) - {"dev"}, "an extra is not measured here"
    with tempfile.TemporaryDirectory() as folder:
        alone = environment(Path(folder, "alone"))
        install(alone, str(ROOT))
        report("atelier", alone, ("torch", "numpy", "pydantic"))
        for name in names or IMPORTS:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                more = environment(Path(place, "venv"), over=alone)
                install(more, *extras[name])
                report(name, more, IMPORTS[name])


def environment(folder: Path, over: Path | None = None) -> Path:
    """A fresh environment, perhaps on top of another => its folder of packages."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("lib/*/site-packages")
    if over is not None:
        (packages / "over.pth").write_text(f"{over}\n", encoding="utf-8")
    return packages


def install(packages: Path, *wanted: str) -> None:
    """Install what is wanted with this environment's pip, in the versions of constraints.txt."""
    pip = [sys.executable, "-m", "pip", "--python", str(_python(packages)), "install"]
    options = ["--quiet", "--no-cache-dir", "--no-compile"]
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, *options, *constraints, *wanted], check=True)


def report(name: str, packages: Path, modules: tuple[str, ...]) -> None:
    """Print the environment's size, and what importing costs."""
    size, count = _size(packages), len(list(packages.glob("*.dist-info")))
    seconds = ", ".join(f"{module} {import_seconds(packages, module):.1f} s" for module in modules)
    print(f"{name:<18} {size:6.0f} MB {count:4} packages; {seconds}", flush=True)


def _size(packages: Path) -> float:
    """Megabytes of the files that pip unpacked."""
    files = (path for path in packages.rglob("*") if path.is_file())
    return sum(path.stat().st_size for path in files if path.suffix != ".pyc") / 1e6


def import_seconds(packages: Path, module: str) -> float:
    """Seconds of CPU, the least of three processes, less what starting Python takes.

    One that went before writes the byte code.
    """
    _cpu_seconds(packages, f"import {module}")
    imported = min(_cpu_seconds(packages, f"import {module}") for _ in range(3))
    return imported - min(_cpu_seconds(packages, "pass") for _ in range(3))


def _cpu_seconds(packages: Path, code: str) -> float:
    before = _spent()
    subprocess.run([_python(packages), "-c", code], check=True, cwd=packages, capture_output=True)
    return _spent() - before


def _spent() -> float:
    """Seconds of CPU of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _python(packages: Path) -> Path:
    return packages.parents[2] / "bin" / "python"


if __name__ == "__main__":
    main(*sys.argv[1:])
