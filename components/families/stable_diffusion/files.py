# pyright: standard
"""A pipeline's files: found in a folder or on the hub, checked, digested. No torch.

Layout: a folder with `model_index.json` (class and components) and a folder a component, as
diffusers writes it. What is loaded is listed and digested here, and pickles are refused before they
are downloaded.
"""

import errno
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from components.common.download import weights_cache
from components.common.durable import write_text
from components.families.stable_diffusion.config import StableDiffusionConfig
from interfaces.places import expanded

INDEX = "model_index.json"

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHARD = r"(?:-\d{5}-of-\d{5})?"
# Where a pipeline's components may come from; anything else would be code of the publisher's own.
_LIBRARIES = {"diffusers", "transformers", "stable_diffusion", "unclip"}
_PLAIN = {".json", ".txt", ".model"}


class PipelineError(ValueError):
    """A pipeline, or what is asked of it, cannot be used; the message is one line for a person."""


@dataclass(frozen=True)
class PipelineFiles:
    """A pipeline's folder on this machine and what of it is loaded."""

    folder: Path
    names: tuple[str, ...]
    """Paths below the folder, sorted, with forward slashes."""
    index: dict[str, Any]
    """Contents of `model_index.json`."""
    revision: str | None = None
    """Commit on the hub; None for a person's own folder."""

    def digest(self) -> str:
        """SHA-256 over each file's name and SHA-256."""
        whole = hashlib.sha256()
        for name in self.names:
            with (self.folder / name).open("rb") as file:
                part = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{part}  {name}\n".encode())
        return whole.hexdigest()

    def settings(self, component: str) -> dict[str, Any]:
        """A component's `config.json`; empty where there is none."""
        path = self.folder / component / "config.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def find_pipeline(
    pipeline: str,
    revision: str | None = None,
    variant: str | None = None,
    allow_pickles: bool = False,
) -> PipelineFiles:
    """A pipeline's checked files, downloaded where it is a hub id and they are not here yet.

    Downloads go to the Hugging Face cache, so that what a person has there is used. Raises
    `PipelineError` where there is no such pipeline, it needs code of its own or pickles, or the
    hub cannot be reached.
    """
    folder = expanded(Path(pipeline))
    if folder.is_dir():
        return _in_folder(folder.resolve(), pipeline, variant, allow_pickles)
    if not _HUB_ID.fullmatch(pipeline) or pipeline.startswith("."):
        raise PipelineError(
            f"{pipeline}: no such folder; name one with {INDEX} in it, or a hub id: 'owner/name'"
        )
    return _from_hub(pipeline, revision, variant, allow_pickles)


def keep_place(files_sha256: str, folder: Path) -> None:
    """Remember on this machine where the pipeline with this content lies."""
    write_text(_place(files_sha256), json.dumps({"folder": str(folder)}) + "\n")


