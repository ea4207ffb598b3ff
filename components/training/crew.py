"""Training by several processes, which `torchrun` starts: rank 0 leads, the others follow.

Rank 0 alone runs the command, reads and writes files, measures and decides. The others wait for a
training to share; in each step every rank computes its rows of the batch. All that a state holds
belongs to the whole training, so that any number of ranks that divides the batch can go on from it.
"""

import importlib
import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed

from components.common.checkpoints import pack_state, unpack_state
from components.common.devices import keep_freed_memory
from components.families import FAMILIES
from components.families.port import Shape
from components.families.ranks import ALONE, PeerLostError, Ranks
from components.families.trainer import FamilyTrainer, Machine
from components.training.batches import Batches
from components.training.order import image_order
from interfaces.errors import RefusedError
from interfaces.igme import TrainingSettings
from interfaces.ipdt import IPDT

_T = TypeVar("_T")

MAX_WAIT = timedelta(days=7)
"""Measuring on rank 0 may take hours. A rank that ended is noticed by its closed connection."""


class _Signal(IntEnum):
    STEP = 0
    STATE = 1
    END = 2


@dataclass(frozen=True)
class Share:
    """All that a rank must know of a training to compute its rows of each batch."""

    prepared: IPDT
    settings: TrainingSettings
    groups: np.ndarray
    """Group of each image learnt from, (N,), as rank 0 found them: see `ImageOrder`."""
    dtype: str
    device: str

    def packed(self) -> bytes:
        """The share as JSON."""
        messages = {
            "prepared": self.prepared.model_dump(mode="json"),
            "settings": self.settings.model_dump(mode="json"),
        }
        plain = {"groups": self.groups.tolist(), "dtype": self.dtype, "device": self.device}
        return json.dumps(messages | plain).encode()

    @classmethod
    def unpacked(cls, data: bytes) -> "Share":
        """The share that `packed` wrote."""
        fields = json.loads(data)
        return cls(
            IPDT.model_validate(fields["prepared"]),
            TrainingSettings.model_validate(fields["settings"]),
            np.array(fields["groups"], np.int64),
            fields["dtype"],
            fields["device"],
        )


def lead_or_follow(work: Callable[[], _T]) -> _T | None:
    """Do the work on rank 0 of `torchrun`; on the others, their share of its trainings."""
    _join()
    try:
        return _lead(work) if present_ranks().index == 0 else _follow_all()
    finally:
        # A thread of it that still runs while Python ends now and then aborts the process.
        distributed.destroy_process_group()


def _lead(work: Callable[[], _T]) -> _T:
    result = work()
    present_ranks().tell(b"")  # where the work fails, torchrun ends the others
    return result


def _follow_all() -> None:
    ranks = present_ranks()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # rank 0 finishes its step and ends the training
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        while share := ranks.hear():
            _follow(Share.unpacked(share), ranks)
    except PeerLostError as error:
        raise SystemExit(1) from error  # rank 0 says why it ended, or torchrun does


def _join() -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    has_one_each = torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and has_one_each else "gloo"
    # It takes the group that exists at its import as a default argument, and torch's optimisers
    # import it: after `init_process_group`, that would keep the group's threads alive to the end.
    importlib.import_module("torch.distributed.nn")
    distributed.init_process_group(backend, timeout=MAX_WAIT)
    # A process that this one starts is no rank: it must not believe that it is.
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        os.environ.pop(name, None)


def present_ranks() -> Ranks:
    """The processes that this one shares its trainings with; itself alone without `torchrun`."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return ALONE
    return Ranks(distributed.get_rank(), distributed.get_world_size())


def check_divides(batch_size: int, ranks: Ranks) -> None:
    """Raise `AtelierError` where a batch cannot be shared out equally."""
    if batch_size % ranks.count:
        raise RefusedError(
            f"batch_size {batch_size} over {ranks.count} ranks: each takes equally many images; "
            f"choose a multiple of {ranks.count}, or another --nproc-per-node"
        )


class Crew:
    """The leader's side of one training: tells the other ranks each step."""

    def __init__(self, trainer: FamilyTrainer[Any]) -> None:
        self.trainer = trainer
        self.ranks = trainer.machine.ranks
        self._is_sharing = self._is_in_step = False

    @contextmanager
    def sharing(
        self, prepared: IPDT, settings: TrainingSettings, groups: np.ndarray
    ) -> Generator[None]:
        """Let the other ranks take part in what is trained within."""
        if self.ranks.is_alone:
            yield
            return
        machine = self.trainer.machine
        dtype = str(machine.dtype).removeprefix("torch.")
        self.ranks.tell(Share(prepared, settings, groups, dtype, machine.device.type).packed())
        self._is_sharing = True
        self.send_state()
        try:
            yield
        finally:
            self._is_sharing = False
            if not self._is_in_step:  # else they wait for a part of a step that never comes
                self._tell(_Signal.END)

    @contextmanager
    def step(self, images_seen: int) -> Generator[None]:
        """Let the other ranks take this step too, from this position in the order of images."""
        self._is_in_step = True
        self._tell(_Signal.STEP, images_seen)
        yield
        self._is_in_step = False

    def send_state(self) -> None:
        """Give every rank that takes part this one's networks, optimisers, counters and noise."""
        if not self._is_sharing:
            return
        self._tell(_Signal.STATE)
        rng = self.trainer.machine.rng.get_state()
        self.ranks.tell(pack_state({"trainer": self.trainer.state_dict(), "rng": rng}))

    def _tell(self, signal: _Signal, images_seen: int = 0) -> None:
        if not self.ranks.is_alone:
            self.ranks.tell(np.array([signal, images_seen], np.int64).tobytes())


def _follow(share: Share, ranks: Ranks) -> None:
    """Take part in a training until its leader ends it."""
    keep_freed_memory()
    settings, prepared = share.settings, share.prepared
    family = FAMILIES[settings.family]
    config = family.config.model_validate(settings.options)
    device, dtype = torch.device(share.device), getattr(torch, share.dtype)
    shape = Shape(prepared.resolution, len(prepared.styles))
    machine = Machine(device, dtype, torch.Generator(), ranks)
    trainer = family.method().build_trainer(config, shape, machine)
    batches = Batches(prepared.images(), prepared.labels(), device)
    training, _ = prepared.split(settings.held_out_fraction)
    order = image_order(share.groups, settings)
    batch_size = config.batch_size * settings.accumulate
    while True:
        signal, images_seen = np.frombuffer(ranks.hear(), np.int64).tolist()
        if signal == _Signal.END:
            return
        if signal == _Signal.STATE:
            state = unpack_state(ranks.hear())
            trainer.load_state_dict(state["trainer"])
            machine.rng.set_state(state["rng"])
        else:
            chosen = own_rows(training[order.take(images_seen, batch_size)], ranks)
            trainer.step(*batches.take(chosen), settings.accumulate)


def own_rows(whole: np.ndarray, ranks: Ranks) -> np.ndarray:
    """The rank's part of a whole batch's (N,) places."""
    share = len(whole) // ranks.count
    return whole[ranks.index * share :][:share]
