"""The training loop: one straight story that names no family."""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from components.common.charts import check_charts
from components.common.checkpoints import halved, load_state, save_state, save_weights
from components.common.devices import keep_freed_memory, pick_device
from components.common.durable import exclusive, replacing, sweep
from components.common.images import contact_sheet, float_to_pixels, pair_sheet
from components.common.models import complete_model
from components.common.shortage import is_out_of_memory
from components.families import AnyFamily
from components.families.port import FamilySampler, Request, Shape
from components.families.trainer import FamilyTrainer, Machine
from components.training.arithmetic import choose_dtype
from components.training.batches import Batches
from components.training.beginning import (
    choose_config,
    choose_family,
    first_line,
    identity,
    precision_of,
    save_or_compare,
    start_from,
    start_model,
)
from components.training.crew import Crew, check_divides, own_rows, present_ranks
from components.training.curves import Curves
from components.training.ema import AveragedNetwork
from components.training.guardian import Guardian, Sighting
from components.training.judgement import judge
from components.training.observer import Observer
from components.training.order import image_order
from components.training.records import Intervention, Measured, TrainingFolder
from components.training.report import write_report
from components.training.sources import FromTheSet
from components.training.states import States
from components.training.tracking import tracked
from interfaces.errors import AtelierError, DamagedError, RefusedError, UnavailableError
from interfaces.igme import IGME, MODEL_FILE, TrainingSettings
from interfaces.ipdt import IPDT
from interfaces.progress import Progress, ProgressEvent

_log = logging.getLogger("atelier")

NUM_SAMPLES = 36
"""Pictures on a sample grid; the same seeds on every grid, so that progress can be seen."""


def train(
    prepared: IPDT, settings: TrainingSettings, run: Path, cache: Path, progress: Progress
) -> IGME:
    """Train in the folder `run`, or go on with what is there; see the port for the promises.

    Features of the prepared set are kept in `cache`. Another process that trains in the same
    folder is waited for.
    """
    with exclusive(run / ".lock"), ExitStack() as trackers:
        for folder in (run, run / "model", run / "samples"):
            sweep(folder)
        try:
            return _train(prepared, settings, run, cache, progress, trackers)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise UnavailableError(
                f"{run.parent.name}: there is not enough memory to train; choose a smaller "
                "batch_size, or another --device"
            ) from error


