"""From a model's folder to batches of pictures."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from components.checkpoints import load_weights
from components.devices import pick_device
from components.families import FAMILIES, Family
from components.families.port import FamilyOptions, FamilySampler, Shape
from interfaces.contract import explain
from interfaces.errors import AtelierError
from interfaces.igdt import IGDT
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.record import GeneratedOrigin

IN_FLIGHT_BYTES = 32 * 2**20
"""Pixels handed on together where the person does not say: bounds memory, keeps progress lively."""


def generate(model: IGME, settings: IGS) -> Iterator[IGDT]:
    """Check everything, then return the iterator that makes the pictures."""
    family = _family_of(model)
    options = _checked_options(family, settings)
    label = _label_of(model, family, settings.style)
    sampler = _load(model, family, settings.device)
    return _batches(model, settings, sampler, options, label)


def _batches(
    model: IGME,
    settings: IGS,
    sampler: FamilySampler,
    options: FamilyOptions,
    label: int | None,
) -> Iterator[IGDT]:
    image_bytes = 3 * 4 * model.resolution**2
    batch_size = settings.batch_size or max(1, IN_FLIGHT_BYTES // image_bytes)
    origin = {
        "family": model.family,
        "model_digest": model.digest,
        "dataset_name": model.dataset_name,
        "dataset_digest": model.dataset_digest,
        "style": settings.style,
        "options": options.model_dump(mode="json"),
    }
    chosen = settings.chosen_seeds
    for start in range(settings.skip, len(chosen), batch_size):
        seeds = chosen[start : start + batch_size]
        # Where no style was asked for, the seed chooses one, so that it alone fixes the picture.
        labels = [seed % len(model.styles) if label is None else label for seed in seeds]
        images = sampler.sample(seeds, labels, options).numpy()
        origins = tuple(
            GeneratedOrigin(seed=seed, index=n, **origin) for n, seed in enumerate(seeds, start)
        )
        yield IGDT(images=images, origins=origins)


def _family_of(model: IGME) -> Family:
    if model.family not in FAMILIES:
        raise AtelierError(
            f"{model.directory}: a model of the family {model.family!r}, which this version does "
            f"not know; it knows {', '.join(FAMILIES)}"
        )
    return FAMILIES[model.family]


def _checked_options(family: Family, settings: IGS) -> FamilyOptions:
    try:
        return family.options.model_validate(settings.options)
    except ValidationError as error:
        raise AtelierError(explain(error, f"options of {family.name}")) from error


def _label_of(model: IGME, family: Family, style: str | None) -> int | None:
    if style is None:
        return None
    if not family.is_conditional:
        raise AtelierError(
            f"style {style!r}: a {family.name} model cannot be asked for a style; leave style out"
        )
    if style not in model.styles:
        raise AtelierError(
            f"style {style!r}: this model does not know it; it knows {', '.join(model.styles)}"
        )
    return model.styles.index(style)


def _load(model: IGME, family: Family, device_name: str) -> FamilySampler:
    method = family.method()
    path: Path = model.weights_path
    weights = load_weights(path, model.weights_sha256)
    try:
        config = family.config.model_validate(model.config)
        network = method.build_network(config, Shape(model.resolution, len(model.styles)))
        network.load_state_dict(weights)
    except (ValidationError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise AtelierError(
            f"{model.directory}: its description and its weights do not belong together "
            f"({reason}); copy the model again"
        ) from error
    return method.build_sampler(network.to(pick_device(device_name)), config)
