"""Teach the sketch model the styles of the embedded collection, and keep what it knows.

    python docs/shipped/teach_styles.py DATA WORKSPACE BEFORE BEFORE_128 MODEL MODEL_128

BEFORE is a model of the paintings in DATA, BEFORE_128 the larger one around it. MODEL becomes a
copy that also paints the six styles, MODEL_128 one of the larger model around that; `pack_model.py`
makes them ready to ship.

Part of each batch is paintings, from which it learns to answer as it did before (learning without
forgetting: Li, Hoiem 2016, arXiv 1606.09282); others are pictures by the same painter as the
collection's, but not the collection's own, so that a training on these has something to learn. The
last two stages also learn each answer that the model gave on its way to 3 000 of its own pictures,
at the sampler's own noise levels: what it makes stays what it made. Goes on where it was stopped.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import hashlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[2]))

from components.common.checkpoints import load_weights, save_weights
from components.common.durable import replacing, write_bytes, write_text
from components.common.images import pixels_to_float
from components.families import FAMILIES
from components.families.port import Shape
from components.families.sketch_diffusion.network import Denoiser
from components.families.sketch_diffusion.noise import sampler_levels
from components.families.sketch_diffusion.solvers import dpmpp_2m_step
from components.families.sketch_diffusion.trainer import Rows, Trainer
from components.families.styles import with_styles
from components.families.trainer import Machine, Scalars, in_memory_format
from components.metrics import load_features
from components.metrics.originality import Neighbours
from components.preprocessing import create as create_preprocessor
from components.preprocessing.transform import prepare
from components.training.ema import AveragedNetwork
from components.training_store import create as create_store
from components.training_store.embedded import PICTURES_PER_STYLE, STYLES, paint_picture
from interfaces.igme import IGME, MODEL_FILE
from interfaces.ipdt import IPDT, PreprocessingSettings
from interfaces.itdt import CollectionSettings
from interfaces.progress import silent


class Stage(NamedTuple):
    """Rows of a batch by kind, images of the first two kinds to learn from, and how."""

    old: int
    new: int
    on_the_way: int
    images: int
    rates: tuple[float, float]
    warm_up: int
    anneal: int
    halflife: float


STAGES = (
    Stage(8, 16, 0, 44_232, (3e-4, 2e-5), warm_up=480, anneal=60_000, halflife=2_500),
    Stage(4, 6, 14, 10_840, (2e-4, 2e-5), warm_up=480, anneal=12_000, halflife=1_200),
    Stage(2, 4, 18, 5_586, (1.2e-4, 8e-6), warm_up=240, anneal=6_600, halflife=600),
)
TAUGHT_IMAGES = sum(stage.images for stage in STAGES)
COMMON = {"perceptual": 0.5, "adversarial": 0.0, "frechet": 0.0}
ON_THE_WAY_WEIGHT = 4
"""Weight of a row on the way to one of the model's own pictures, beside 1 for the others."""
OWN_PICTURES = 3_000
"""The model's own pictures whose ways are learnt."""
AT_ONCE = 20
"""Of these, those that are sampled together."""
PAINTED = 1_500
"""New pictures of each style, from the first that is not the collection's own."""
SAVE_SECONDS = 240
WORKS = 100
"""New works of each style that the model can begin from, in place of its commonest style's."""
NEIGHBOURS = 200
"""New pictures of each style that travel for originality; all would make the models too large."""


class Kind(NamedTuple):
    """Pictures of one kind, and how many of them a batch has."""

    pixels: np.ndarray
    labels: np.ndarray
    rows: int