def _train(
    prepared: IPDT,
    settings: TrainingSettings,
    run: Path,
    cache: Path,
    progress: Progress,
    trackers: ExitStack,
) -> IGME:
    # Set up, and refuse to go on with other settings than the run was begun with.
    family = choose_family(settings)
    check_charts()
    device = pick_device(settings.device)
    origin = start_model(settings)
    config = choose_config(family, settings, origin, prepared, run)
    settings = settings.model_copy(update={"options": config.model_dump(mode="json")})
    keep_freed_memory()
    ranks = present_ranks()
    rng = torch.Generator().manual_seed(settings.seed)
    shape = Shape(prepared.resolution, len(prepared.styles))
    method = family.method()
    try:
        precision = precision_of(run / "settings.json", settings)
        dtype = choose_dtype(precision, family, config, shape, device)
        arithmetic = str(dtype).removeprefix("torch.")
        begun = identity(prepared, settings, config, origin, arithmetic)
        check_divides(config.batch_size, ranks)
        trainer = method.build_trainer(config, shape, Machine(device, dtype, rng, ranks))
    except ValueError as error:
        raise RefusedError(f"{family.name}: {error}") from error
    if origin is not None:
        start_from(origin, trainer, family, prepared.styles)
    ramp_up = settings.ema_ramp_up or trainer.average_ramp_up
    averaged = AveragedNetwork(trainer.network, settings.ema_halflife_images, ramp_up)
    images, labels = prepared.images(), prepared.labels()
    training, _ = prepared.split(settings.held_out_fraction)
    if not len(training):
        raise RefusedError("held_out_fraction: leaves nothing to learn from; choose a smaller one")
    # Only now, so that what was refused can be changed.
    save_or_compare(run / "settings.json", begun, family.config, origin)
    batches = Batches(images, labels, device)
    curves, guardian = Curves(family.losses), Guardian()
    observer = Observer(prepared, settings, family, config, cache, progress)
    order = image_order(observer.groups, settings)
    crew = Crew(trainer)
    tracking = trackers.enter_context(tracked(run, settings, begun))
    images_seen, seconds_before = 0, 0.0

    states, folder = States(run), TrainingFolder(run)
    started = time.monotonic()

    def seconds() -> float:
        return seconds_before + time.monotonic() - started

    def state() -> dict[str, object]:
        return {
            "trainer": trainer.state_dict(),
            "averaged": averaged.state_dict(),
            "rng": rng.get_state(),
            "curves": curves.state_dict(),
            "measurements": observer.measurements,
            "guardian": guardian.state_dict(),
            "images_seen": images_seen,
            "seconds": seconds(),
        }

    def go_on(path: Path, state: Mapping[str, Any]) -> None:
        nonlocal images_seen, seconds_before, started
        try:
            trainer.load_state_dict(state["trainer"])
            averaged.load_state_dict(state["averaged"])
            rng.set_state(state["rng"])
            curves.load_state_dict(state["curves"])
            observer.resume(state["measurements"])
            guardian.load_state_dict(state["guardian"])
            images_seen, seconds_before = state["images_seen"], state["seconds"]
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise DamagedError(
                f"{path}: not a state of this training ({first_line(error)}); "
                "train in another folder"
            ) from error
        started = time.monotonic()

    def go_back(sighting: Sighting) -> None:
        """Return to the last good state, keeping the time spent; then try a remedy, or give up."""
        nonlocal seconds_before
        seen, spent, before = images_seen, seconds(), guardian.state_dict()
        go_on(states.good, load_state(states.good))
        seconds_before = spent
        guardian.load_state_dict(before)
        did = f"back to {images_seen} images"
        if guardian.may_try_again(seen, settings):
            rng.manual_seed(settings.seed + guardian.num_tries)  # other noise than led there
            did += f", {trainer.remedy(sighting.trouble) or 'other noise'}"
        else:
            did += f", given up after {settings.guardian_tries} tries"
        crew.send_state()
        _log.warning("%s", guardian.note(sighting, seen, spent, did))
        states.save(state())  # first: after a kill in between, the try still counts once
        save_state(states.good, state())  # the next time it is gone back to, the remedy counts

    def measure() -> None:
        observer.measure(averaged.network, images_seen, seconds())
        if observer.has_measured(images_seen):
            tracking.measured(observer.measurements[-1])

    def show() -> None:
        curves.write(folder)
        observer.write(folder)
        folder.write_interventions(guardian.log)
        sampler = observer.sampler(averaged.network)
        rows = observer.in_turn(NUM_SAMPLES)
        _write_samples(folder.grid(images_seen), family, sampler, rows)
        tracking.samples(folder.grid(images_seen), images_seen)

    # Resume: everything that the next step depends on.
    if not states.resume(go_on):
        states.save(state())
    if settings.guardian == "act" and not states.good.exists():
        save_state(states.good, state())
    if guardian.has_given_up:
        _log.warning("given up before, so it learns no more; train anew, with a lower rate")

    metrics: Mapping[str, Any] = {}
    last_saved = last_shown = time.monotonic()
    batch_size = config.batch_size * settings.accumulate
    with ExitStack() as stack:
        stack.enter_context(crew.sharing(prepared, settings, observer.groups))
        is_interrupted = stack.enter_context(_interrupt_after_this_step())
        is_last = _is_over(settings, images_seen, seconds())
        while not (guardian.has_given_up or is_last):
            # One step.
            chosen = training[order.take(images_seen, batch_size)]
            with crew.step(images_seen):
                metrics = trainer.step(*batches.take(own_rows(chosen, ranks)), settings.accumulate)
            images_seen += batch_size
            averaged.update(trainer.network, batch_size, images_seen)

            # Measure the pictures.
            is_measured = _is_due(settings.measure_images, images_seen, batch_size)
            if is_measured or observer.is_halfway(seconds()):
                measure()
                observer.write(folder)  # at once: a search gives hopeless trials up by it

            # Tell. One reading of the clock says whether this was the last step, for all that
            # follows.
            sighting, spent = None, seconds()
            is_last = _is_over(settings, images_seen, spent)
            if curves.add(metrics, images_seen, spent):
                sighting = guardian.judge_losses(curves.rows, family.losses)
                tracking.curves(curves.rows[-1])
            if sighting is None and is_last and (broken := _broken(metrics)):
                sighting = Sighting("not a number", broken)  # in no row of the curves yet
            progress(_event(settings, images_seen, spent, curves))

            # Look whether all is well.
            is_look = settings.guardian != "off" and sighting is None
            if is_look and _is_due(settings.guardian_images, images_seen, batch_size):
                sighting = guardian.judge_pictures(*observer.look(trainer))
                if sighting is None and settings.guardian == "act":
                    save_state(states.good, state())

            # Act.
            if sighting is not None and settings.guardian == "act":
                if sighting.trouble == "over-fitting":
                    did = trainer.remedy("over-fitting") or "no remedy is known"
                    crew.send_state()
                    _log.warning("%s", guardian.note(sighting, images_seen, seconds(), did))
                else:
                    go_back(sighting)
                    is_last, metrics = _is_over(settings, images_seen, seconds()), {}
            elif sighting is not None and sighting.trouble == "not a number":
                raise AtelierError(_no_number(sighting.figures, images_seen, run))
            elif sighting is not None and settings.guardian == "watch":
                did = "only watched"
                _log.warning("%s", guardian.note(sighting, images_seen, seconds(), did))

            # Keep; never a state whose losses are no numbers any more.
            now = time.monotonic()
            is_due = is_interrupted() or now - last_saved >= settings.checkpoint_seconds
            if is_due and not _broken(metrics):
                states.save(state())
                last_saved = time.monotonic()
            if is_interrupted():
                raise KeyboardInterrupt
            if now - last_shown >= settings.sample_seconds:
                show()
                last_shown = time.monotonic()

    # Finish: the state first, so that a longer budget can go on from here.
    if guardian.log and not images_seen:
        folder.write_interventions(guardian.log)
        raise AtelierError(
            f"{run}: no remedy helped and there was no good state yet; guardian.jsonl says what "
            "was seen; try a much lower learning_rate"
        )
    states.save(state())
    if is_interrupted():
        raise KeyboardInterrupt
    if settings.measure_images and not observer.has_measured(images_seen):
        measure()
    show()
    # A longer training replaces the files of the model before: until all are there it is none.
    (run / "model" / MODEL_FILE).unlink(missing_ok=True)
    model = IGME(
        directory=run / "model",
        family=family.name,
        config=config.model_dump(mode="json"),
        weights_sha256=save_weights(run / "model" / "weights.safetensors", averaged.state_dict()),
        companions=_save_companions(run / "model", trainer),
        neighbours_sha256=observer.save_neighbours(run / "model" / "neighbours.safetensors"),
        resolution=prepared.resolution,
        styles=prepared.styles,
        dataset_name=prepared.name,
        dataset_digest=prepared.digest,
        rights=prepared.rights,
        images_seen=images_seen,
        style_counts=tuple(np.bincount(labels[training], minlength=shape.num_styles).tolist()),
        held_out_fraction=settings.held_out_fraction,
        metrics={"training_seconds": round(seconds(), 1)} | curves.last(),
        measurements=observer.newest,
    )
    complete_model(model)
    tracking.model(model)
    log = [Intervention.model_validate(row) for row in guardian.log]
    measured = [Measured.model_validate(row) for row in observer.measurements]
    floor = observer.floor if measured else None
    verdict = judge(measured, floor, log, observer.is_oversensitive)
    folder.write_verdict(verdict)
    write_report(run, observer, model, averaged.network, log, verdict)
    return model


