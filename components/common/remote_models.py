"""Models behind a URL: a whole, checked copy in the person's cache."""

from pathlib import Path

from components.common.durable import assembling, exclusive, publish, sha256_of, sweep
from interfaces.cache import cache_root
from interfaces.errors import DamagedError, NotFoundError
from interfaces.igme import IGME, MODEL_FILE
from interfaces.places import Url, copy_to


def fetch_model(url: Url) -> Path:
    """The folder with a copy of the model at a URL, fetched where it is not there yet.

    Copies lie under `models/` in the person's cache, each named by the digests of its files, and
    stay until somebody removes them. Raises `NotFoundError` where there is no model, `DamagedError`
    where a file has another digest than the model says, and as `interfaces.places.read_range` does.
    """
    models = cache_root() / "models"
    sweep(models, is_ours=True)
    with assembling(models) as made:
        folder = made / "model"
        folder.mkdir()
        try:
            _copy(url, MODEL_FILE, folder)
        except NotFoundError as error:
            raise NotFoundError(f"{url}: no model here ({MODEL_FILE} is missing)") from error
        model = IGME.open(folder)
        target = models / f"{model.digest[:16]}-{sha256_of(folder / MODEL_FILE)[:8]}"
        with exclusive(models / f".{target.name}.lock"):
            if not target.exists():
                _copy_weights(url, model)
                publish(folder, target)
    return target


def _copy_weights(url: Url, model: IGME) -> None:
    """Copy the files that a model names, each held to its digest."""
    wanted = {"weights": model.weights_sha256} | model.companions
    if model.neighbours_sha256 is not None:
        wanted["neighbours"] = model.neighbours_sha256
    for name, digest in wanted.items():
        path = _copy(url, f"{name}.safetensors", model.directory)
        if sha256_of(path) != digest:
            raise DamagedError(
                f"{url}: {path.name} is not the file that {MODEL_FILE} names (another SHA-256); "
                "upload the model again"
            )


def _copy(url: Url, name: str, folder: Path) -> Path:
    copy_to(Url(f"{url.rstrip('/')}/{name}"), folder / name)
    return folder / name
