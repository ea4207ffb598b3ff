"""The training loop: one straight story that names no family."""

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from pydantic import ValidationError

from components.checkpoints import load_state, save_state, save_weights
from components.devices import pick_device, pick_dtype
from components.durable import exclusive, replacing, write_text
from components.families import FAMILIES, Family
from components.families.port import FamilyConfig, FamilySampler, Shape
from components.images import contact_sheet, float_to_pixels, pixels_to_float
from components.training.curves import Curves
from components.training.ema import AveragedNetwork
from components.training.order import ImageOrder
from interfaces.contract import explain
from interfaces.errors import AtelierError
from interfaces.igme import FREE_WHEN_RESUMED, IGME, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress, ProgressEvent

NUM_SAMPLES = 36
"""Pictures on a sample grid; the same seeds on every grid, so that one sees them grow."""


def train(prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress) -> IGME:
    """Train in the folder `run`, or go on with what lies there; see the port for the promises.

    Another process that trains in the same folder is waited for.
    """
    with exclusive(run / ".lock"):
        for leftover in run.glob(".*.partial*"):  # of a process that was killed while it saved
            leftover.unlink()
        return _train(prepared, settings, run, progress)


def _train(prepared: IPDT, settings: TrainingSettings, run: Path, progress: Progress) -> IGME:
    # Set up, and refuse to go on with other settings than the run was begun with.
    family, config = choose_family(settings)
    _save_or_compare(run / "settings.json", _identity(prepared, settings, config))
    device = pick_device(settings.device)
    rng = torch.Generator().manual_seed(settings.seed)
    shape = Shape(prepared.resolution, len(prepared.styles))
    method = family.method()
    try:
        trainer = method.build_trainer(
            config, shape, device, pick_dtype(settings.precision, device), rng
        )
    except ValueError as error:
        raise AtelierError(f"{family.name}: {error}") from error
    averaged = AveragedNetwork(trainer.network, settings.ema_halflife_images)
    images, labels = prepared.images(), prepared.labels()
    order = ImageOrder(labels, settings.seed, settings.style_balanced)
    curves = Curves()
    images_seen, seconds_before = 0, 0.0

    # Resume: everything that the next step depends on.
    state_path = run / "state.safetensors"
    if state_path.exists():
        state = load_state(state_path)
        try:
            trainer.load_state_dict(state["trainer"])
            averaged.load_state_dict(state["averaged"])
            rng.set_state(state["rng"])
            curves.load_state_dict(state["curves"])
            images_seen, seconds_before = state["images_seen"], state["seconds"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise AtelierError(
                f"{state_path}: not a state of this training ({_first_line(error)}); "
                "train in another folder"
            ) from error

    started = time.monotonic()

    def seconds() -> float:
        return seconds_before + time.monotonic() - started

    def save() -> None:
        state = {
            "trainer": trainer.state_dict(),
            "averaged": averaged.state_dict(),
            "rng": rng.get_state(),
            "curves": curves.state_dict(),
            "images_seen": images_seen,
            "seconds": seconds(),
        }
        save_state(state_path, state)

    def show() -> None:
        curves.write(run)
        sampler = method.build_sampler(averaged.network, config)
        _write_samples(run, family, sampler, shape.num_styles, images_seen)

    metrics: Mapping[str, Any] = {}
    last_saved = last_shown = time.monotonic()
    batch_size = config.batch_size * settings.accumulate
    with ExitStack() as stack:
        is_interrupted = stack.enter_context(_interrupt_after_this_step())
        writer = stack.enter_context(_tensorboard(run)) if settings.tensorboard else None
        while not _is_over(settings, images_seen, seconds()):
            # One step.
            chosen = order.take(images_seen, batch_size)
            batch = torch.from_numpy(pixels_to_float(images[chosen])).to(device)
            batch_labels = torch.from_numpy(labels[chosen]).to(device)
            metrics = trainer.step(batch, batch_labels, settings.accumulate)
            images_seen += batch_size
            averaged.update(trainer.network, batch_size, images_seen)

            # Tell.
            if curves.add(metrics, images_seen, seconds()):
                _refuse_nonsense(curves.rows[-1], images_seen, run)
                if writer is not None:
                    for name, value in curves.rows[-1].items():
                        writer.add_scalar(name, value, images_seen)
            progress(_event(settings, images_seen, seconds(), curves))

            # Keep.
            now = time.monotonic()
            if is_interrupted() or now - last_saved >= settings.checkpoint_seconds:
                _refuse_nonsense(metrics, images_seen, run)  # a good state is not overwritten
                save()
                last_saved = time.monotonic()
            if is_interrupted():
                raise KeyboardInterrupt
            if now - last_shown >= settings.sample_seconds:
                show()
                last_shown = time.monotonic()

    # Finish: the state first, so that a longer budget can go on from here.
    _refuse_nonsense(metrics, images_seen, run)
    save()
    show()
    return _export(run, prepared, family, config, averaged, images_seen, seconds(), curves)


def choose_family(settings: TrainingSettings) -> tuple[Family, FamilyConfig]:
    """The family by name and its checked config. Raises `AtelierError` for either at fault."""
    if settings.family not in FAMILIES:
        raise AtelierError(f"family {settings.family!r}: unknown; there are {', '.join(FAMILIES)}")
    family = FAMILIES[settings.family]
    try:
        return family, family.config.model_validate(settings.options)
    except ValidationError as error:
        raise AtelierError(explain(error, f"options of {family.name}")) from error


def _identity(prepared: IPDT, settings: TrainingSettings, config: FamilyConfig) -> dict[str, Any]:
    """What a training is, by name: what it learns from, how, and from which seed."""
    chosen = settings.model_dump(mode="json", exclude={*FREE_WHEN_RESUMED, "options"})
    return chosen | {"dataset_digest": prepared.digest, "options": config.model_dump(mode="json")}


def _save_or_compare(path: Path, identity: dict[str, Any]) -> None:
    if not path.exists():
        write_text(path, json.dumps(identity, indent=2) + "\n")
        return
    try:
        before = _flat(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, AttributeError) as error:
        raise AtelierError(f"{path}: damaged ({error}); train in another folder") from error
    now = _flat(identity)
    differences = [
        f"{name} was {before.get(name)!r}, is now {value!r}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if differences:
        raise AtelierError(
            f"{path.parent}: was begun with other settings ({'; '.join(differences)}); "
            "go on with the same, or train in another folder"
        )


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """The family's options among the other settings, each by its own name."""
    return {name: v for name, v in identity.items() if name != "options"} | identity["options"]


def _is_over(settings: TrainingSettings, images_seen: int, seconds: float) -> bool:
    images_over = settings.total_images is not None and images_seen >= settings.total_images
    seconds_over = settings.total_seconds is not None and seconds >= settings.total_seconds
    return images_over or seconds_over


def _event(
    settings: TrainingSettings, images_seen: int, seconds: float, curves: Curves
) -> ProgressEvent:
    losses = [
        f"{column.removesuffix('_loss')} {curves.rows[-1][column]:.3f}"
        for column in ("generator_loss", "discriminator_loss")
        if curves.rows and column in curves.rows[-1]
    ]
    note = ", ".join([f"{images_seen} images", *losses])
    if settings.total_images is not None:
        return ProgressEvent(
            stage="train",
            done=min(images_seen, settings.total_images),
            total=settings.total_images,
            note=note,
        )
    total = settings.total_seconds or 0.0
    return ProgressEvent(
        stage="train", done=min(seconds, total), total=total, unit="seconds", note=note
    )


def _refuse_nonsense(metrics: Mapping[str, Any], images_seen: int, run: Path) -> None:
    """NaN never passes without a word; the state saved before it is whole."""
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        raise AtelierError(
            f"{run}: {', '.join(broken)} is no number any more after {images_seen} images; "
            "train again with a lower learning_rate"
        )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _write_samples(
    run: Path, family: Family, sampler: FamilySampler, num_styles: int, images_seen: int
) -> None:
    """The sample grid: the same seeds each time, styles in turn."""
    seeds = range(NUM_SAMPLES)
    images = sampler.sample(seeds, [seed % num_styles for seed in seeds], family.options())
    pixels = float_to_pixels(images.numpy())
    enlarged = max(1, 128 // pixels.shape[1])  # so that one can judge it without a magnifying glass
    pixels = pixels.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
    with replacing(run / "samples" / f"{images_seen:09d}.png") as temporary:
        contact_sheet(list(pixels), gap=2).save(temporary)


def _export(
    run: Path,
    prepared: IPDT,
    family: Family,
    config: FamilyConfig,
    averaged: AveragedNetwork,
    images_seen: int,
    seconds: float,
    curves: Curves,
) -> IGME:
    """Write the model's folder: the averaged weights, and the message that vouches for them."""
    directory = run / "model"
    digest = save_weights(directory / "weights.safetensors", averaged.state_dict())
    last = curves.rows[-1] if curves.rows else {}
    losses = {name: value for name, value in last.items() if name not in ("images_seen", "seconds")}
    model = IGME(
        directory=directory,
        family=family.name,
        config=config.model_dump(mode="json"),
        weights_sha256=digest,
        resolution=prepared.resolution,
        styles=prepared.styles,
        dataset_name=prepared.name,
        dataset_digest=prepared.digest,
        images_seen=images_seen,
        metrics={"training_seconds": round(seconds, 1)} | losses,
    )
    write_text(directory / "model.json", model.manifest())
    return model


@contextmanager
def _tensorboard(run: Path) -> Generator[Any]:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise AtelierError(
            "tensorboard is not installed; pip install 'atelier[tensorboard]', or leave it out"
        ) from error
    with SummaryWriter(str(run / "tensorboard")) as writer:
        yield writer


@contextmanager
def _interrupt_after_this_step() -> Generator[Callable[[], bool]]:
    """Hold Ctrl-C back until a step is whole; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread hears signals
        return
    interrupted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
