"""Beginning of a training: its family, the model it starts from, what it may be resumed with."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from components.common.checkpoints import load_weights
from components.common.durable import write_text
from components.common.shipped import find_shipped
from components.families import FAMILIES, AnyFamily
from components.families.port import FamilyConfig
from components.families.trainer import FamilyTrainer
from components.metrics import Neighbours, load_features
from components.training.tracking import flat
from interfaces.contract import explain, refuse_unless_offered
from interfaces.errors import DamagedError, RefusedError
from interfaces.igme import FREE_WHEN_RESUMED, IGME, TrainingSettings
from interfaces.ipdt import IPDT

_log = logging.getLogger("atelier")

FAMILIAR = 1.2
"""Median originality up to which works are like those that a model learnt from: 1.0 for paintings
held out from `shipped-sketch`, 1.3 and 1.4 for drawings and for pictures painted by rules."""
LOOKED_AT = 256
"""Works of a collection that are looked at for that."""


def start_model(settings: TrainingSettings) -> IGME | None:
    """The model that the training starts from, if any."""
    if settings.start_from is None:
        return None
    return IGME.open(find_shipped(settings.start_from))


def start_from(
    origin: IGME, trainer: FamilyTrainer[Any], family: AnyFamily, styles: Sequence[str]
) -> None:
    """Put a trained model's weights into a fresh trainer; styles of the same name go on."""
    if origin.family != family.name:
        raise RefusedError(
            f"{origin.directory}: a {origin.family} model; a {family.name} training cannot start "
            "from it"
        )
    weights = load_weights(origin.weights_path, origin.weights_sha256)
    companions = {
        name: {k: v.float() for k, v in load_weights(origin.companion_path(name), digest).items()}
        for name, digest in origin.companions.items()
    }
    places = [origin.styles.index(style) if style in origin.styles else None for style in styles]
    try:
        config = family.config.model_validate(origin.config)
        trainer.start_from(weights, companions, places, config)
    except (KeyError, ValueError, RuntimeError) as error:
        raise RefusedError(
            f"{origin.directory}: its networks, for {origin.resolution} pixels, have another shape "
            f"than this training's ({_first_difference(error)}); leave the options of the "
            "networks and the resolution out"
        ) from error


def choose_family(settings: TrainingSettings) -> AnyFamily:
    """The family by name.

    Raises `AtelierError` for one that cannot be trained, and for a device, precision or tracker
    that is not offered.
    """
    refuse_unless_offered(settings, "train")
    if settings.family not in FAMILIES:
        raise RefusedError(f"family {settings.family!r}: unknown; there are {', '.join(FAMILIES)}")
    family = FAMILIES[settings.family]
    if not family.is_trainable:
        raise RefusedError(f"family {family.name}: comes trained; `adopt` takes such a model in")
    return family


def choose_config(
    family: AnyFamily,
    settings: TrainingSettings,
    origin: IGME | None,
    prepared: IPDT,
    run: Path,
) -> FamilyConfig:
    """The family's checked config, with what depends on the start and on the pictures.

    That is chosen when a training in the folder `run` begins, and stays. Raises `AtelierError`.
    """
    options = settings.options
    try:
        if origin is not None:
            left_open, begun = family.config.left_open(options), _begun_with(run / "settings.json")
            if left_open <= begun.keys():
                options = options | {name: begun[name] for name in left_open}
            else:
                familiar = partial(is_familiar, origin, prepared, settings.device)
                options = family.config.completed(options, familiar)
        config = family.config.model_validate(options)
    except ValidationError as error:
        raise RefusedError(explain(error, f"options of {family.name}")) from error
    for fault in (*settings.idle(), *config.idle()):
        _log.warning("%s", fault)
    return config


def is_familiar(origin: IGME, prepared: IPDT, device: str = "auto") -> bool:
    """Whether a model learnt from works like these, and brings its companions.

    Their median originality tells: how far they lie from the works it learnt from, as a multiple
    of what those lie apart. Raises `DamagedError` for its features of those works.
    """
    if not (origin.companions and origin.neighbours_path.exists()):
        return False
    images = prepared.images()
    some = np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT)).astype(int)
    try:
        neighbours = Neighbours.load(origin.neighbours_path)
    except RefusedError as error:
        _log.warning("%s; so this collection counts as new to it", error)
        return False
    features = load_features("embedded", device=device).extract(images[some])
    distances, _ = neighbours.nearest(features)
    return float(neighbours.originality(distances).median()) <= FAMILIAR


def precision_of(path: Path, settings: TrainingSettings) -> str:
    """The precision that a training was begun with, so that 'auto' never changes on the way."""
    return str(_begun_with(path).get("arithmetic", settings.precision))


def _begun_with(path: Path) -> dict[str, Any]:
    """Settings that a training was begun with, by flat names; none of a new one."""
    try:
        return flat(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return {}  # what is wrong there, comparing will say


def identity(
    prepared: IPDT,
    settings: TrainingSettings,
    config: FamilyConfig,
    origin: IGME | None,
    arithmetic: str,
) -> dict[str, Any]:
    """Identity of a training, by name: its data, start, settings, options and arithmetic."""
    chosen = settings.model_dump(mode="json", exclude={*FREE_WHEN_RESUMED, "options"})
    # Fields that say nothing by default are left out of the dump, but are part of it here.
    return (
        _defaults()
        | chosen
        | {
            "start_from": origin.digest if origin else None,
            "arithmetic": arithmetic,
            "dataset_digest": prepared.digest,
            "options": config.model_dump(mode="json"),
        }
    )


def save_or_compare(
    path: Path,
    identity: dict[str, Any],
    config: type[FamilyConfig],
    origin: IGME | None = None,
) -> None:
    """Save a training's identity, or raise `AtelierError` that names each difference.

    Settings and options that did not exist yet when the training was begun count as their defaults.
    `origin` is the model it starts from: a training of an earlier version may name it by another
    digest.
    """
    if not path.exists():
        write_text(path, json.dumps(identity, indent=2) + "\n")
        return
    before, now = _saved(path, config), flat(identity)
    if origin is not None and origin.is_known_as(before.get("start_from")):
        before["start_from"] = origin.digest
    if before.get("dataset_digest") != now["dataset_digest"]:
        raise RefusedError(
            f"{path.parent}: the collection changed since this training began; put it back as it "
            "was, or train in another folder"
        )
    differences = [
        f"{name} was {before.get(name)!r}, is now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if differences:
        raise RefusedError(
            f"{path.parent}: was begun with other settings ({'; '.join(differences)}); "
            "go on with the same, or train in another folder"
        )


def _saved(path: Path, config: type[FamilyConfig]) -> dict[str, Any]:
    """Settings that a training was begun with, by flat names; defaults for those it did not know.

    Raises `DamagedError`.
    """
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        options = config.model_validate(saved["options"]).model_dump(mode="json")
        return flat(_defaults() | saved | {"options": options})
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"{path}: damaged ({first_line(error)}); train in another folder"
        ) from error


def _defaults() -> dict[str, Any]:
    left_out = {*FREE_WHEN_RESUMED, "options"}
    fields = TrainingSettings.model_fields.items()
    return {
        name: field.default
        for name, field in fields
        if not (name in left_out or field.is_required())
    }


def _first_difference(error: Exception) -> str:
    """The first misfit among torch's many lines about weights, which begin with a heading."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip().partition(": copying")[0][:120]


def first_line(error: Exception) -> str:
    """An error's text up to the first line's end."""
    return str(error).partition("\n")[0]
