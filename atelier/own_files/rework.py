"""A person's own picture => what a model makes of it, with all that the file held beside it."""

from collections.abc import Callable
from pathlib import Path

from atelier.own_files.requests import Requests
from interfaces.batch import Carried
from interfaces.errors import AtelierError
from interfaces.igdt import IGDT, ImageGenerator
from interfaces.igme import IGME
from interfaces.igs import IGS
from interfaces.iodt import IODT
from interfaces.progress import Progress
from interfaces.record import FileOrigin, GeneratedOrigin, Record, published


class Rework:
    """Maker of one picture from each file: the settings' first seed, the file as their `source`.

    What the settings or the model cannot do with any file is refused at once, with an
    `AtelierError`.
    """

    def __init__(
        self,
        generator: ImageGenerator,
        model: IGME,
        settings: IGS,
        read_picture: Callable[[Path], IGDT],
        progress: Progress,
        requests: Requests,
    ) -> None:
        self._requests = requests
        self._generator = generator
        self._model = model
        self._read_picture = read_picture
        self._progress = progress
        first = settings.chosen_seeds[0]
        changes = {"source": None, "seeds": (first,), "skip": 0, "batch_size": 1}
        self._settings = settings.model_copy(update=changes)
        self._planned = generator.planned(model, self._settings)

    def read(self, path: Path) -> IGDT:
        """Picture that the model makes of a file: a batch of one, upright.

        It carries the file's profile, EXIF, XMP, texts, bit depth and pixels an inch, but may have
        colours where the file was grey; opacity goes with it where the picture has the file's size.
        Raises `AtelierError` where the file is no picture, or one the model can do nothing with.
        """
        own = self._read_picture(path)
        settings = self._settings.model_copy(update={"source": path})
        try:
            (made,) = self._generator.generate(self._model, settings, self._progress)
        except AtelierError as error:
            said = str(error)
            raise type(error)(said if str(path) in said else f"{path}: {said}") from error
        is_same_size = made.images.shape == own.images.shape
        carried = tuple(map(_with_colours, own.carried or (), made.carried or (Carried(),)))
        return IGDT(
            images=made.images,
            origins=made.origins,
            alpha=own.alpha if is_same_size else None,
            carried=carried or None,
        )

    def file_of(self, record: Record, sha256: str) -> FileOrigin | None:
        """The file that a result was made from; None where this gives another result."""
        origin = record.origin
        if origin.kind != "generated":
            return None
        sources = [given for given in origin.inputs if given.role == "source"]
        others = tuple(given for given in origin.inputs if given.role != "source")
        made_of = origin.model_copy(update={"inputs": others})
        # A published record says too little, so what was asked for is kept beside it.
        if record.is_published and not self._requests.made(sha256, self._planned):
            return None
        planned = published(self._planned) if record.is_published else self._planned
        if not sources or self._known(made_of) != planned:
            return None
        return FileOrigin(name=sources[0].name, sha256=sources[0].sha256)

    def keep(self, image: IODT) -> None:
        """Note what was asked for, where the picture's own record does not say it."""
        if image.record.is_published:
            self._requests.note(image.sha256, self._planned)

    def _known(self, origin: GeneratedOrigin) -> GeneratedOrigin:
        """An origin by what can be planned; this model by its newest digest."""
        known = origin.model_digest
        if self._model.is_known_as(known):
            known = self._planned.model_digest
        found = {"originality": None, "nearest_sha256": None, "model_digest": known}
        return origin.model_copy(update=found)


def _with_colours(own: Carried, made: Carried) -> Carried:
    """The file's `Carried` for a picture in colours, with the credentials of the other inputs."""
    known = {one.sha256 for one in own.ingredients}
    others = tuple(one for one in made.ingredients if one.sha256 not in known)
    return own.model_copy(update={"mode": "RGB", "ingredients": own.ingredients + others})
