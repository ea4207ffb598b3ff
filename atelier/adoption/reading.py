"""Readers of foreign models: files of each kind => config, weights and companions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from atelier.adoption import Adoption
from components.common.checkpoints import save_weights
from components.common.durable import sweep
from components.common.files import open_regular
from components.common.images import check_header, foreign
from components.common.models import complete_model
from components.common.tensors import tensors_by_name
from interfaces.contract import explain
from interfaces.errors import AtelierError, RefusedError, unreadable
from interfaces.igme import IGME
from interfaces.places import expanded

_OF_PIPELINES = {"revision", "variant", "dtype", "allow_pickles"}


@dataclass(frozen=True)
class _Foreign:
    """A foreign model, in our terms."""

    family: str
    name: str
    config: dict[str, Any]
    resolution: int
    styles: tuple[str, ...]
    weights: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    companions: Mapping[str, Mapping[str, Tensor]] = field(
        default_factory=dict[str, Mapping[str, Tensor]]
    )


def adopt_into(wanted: Adoption, directory: Path) -> IGME:
    """Read, then write the model's folder; see the door."""
    family = _family_of(wanted)
    if wanted.family == "auto" and family == "stable_diffusion":
        _refuse_files(wanted)
    if family != "stable_diffusion" and (given := wanted.model_fields_set & _OF_PIPELINES):
        raise RefusedError(f"{min(given)}: only of a diffusers pipeline; leave it out")
    try:
        foreign = _READERS[family](wanted)
    except OSError as error:
        where = error.filename or wanted.sources[0]
        raise unreadable(error)(f"{where}: cannot be read ({error.strerror or error})") from error
    except ValidationError as error:
        raise RefusedError(explain(error, wanted.sources[0])) from error
    except ValueError as error:
        name = f"{wanted.sources[0]}: "
        raise RefusedError(name + str(error).removeprefix(name)) from error
    sweep(directory)
    companions = {
        name: save_weights(directory / f"{name}.safetensors", weights)
        for name, weights in foreign.companions.items()
    }
    model = IGME(
        directory=directory,
        family=foreign.family,
        config=foreign.config,
        weights_sha256=save_weights(directory / "weights.safetensors", foreign.weights),
        companions=companions,
        resolution=foreign.resolution,
        styles=foreign.styles,
        dataset_name=foreign.name,
        dataset_digest=None,
        images_seen=0,
    )
    complete_model(model)
    return model


def _family_of(wanted: Adoption) -> str:
    if wanted.family != "auto":
        return wanted.family
    endings = {Path(source).suffix.lower() for source in wanted.sources}
    if endings == {".pkl"}:
        return "stylegan2"
    return "cyclegan" if endings == {".pth"} else "stable_diffusion"


def _refuse_files(wanted: Adoption) -> None:
    """Say what a file holds that is not a network: a pipeline is a folder."""
    for source in wanted.sources:
        path = expanded(Path(source))
        if path.exists() and not path.is_dir():
            raise RefusedError(
                f"{source}: is {_kind_of(path)}, not a network; adopt takes a StyleGAN2 .pkl, the "
                "two .pth of a CycleGAN, or a diffusers pipeline's folder"
            )


def _kind_of(path: Path) -> str:
    try:
        with foreign(str(path)):
            return f"a picture ({check_header(path, None).format})"
    except AtelierError:
        return "a file of another kind"


def _one_source(wanted: Adoption) -> str:
    if len(wanted.sources) != 1:
        raise ValueError("name one file or pipeline alone")
    return wanted.sources[0]


def _styles(wanted: Adoption, count: int) -> tuple[str, ...]:
    """The names given, or made-up ones; a model has one style at least."""
    names = wanted.styles or tuple(f"label-{n}" for n in range(count)) or ("all",)
    if len(names) != max(1, count) or len(set(names)) != len(names) or "" in names:
        raise ValueError(f"styles: name {max(1, count)}, each once, or leave them out")
    return names


def _stylegan2(wanted: Adoption) -> _Foreign:
    from components.families.stylegan2.published import import_pickle

    path = expanded(Path(_one_source(wanted)))
    read = import_pickle(path)
    return _Foreign(
        family=read.family,
        name=path.stem,
        config=read.config,
        resolution=read.resolution,
        styles=_styles(wanted, read.num_styles),
        weights=read.weights,
        companions=read.companions,
    )


def _cyclegan(wanted: Adoption) -> _Foreign:
    """Both ways: 'latest_net_G_A.pth' paints the second style, '…_B.pth' the first."""
    from components.families.cyclegan.config import CycleGANConfig
    from components.families.cyclegan.published import import_generator

    if len(wanted.sources) != 2:
        raise ValueError("a CycleGAN has two generators; name both files, …G_A.pth and …G_B.pth")
    weights: dict[str, Tensor] = {}
    sizes: list[dict[str, Any]] = []
    for way, source in zip(("to_second", "to_first"), wanted.sources, strict=True):
        state, size = import_generator(_state_dict(expanded(Path(source))))
        weights |= {f"{way}.{name}": tensor for name, tensor in state.items()}
        sizes.append(size)
    if sizes[0] != sizes[1]:
        raise ValueError(f"its two generators differ in size ({sizes[0]}, {sizes[1]})")
    return _Foreign(
        family="cyclegan",
        name=expanded(Path(wanted.sources[0])).absolute().parent.name,
        config=CycleGANConfig.model_validate(sizes[0]).model_dump(mode="json"),
        resolution=256,  # what these are mostly trained at; they turn pictures of any size
        styles=_styles(wanted, 2),
        weights=weights,
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors alone: the reader builds nothing else, so nothing in the file runs."""
    try:
        with open_regular(path) as stream:
            state = torch.load(stream, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises nearly anything on foreign and damaged files
        raise ValueError("not a plain state dict of torch, or damaged; refused") from error
    tensors = tensors_by_name(state)
    if tensors is None:
        raise ValueError("not a plain state dict of torch")
    return tensors


def _stable_diffusion(wanted: Adoption) -> _Foreign:
    from components.families.stable_diffusion.published import adopt

    source = _one_source(wanted)
    place = str(expanded(Path(source))) if expanded(Path(source)).exists() else source
    found = adopt(
        place, wanted.revision, wanted.variant, wanted.dtype, allow_pickles=wanted.allow_pickles
    )
    return _Foreign(
        family="stable_diffusion",
        name=found.name,
        config=found.config,
        resolution=found.resolution,
        styles=_styles(wanted, 0),
    )


_READERS: dict[str, Callable[[Adoption], _Foreign]] = {
    "stylegan2": _stylegan2,
    "cyclegan": _cyclegan,
    "stable_diffusion": _stable_diffusion,
}