def _save_companions(directory: Path, trainer: FamilyTrainer[Any]) -> dict[str, str]:
    """Networks for another training to start from, at half precision: enough to begin with."""
    return {
        name: save_weights(directory / f"{name}.safetensors", halved(network.state_dict()))
        for name, network in trainer.companions().items()
    }


def _is_over(settings: TrainingSettings, images_seen: int, seconds: float) -> bool:
    images_over = settings.total_images is not None and images_seen >= settings.total_images
    seconds_over = settings.total_seconds is not None and seconds >= settings.total_seconds
    return images_over or seconds_over


def _event(
    settings: TrainingSettings, images_seen: int, seconds: float, curves: Curves
) -> ProgressEvent:
    """Progress by the budget of which the larger share is used: that one ends the training."""
    losses = [f"{name} {value:.3f}" for name, value in curves.labelled(curves.last()).items()]
    budgets = [
        (float(images_seen), settings.total_images, "images"),
        (seconds, settings.total_seconds, "seconds"),
    ]
    _, done, total, unit = max(
        (done / total, min(done, total), total, unit) for done, total, unit in budgets if total
    )
    return ProgressEvent(
        stage="train",
        done=done,
        total=total,
        unit=unit,
        note=", ".join([f"{images_seen} images", *losses]),
    )


def _is_due(interval: int, images_seen: int, batch_size: int) -> bool:
    """Whether this batch went past a multiple of the interval; 0 is never."""
    return interval > 0 and images_seen // interval > (images_seen - batch_size) // interval


def _broken(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The scalars that are not finite any more."""
    found = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in found.items() if not math.isfinite(value)}


def _no_number(figures: Mapping[str, float], images_seen: int, run: Path) -> str:
    return (
        f"{run}: {', '.join(figures)} is no longer a number after {images_seen} images; "
        "train again with a lower learning_rate, or let the guardian act"
    )


def _write_samples(
    path: Path, family: AnyFamily, sampler: FamilySampler[Any], styles: torch.Tensor
) -> None:
    """Write a sample grid: the same seeds each time, one for each row of `styles`."""
    images = sampler.sample(Request(range(NUM_SAMPLES), styles, family.options()))
    pixels = float_to_pixels(images.numpy())
    if isinstance(sampler, FromTheSet):  # each beside what it was made from
        sources = sampler.sources(range(NUM_SAMPLES), styles)
        sheet = pair_sheet(float_to_pixels(sources.numpy()), pixels)
    else:
        enlarged = max(1, 128 // pixels.shape[1])  # to be judged without a magnifying glass
        pixels = pixels.repeat(enlarged, axis=1).repeat(enlarged, axis=2)
        sheet = contact_sheet(list(pixels), gap=2)
    with replacing(path) as temporary:
        sheet.save(temporary)


@contextmanager
def _interrupt_after_this_step() -> Generator[Callable[[], bool]]:
    """Hold Ctrl-C back until a step is whole; a second one interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread hears signals
        return
    interrupted = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and previous is signal.SIG_IGN:
            return  # meant for what runs in the foreground; a request to end has another number
        interrupted.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, note)
    try:
        yield interrupted.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