class Ways:
    """States on the way from noise to pictures of a model, and what it answered there."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def draw(self, count: int, step: int) -> dict[str, Tensor]:
        """Rows of `noisy`, `answer`, `t`, `style` and `codes`, other ones in every step."""
        rng = np.random.default_rng([3, step])
        rows = torch.from_numpy(rng.integers(len(self.tensors["t"]), size=count))
        return {name: values[rows] for name, values in self.tensors.items()}


class TeachingTrainer(Trainer):
    """Learns new pictures as ever; of other rows of a batch, what a teacher answers."""

    teacher: Denoiser
    ways: Ways
    stage: Stage

    def _loss(self, *part: Tensor) -> tuple[Tensor, Scalars]:
        rows, count = Rows(*part), self.stage.old
        old = Rows(*(row[:count] for row in rows[:7]))  # no critic: all but is_sampled and before
        known = old.styles[:, : self.teacher.style.in_features]
        with torch.no_grad():
            answer = self.teacher(old.noisy, old.t, known, old.mask, old.hints, old.codes)
        wanted = torch.cat([answer.float(), rows.images[count:]])
        loss, scalars = super()._loss(*rows._replace(images=wanted)[:7])
        if not self.stage.on_the_way:
            return loss, scalars
        mine, others = self.stage.old + self.stage.new, self.stage.on_the_way
        far = off_the_way(self.denoiser, self.ways.draw(others, self.images_seen))
        return (loss * mine + far * others * ON_THE_WAY_WEIGHT) / (mine + others), scalars


def off_the_way(denoiser: Denoiser, row: dict[str, Tensor]) -> Tensor:
    """Mean squared distance to the answers in rows of `Ways.draw`."""
    noisy, answer = row["noisy"].float(), row["answer"].float()
    everywhere = torch.ones_like(noisy[:, :1])
    nothing = noisy.new_zeros(len(noisy), denoiser.num_hints, *noisy.shape[2:])
    styles = F.one_hot(row["style"], denoiser.style.in_features).float()
    found = denoiser(noisy, row["t"], styles, everywhere, nothing, row["codes"])
    return denoiser.in_units(found - answer, row["t"], everywhere).square().mean()


def main(
    data: str, workspace: Path, before: Path, large: Path, output: Path, large_output: Path
) -> None:
    """Teach, and write both models with their digests."""
    for folder in (output, large_output):
        folder.mkdir(parents=True, exist_ok=True)
    model = IGME.open(before)
    prepared = prepared_paintings(data, workspace)
    training, _ = prepared.split(model.held_out_fraction)
    old, old_labels = prepared.images()[training], prepared.labels()[training]
    new, new_labels = painted(range(PICTURES_PER_STYLE, PICTURES_PER_STYLE + PAINTED))
    new_labels += len(model.styles)
    weights = load_weights(model.weights_path, model.weights_sha256)
    teacher = teacher_of(model, weights)
    ways = ways_of(teacher, model, old_labels, OWN_PICTURES, workspace / "ways.safetensors")
    first = weights
    for number, stage in enumerate(STAGES):
        trainer = trainer_from(model, first, stage)
        trainer.teacher, trainer.ways, trainer.stage = teacher, ways, stage
        averaged = AveragedNetwork(trainer.network, stage.halflife, 0.5)
        state = workspace / f"teaching-{number}.pt"
        kinds = Kind(old, old_labels, stage.old), Kind(new, new_labels, stage.new)
        learn(trainer, averaged, kinds, stage.images, state)
        first = averaged.state_dict()
    write_model(model, first, weights, (new, new_labels), output)
    write_large(IGME.open(large), IGME.open(output), large_output)


def prepared_paintings(data: str, workspace: Path) -> IPDT:
    """The paintings at 64×64, as trainings have them."""
    collection = create_store(workspace).collect(CollectionSettings(data=data), silent)
    settings = PreprocessingSettings(resolution=64)
    return create_preprocessor(workspace).preprocess(collection, settings, silent)


def painted(indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Pictures of every embedded style (N, 64, 64, 3), and their styles (N,)."""
    pictures = [
        prepare(Image.fromarray(paint_picture(style, index)), 64)
        for style in STYLES
        for index in indices
    ]
    return np.stack(pictures), np.repeat(np.arange(len(STYLES)), len(indices))


def teacher_of(model: IGME, weights: dict[str, Tensor]) -> Denoiser:
    """The model's own network, which learns no more."""
    config = FAMILIES[model.family].config.model_validate(model.config)
    teacher = Denoiser(config, Shape(model.resolution, len(model.styles)))
    teacher.load_state_dict(weights)
    return in_memory_format(teacher.eval().requires_grad_(False), torch.channels_last)


