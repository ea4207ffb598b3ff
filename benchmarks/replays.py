"""`replay` of fifty results, of every family and enlarger at hand, before and after a move.

    python -m benchmarks.replays

Families that come with no trained model are small networks with seeded weights: what is asked is
whether a record leads back to the same pixels, not how good they are.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from atelier.assembly import assemble
from atelier.own_files import Requests, Rework
from atelier.replaying import replay
from atelier.workspace import Workspace
from components.common.checkpoints import save_weights
from components.common.credentials.places import FOLDER
from components.common.models import complete_model
from components.common.shipped import find_shipped
from components.conversion import read_picture
from components.enhancement import absent_names, names
from components.families import FAMILIES
from components.families.port import Shape
from components.families.stable_diffusion.published import adopt
from interfaces.components import Components
from interfaces.ics import ICS
from interfaces.ies import IES
from interfaces.igdt import IGDT
from interfaces.igme import IGME, MODEL_FILE
from interfaces.igs import IGS
from interfaces.places import fetched
from tests.components.families.test_every_family import TINY
from tests.components.families.test_stable_diffusion import text_pipeline

STEPS = {"steps": 2}


def main() -> None:
    """Make the results, replay them where they are, move the workspace, and replay them again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[FOLDER] = str(folder / "credentials")
        workspace = Workspace(folder / "workspace")
        kinds = dict(_made(folder, workspace))
        _tell("where they were made", workspace, kinds)
        moved = shutil.move(workspace.root, folder / "moved")
        _tell("after the workspace moved", Workspace(Path(moved)), kinds)


def _tell(when: str, workspace: Workspace, kinds: dict[int, str]) -> None:
    parts = assemble(workspace.root)
    found: dict[str, Counter[str]] = {}
    for number, kind in kinds.items():
        again = replay(parts, workspace, fetched(parts.results_store.get(number).path))
        found.setdefault(kind, Counter())[again.verdict] += 1
        if again.verdict != "equal":
            print(f"    {again.line()}")
    for kind, counts in found.items():
        print(f"{kind:<40} {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}")
    equal = sum(counts["equal"] for counts in found.values())
    print(f"{when}: {equal} of {len(kinds)} equal to the bit")


def _made(folder: Path, workspace: Workspace) -> Iterator[tuple[int, str]]:
    """Results in the workspace's store, each with what it is an example of."""
    parts = assemble(workspace.root)
    own = workspace.root / "results" / "drawing.png"
    own.parent.mkdir(parents=True)
    _drawing().save(own)
    for name, model in every_model(folder, workspace):
        settings: dict[str, object] = {"seeds": (1, 2, 3, 4)}
        family = FAMILIES[model.family]
        settings |= {"source": own} if "source" in family.needs else {}
        settings |= {"prompt": "a red house"} if "prompt" in family.takes else {}
        settings |= {"options": STEPS} if "steps" in family.options.model_fields else {}
        for batch in parts.generation.generate(model, IGS.model_validate(settings)):
            yield from _kept(parts, batch, f"generate, {name}")
    shipped, painter = (IGME.open(find_shipped(Path(n))) for n in ("shipped", "shipped-sketch"))
    (batch,) = parts.generation.generate(shipped, IGS(seeds=(7, 8)))
    for enhancer in sorted({"lanczos", *names()} - set(absent_names())):
        yield from _kept(parts, batch, f"enlarge, {enhancer}", scale=4, enhancer=enhancer)
    yield from _of_own_files(parts, workspace, painter, own)


def _of_own_files(
    parts: Components, workspace: Workspace, painter: IGME, own: Path
) -> Iterator[tuple[int, str]]:
    varied = {"seeds": (1, 2), "options": STEPS | {"source_strength": 0.4}, "source": own}
    for batch in parts.generation.generate(painter, IGS.model_validate(varied)):
        yield from _kept(parts, batch, "variation of a picture")
    drawn = {"seeds": (1, 2), "options": STEPS, "sketch": own}
    for batch in parts.generation.generate(painter, IGS.model_validate(drawn)):
        yield from _kept(parts, batch, "from a drawing")
    yield from _kept(parts, read_picture(own), "own file, converted")
    yield from _kept(parts, read_picture(own), "own file, enlarged", scale=4, enhancer="embedded")
    settings = IGS.model_validate(varied)
    requests = Requests(workspace.requests)
    work = Rework(parts.generation, painter, settings, read_picture, parts.ui.watch, requests)
    yield from _kept(parts, work.read(own), "own file, reworked")


def _kept(
    parts: Components, batch: IGDT, kind: str, **enhance: object
) -> Iterator[tuple[int, str]]:
    settings = IES.model_validate({"scale": 1} | enhance)
    enlarged = parts.enhancement.enhance([batch], settings)
    for image in parts.conversion.convert(enlarged, ICS()):
        yield parts.results_store.keep(image, "").id, kind


def _drawing() -> Image.Image:
    """Dark lines on white."""
    levels = np.full((64, 64, 3), 255, np.uint8)
    levels[20:44, 20:24] = levels[20:24, 20:44] = levels[40:44, 20:44] = 20
    return Image.fromarray(levels)


def every_model(folder: Path, workspace: Workspace) -> Iterator[tuple[str, IGME]]:
    """The shipped models, and one of seeded weights of each family, in the workspace."""
    for name in ("shipped", "shipped-sketch"):
        yield name, IGME.open(find_shipped(Path(name)))
    for name, config in TINY.items():
        torch.manual_seed(0)
        network = (
            FAMILIES[name]
            .method()
            .build_network(FAMILIES[name].config.model_validate(config), Shape(16, 2))
        )
        weights = {key: value.clone() for key, value in network.state_dict().items()}
        yield f"{name}, seeded weights", _model(workspace, name, config, weights, ("a", "b"))
    torch.manual_seed(0)
    pipeline = folder / "pipeline"
    text_pipeline(folder).save_pretrained(pipeline)
    config = dict(adopt(str(pipeline)).config)
    yield (
        "stable_diffusion, seeded weights",
        _model(workspace, "stable_diffusion", config, {}, ("a",)),
    )


def _model(
    workspace: Workspace,
    family: str,
    config: dict[str, object],
    weights: dict[str, torch.Tensor],
    styles: tuple[str, ...],
) -> IGME:
    """A model of seeded weights, as a training or `adopt` leaves it in the workspace."""
    folder = workspace.models_folder / family
    folder.mkdir(parents=True)
    checked = FAMILIES[family].config.model_validate(config)
    model = IGME(
        directory=folder,
        family=family,
        config=checked.model_dump(mode="json"),
        weights_sha256=save_weights(folder / "weights.safetensors", weights),
        resolution=16,
        styles=styles,
        dataset_name="seeded",
        dataset_digest=None,
        images_seen=0,
    )
    (folder / MODEL_FILE).write_text(model.manifest())
    complete_model(model)
    return model


if __name__ == "__main__":
    main()
