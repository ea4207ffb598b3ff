"""Pictures made one after another, of which a bad one is named and passed over."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from interfaces.errors import AtelierError
from interfaces.igdt import IGDT
from interfaces.iodt import IODT

Piece = TypeVar("Piece")


def made_of_each(
    pieces: Iterable[Piece],
    read: Callable[[Piece], IGDT | None],
    make: Callable[[Iterator[IGDT]], Iterator[IODT]],
    pass_over: Callable[[Piece, AtelierError], None],
) -> Iterator[tuple[Piece, IODT]]:
    """Each piece with the picture made of it, in order.

    `read` gives a batch of one, or None where nothing is to be done; `make` enlarges and encodes
    batches, one picture for each. A piece that either raises `AtelierError` for is handed to
    `pass_over` with that error, and the others are made. Raises what `make` raises before it has
    taken any piece: it would hit them all.
    """
    todo = deque(pieces)
    under_way: deque[Piece] = deque()  # those that were read, in their order

    def batches() -> Iterator[IGDT]:
        while todo:
            piece = todo.popleft()
            try:
                batch = read(piece)
            except AtelierError as error:
                pass_over(piece, error)
                continue
            if batch is not None:
                under_way.append(piece)
                yield batch

    while todo:
        try:
            for image in make(batches()):
                yield under_way.popleft(), image
        except AtelierError as error:
            if not under_way:
                raise  # no piece's fault
            pass_over(under_way.popleft(), error)
            # What was taken in beside it is not to blame: it is taken in again.
            todo.extendleft(reversed(under_way))
            under_way.clear()