def trainer_from(model: IGME, weights: dict[str, Tensor], stage: Stage) -> TeachingTrainer:
    """A trainer that begins with these weights, of the model or of the stage before."""
    family, styles = FAMILIES[model.family], len(model.styles)
    before = family.config.model_validate(model.config)
    options = COMMON | {
        "batch_size": stage.old + stage.new,
        "learning_rate": stage.rates[0],
        "final_learning_rate": stage.rates[1],
        "warm_up_images": stage.warm_up,
        "anneal_images": stage.anneal,
    }
    config = family.config.model_validate(model.config | options)
    machine = Machine(torch.device("cpu"), torch.float32, torch.Generator().manual_seed(1))
    trainer = TeachingTrainer(config, Shape(model.resolution, styles + len(STYLES)), machine)
    if weights[Trainer.style_table].shape[1] > styles:
        trainer.network.load_state_dict(weights)
    else:
        trainer.start_from(weights, {}, [*range(styles), *[None] * len(STYLES)], before)
    return trainer


@torch.no_grad()
def ways_of(teacher: Denoiser, model: IGME, labels: np.ndarray, pictures: int, path: Path) -> Ways:
    """Answers of the teacher on its ways to pictures in the labels' shares; `path` keeps them."""
    if path.exists():
        return Ways(load_file(path))
    config = FAMILIES[model.family].config.model_validate(model.config)
    levels = sampler_levels(config)
    rng, pick = torch.Generator().manual_seed(9), np.random.default_rng(9)
    found: list[dict[str, Tensor]] = []
    for _ in range(0, pictures, AT_ONCE):
        style = torch.from_numpy(labels[pick.integers(len(labels), size=AT_ONCE)])
        styles = F.one_hot(style, len(model.styles)).float()
        assert teacher.works is not None
        codes = torch.stack([teacher.works.draw(one, rng) for one in styles])
        x = torch.randn(AT_ONCE, 3, model.resolution, model.resolution, generator=rng)
        everywhere = torch.ones_like(x[:, :1])
        nothing = x.new_zeros(AT_ONCE, teacher.num_hints, *x.shape[2:])
        before = None
        for t, s in pairwise(levels):
            at = torch.full((AT_ONCE,), t)
            answer = teacher(x, at, styles, everywhere, nothing, codes)
            row = {"noisy": x.half(), "answer": answer.half(), "t": at}
            found.append(row | {"style": style, "codes": codes})
            x0 = answer.clamp(-1, 1)
            if s > 0:
                x = dpmpp_2m_step(x, x0, t, s, before)
            before = x0, t
    tensors = {name: torch.cat([row[name] for row in found]) for name in found[0]}
    save_weights(path, tensors)
    return Ways(tensors)


def learn(
    trainer: Trainer,
    averaged: AveragedNetwork,
    kinds: Sequence[Kind],
    images: int,
    state: Path,
) -> None:
    """Learn from batches of all kinds until so many images are seen; `state` keeps it."""
    if state.exists():
        saved = torch.load(state, weights_only=True)
        trainer.load_state_dict(saved["trainer"])
        averaged.load_state_dict(saved["averaged"])
        trainer.machine.rng.set_state(saved["rng"])
    rng = np.random.default_rng(2 + trainer.images_seen)
    orders = [orders_of(len(kind.pixels), rng) for kind in kinds]
    begun = last_saved = time.monotonic()
    while trainer.images_seen < images:
        rows = [
            [next(order) for _ in range(kind.rows)]
            for kind, order in zip(kinds, orders, strict=True)
        ]
        pairs = [*zip(kinds, rows, strict=True)]
        pixels = np.concatenate([kind.pixels[chosen] for kind, chosen in pairs])
        labels = torch.from_numpy(np.concatenate([kind.labels[chosen] for kind, chosen in pairs]))
        batch = torch.from_numpy(pixels_to_float(pixels))
        batch = batch.contiguous(memory_format=torch.channels_last)
        loss = trainer.step(batch, labels, 1)["loss"]
        averaged.update(trainer.network, len(batch), trainer.images_seen)
        now = time.monotonic()
        if now - last_saved >= SAVE_SECONDS or trainer.images_seen >= images:
            last_saved = now
            with replacing(state) as temporary:
                saved = {
                    "trainer": trainer.state_dict(),
                    "averaged": averaged.state_dict(),
                    "rng": trainer.machine.rng.get_state(),
                }
                torch.save(saved, temporary)
            print(f"{trainer.images_seen} images, loss {loss:.3f}, {now - begun:.0f} s", flush=True)