def place_of(config: StableDiffusionConfig) -> str:
    """Source of an adopted pipeline: its hub id, or its folder on this machine.

    Models of version 0.2 hold the folder themselves. Raises `PipelineError` where it is not known.
    """
    if config.revision is not None or Path(config.pipeline).is_absolute():
        return config.pipeline
    try:
        return str(json.loads(_place(config.files_sha256).read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PipelineError(
            f"{config.pipeline}: this machine does not know where its folder is; adopt it here"
        ) from error


def _place(files_sha256: str) -> Path:
    return weights_cache().parent / "pipelines" / f"{files_sha256}.json"


def wanted_files(
    pipeline: str,
    index: dict[str, Any],
    names: Collection[str],
    variant: str | None,
    allow_pickles: bool,
) -> tuple[str, ...]:
    """The files of a pipeline (paths below its folder) that are loaded, sorted.

    Raises `PipelineError` for components that are not diffusers' or transformers' own, networks
    without weights, and networks whose weights are pickles unless those are allowed.
    """
    wanted = {INDEX}
    for component in _components(pipeline, index):
        own = sorted(name for name in names if name.startswith(f"{component}/"))
        wanted.update(name for name in own if Path(name).suffix in _PLAIN)
        if f"{component}/config.json" in own:  # a network; schedulers and tokenizers have others
            wanted.update(_weights(pipeline, component, own, variant, allow_pickles))
    return tuple(sorted(wanted))


def _components(pipeline: str, index: dict[str, Any]) -> Iterator[str]:
    foreign = (
        f"{pipeline}: needs code that is neither diffusers' nor transformers' own, which is never "
        "run here; use another pipeline"
    )
    if not isinstance(index.get("_class_name"), str):
        raise PipelineError(foreign)
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list):
            continue
        library = next(iter(cast(list[Any], value)), None)
        if library is None:
            continue
        if library not in _LIBRARIES or not name.isidentifier():
            raise PipelineError(foreign)
        yield name


def _weights(
    pipeline: str, component: str, own: Iterable[str], variant: str | None, allow_pickles: bool
) -> list[str]:
    """A network's weights: safetensors before pickles, the variant's before those without one."""
    marks = (rf"\.{re.escape(variant)}", "") if variant else ("",)
    for kind in (
        r"(?:diffusion_pytorch_)?model{}\.safetensors",
        r"(?:diffusion_)?pytorch_model{}\.bin",
    ):
        for mark in marks:
            form = re.compile(f"{component}/" + kind.format(f"(?:{mark}{_SHARD}|{_SHARD}{mark})"))
            found = [name for name in own if form.fullmatch(name)]
            if found and found[0].endswith(".bin") and not allow_pickles:
                raise PipelineError(
                    f"{pipeline}: {found[0]} is a pickle, which may hide code; look for the same "
                    "weights as safetensors, or allow pickles if you trust its publisher"
                )
            if found:
                return found
    others = [name for name in own if name.endswith(".safetensors")]
    hint = f"there is {others[0]}: name its variant" if others else "copy or download it again"
    raise PipelineError(f"{pipeline}: no weights for {component}; {hint}")


def _in_folder(
    folder: Path,
    pipeline: str,
    variant: str | None,
    allow_pickles: bool,
    revision: str | None = None,
) -> PipelineFiles:
    index = _read_index(folder / INDEX, pipeline)
    names = [path.relative_to(folder).as_posix() for path in folder.glob("*/*") if path.is_file()]
    wanted = wanted_files(pipeline, index, names, variant, allow_pickles)
    return PipelineFiles(folder, wanted, index, revision)


def _read_index(path: Path, pipeline: str) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise PipelineError(
            f"{pipeline}: not a pipeline, {INDEX} is missing; name a folder as diffusers saves it"
        ) from error
    except (OSError, ValueError) as error:
        raise PipelineError(f"{pipeline}: {INDEX} cannot be read ({first_line(error)})") from error
    return index if isinstance(index, dict) else {}


def _from_hub(
    pipeline: str, revision: str | None, variant: str | None, allow_pickles: bool
) -> PipelineFiles:
    with needs_extra():
        from huggingface_hub import HfApi, hf_hub_download, snapshot_download

    if revision and _COMMIT.fullmatch(revision):
        cached = _in_cache(pipeline, revision, variant, allow_pickles)
        if cached is not None:
            return cached
    try:
        with _hub_errors(pipeline, revision):
            # By the branch's name, so that the cache knows which commit that was when offline.
            path = Path(hf_hub_download(pipeline, INDEX, revision=revision))
            commit = path.parent.name
            info = HfApi().model_info(pipeline, revision=commit, timeout=10)
            names = [file.rfilename for file in info.siblings or ()]
            index = _read_index(path, pipeline)
            wanted = wanted_files(pipeline, index, names, variant, allow_pickles)
            snapshot_download(pipeline, revision=commit, allow_patterns=list(wanted))
    except _OutOfReachError:
        cached = _in_cache(pipeline, revision, variant, allow_pickles)
        if cached is None:
            raise
        return cached
    return PipelineFiles(path.parent, wanted, index, commit)


def _in_cache(
    pipeline: str, revision: str | None, variant: str | None, allow_pickles: bool
) -> PipelineFiles | None:
    """The pipeline as an earlier download left it; None where it is not all there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(pipeline, INDEX, revision=revision)
    if not isinstance(path, str):
        return None
    folder = Path(path).parent
    try:
        files = _in_folder(folder, pipeline, variant, allow_pickles, revision=folder.name)
    except PipelineError:
        return None
    whole = all(any((folder / name).glob("*.json")) for name in _components(pipeline, files.index))
    return files if whole else None


_HERE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors of this machine's disk; a connection's are others."""


class _OutOfReachError(PipelineError):
    """The hub does not answer; the files that are here must suffice."""


@contextmanager
def _hub_errors(pipeline: str, revision: str | None) -> Iterator[None]:
    """Turn each exception of the hub's client into one line."""
    from huggingface_hub import errors

    try:
        yield
    except PipelineError:
        raise
    except errors.GatedRepoError as error:
        raise PipelineError(
            f"{pipeline}: its publisher asks for consent first; give it on the hub's page, log in "
            "with `hf auth login`, and run again"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise PipelineError(f"{pipeline}: has no revision {revision!r}; leave it out") from error
    except errors.RepositoryNotFoundError as error:
        raise PipelineError(
            f"{pipeline}: no such folder here and no such model on the hub (or a private one); "
            "check the name"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise PipelineError(
            f"{pipeline}: on the hub, but not a pipeline of diffusers ({INDEX} is missing)"
        ) from error
    except Exception as error:  # the client raises those of its transport too
        if isinstance(error, OSError) and error.errno in _HERE:
            raise PipelineError(
                f"{pipeline}: cannot be kept on this machine ({error.strerror})"
            ) from error
        raise _OutOfReachError(
            f"{pipeline}: not on this machine, and the hub cannot be reached "
            f"({type(error).__name__}); connect to the internet, or name a folder"
        ) from error


@contextmanager
def needs_extra() -> Iterator[None]:
    """Wrap imports of the optional packages: say how to install what is missing."""
    try:
        yield
    except ImportError as error:
        raise PipelineError(
            f"Stable Diffusion needs {error.name or 'packages'} (not installed here); "
            "run: pip install 'atelier[stable-diffusion]'"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line that says anything; libraries' messages run over many."""
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
