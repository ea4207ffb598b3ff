"""Events as they happen, to any number of listeners (server-sent events, WHATWG HTML 9.2)."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from interfaces.jobs import ENDED, JobEvent, JobQueue

_LOOK_SECONDS = 0.1
_WAIT_SECONDS = 0.5
_ALIVE_SECONDS = 15.0
_AT_ONCE = 500

MOST_LISTENERS = 200


class Streams:
    """Follows the queue's events; one look at the queue serves all listeners."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._last = 0
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._num_waiting = 0
        self.num_listeners = 0

    async def follow(
        self, after: int, job_id: int | None, is_closing: Callable[[], bool]
    ) -> AsyncGenerator[str]:
        """Events after that number as text, as long as the listener stays.

        Of one job they end when it has ended.
        """
        self.num_listeners += 1
        try:
            said = time.monotonic()
            yield "retry: 1000\n\n"
            while not is_closing():
                seen = await asyncio.to_thread(self._queue.last_event)
                is_over = job_id is not None and (
                    (await asyncio.to_thread(self._queue.get, job_id)).state in ENDED
                )
                events = await asyncio.to_thread(self._queue.events, after, job_id, _AT_ONCE)
                for event in events:
                    yield _written(event)
                    after, said = event.id, time.monotonic()
                if is_over and len(events) < _AT_ONCE:
                    return
                if time.monotonic() - said > _ALIVE_SECONDS:
                    yield ": alive\n\n"  # or something between here and there may hang up
                    said = time.monotonic()
                if len(events) < _AT_ONCE:
                    await self._wait(max(after, seen))
        finally:
            self.num_listeners -= 1

    async def _wait(self, after: int) -> None:
        """Until there is an event after that number, but not long."""
        if self._last > after:
            return
        self._num_waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), _WAIT_SECONDS)
        finally:
            self._num_waiting -= 1

    async def _look(self) -> None:
        while self._num_waiting:
            last = await asyncio.to_thread(self._queue.last_event)
            if last != self._last:
                self._last = last
                changed, self._changed = self._changed, asyncio.Event()
                changed.set()
            await asyncio.sleep(_LOOK_SECONDS)


def _written(event: JobEvent) -> str:
    # JSON has no bare line ends, so the data is one line.
    return f"id: {event.id}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n"