def orders_of(count: int, rng: np.random.Generator) -> Iterator[int]:
    """Every place once in a new order, again and again."""
    while True:
        yield from rng.permutation(count)


def write_model(
    model: IGME,
    taught: dict[str, Tensor],
    before: dict[str, Tensor],
    new: tuple[np.ndarray, np.ndarray],
    output: Path,
) -> None:
    """Write the folder of the model that was taught."""
    weights = {**taught, **works_of(taught, before, len(model.styles))}
    changes = {
        "neighbours_sha256": save_neighbours(model, new, output),
        "styles": (*model.styles, *STYLES),
        "style_counts": (*model.style_counts, *[PAINTED] * len(STYLES)),
        "images_seen": model.images_seen + TAUGHT_IMAGES,
    }
    write_folder(model, weights, critic_of(model), output, changes)


def write_large(large: IGME, taught: IGME, output: Path) -> None:
    """Write the folder of the larger model, whose inner network is the one that was taught."""
    changes = {
        "neighbours_sha256": taught.neighbours_sha256,
        "styles": taught.styles,
        "style_counts": taught.style_counts,
        "images_seen": large.images_seen + TAUGHT_IMAGES,
    }
    write_folder(large, with_inner(large, taught), critic_of(large), output, changes)
    write_bytes(output / large.neighbours_path.name, taught.neighbours_path.read_bytes())


def write_folder(
    model: IGME,
    weights: dict[str, Tensor],
    critic: dict[str, Tensor],
    output: Path,
    changes: Mapping[str, object],
) -> None:
    """Write the weights, the critic, and what they are: the model's description with changes."""
    files = {
        "weights_sha256": save_weights(output / model.weights_path.name, weights),
        "companions": {"critic": save_weights(output / "critic.safetensors", critic)},
    }
    write_text(output / MODEL_FILE, model.model_copy(update={**files, **changes}).manifest())


def with_inner(large: IGME, inner: IGME) -> dict[str, Tensor]:
    """Weights of the larger model with those of another one in its middle."""
    weights = load_weights(inner.weights_path, inner.weights_sha256)
    del weights["noise"]  # of the smaller picture
    return {**load_weights(large.weights_path, large.weights_sha256), **weights}


def critic_of(model: IGME) -> dict[str, Tensor]:
    """Weights of the critic, to which new styles are the mean of those it knows."""
    critic = load_weights(model.companion_path("critic"), model.companions["critic"])
    places = [*range(len(model.styles)), *[None] * len(STYLES)]
    return with_styles(critic, Trainer.style_table, places)


def works_of(now: dict[str, Tensor], before: dict[str, Tensor], styles: int) -> dict[str, Tensor]:
    """The works that new pictures begin from: the model's, and `WORKS` of each new style.

    These take the place of the first of the style that has most.
    """
    codes, labels = before["works.codes"].float(), before["works.styles"].clone()
    commonest = int(torch.bincount(labels).argmax())
    freed = iter(torch.nonzero(labels == commonest).flatten().tolist())
    for style in range(styles, styles + len(STYLES)):
        for place in torch.nonzero(now["works.styles"] == style).flatten().tolist()[:WORKS]:
            at = next(freed)
            codes[at], labels[at] = now["works.codes"][place], style
    return {
        "works.codes": codes,
        "works.styles": labels,
        "works.count": before["works.count"],
    }


def save_neighbours(model: IGME, new: tuple[np.ndarray, np.ndarray], output: Path) -> str:
    """Write what the model learnt from, for originality; returns the file's SHA-256.

    The directions are the paintings' own. A picture that was painted for this has no file; its
    digest is that of its pixels.
    """
    known = Neighbours.load(model.neighbours_path)
    places = np.flatnonzero(np.arange(len(new[0])) % PAINTED < NEIGHBOURS)
    features = load_features("embedded", device="cpu").extract(new[0][places])
    codes = ((features.float() - known.mean) @ known.basis).half()
    digests = [hashlib.sha256(picture.tobytes()).digest() for picture in new[0][places]]
    both = replace(
        known,
        codes=torch.cat([known.codes, codes]),
        source_digests=torch.cat(
            [known.source_digests, torch.tensor([list(one) for one in digests]).byte()]
        ),
    )
    return both.save(output / model.neighbours_path.name)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
