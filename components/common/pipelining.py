"""Two stages at once: the next batch is made here while the last one is worked on beside."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def overlapped(
    batches: Iterable[Batch], stage: Callable[[Iterable[Batch]], Iterator[Result]]
) -> Generator[Result]:
    """Run `stage` in a second thread; yield what `stage(batches)` gives, in the same order.

    Taking a batch (its enlargement) stays in the caller's thread, so that Ctrl-C stops that at
    once; `stage` (its encoding) runs beside it, on one batch at a time. At most two batches are
    held: one being made, one being worked on. Errors of both sides are raised here, those of
    taking a batch once all before it have been given out; closing the generator waits for the
    batch that `stage` has begun, and no longer.
    """
    pending: Future[list[Result]] | None = None
    iterator = iter(batches)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="stage") as worker:
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                break
            except Exception:
                if pending is not None:
                    yield from pending.result()
                raise
            finished, pending = pending, None
            if finished is not None:
                yield from finished.result()
            pending = worker.submit(_work, stage, batch)
            del batch  # or it would be held while the next one is made
        if pending is not None:
            yield from pending.result()


def _work(stage: Callable[[Iterable[Batch]], Iterator[Result]], batch: Batch) -> list[Result]:
    return list(stage([batch]))
