"""Events as they happen, to any number of listeners (server-sent events, WHATWG HTML 9.2)."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress

from interfaces.errors import AtelierError
from interfaces.iodt import ResultQuery, ResultsGallery
from interfaces.jobs import ENDED, JobEvent, JobQueue

_LOOK_SECONDS = 0.1
_WAIT_SECONDS = 0.5
_STORE_SECONDS = 1.0
"""Seconds for which figures about the store are reused."""
_ALIVE_SECONDS = 15.0
_AT_ONCE = 500

MAX_LISTENERS = 200


class Streams:
    """Follows the queue's events and the store; one look at either serves all listeners."""

    def __init__(self, queue: JobQueue, store: ResultsGallery) -> None:
        self._queue = queue
        self._store = store
        self._num_changes = 0
        self._held = ""
        self._held_at = 0.0
        self._last = 0
        self._changed = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None
        self._num_waiting = 0
        self.num_listeners = 0

    async def follow(
        self, after: int, job_id: int | None, is_closing: Callable[[], bool]
    ) -> AsyncGenerator[str]:
        """Events after that number as text, as long as the listener stays.

        Those of one job end with it. Those of all include the state of the store, which has no
        number, and is sent again to a listener that reconnects.
        """
        self.num_listeners += 1
        held = ""
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
                if job_id is None:
                    before, held = held, await self._holdings()
                    if held != before:
                        yield f"event: results\ndata: {held}\n\n"
                if time.monotonic() - said > _ALIVE_SECONDS:
                    yield ": alive\n\n"  # or something between here and there may hang up
                    said = time.monotonic()
                if len(events) < _AT_ONCE:
                    await self._wait(max(after, seen))
        finally:
            self.num_listeners -= 1

    def note_change(self) -> None:
        """Results were hidden or brought back: every listener is to learn of it."""
        self._num_changes += 1
        self._held_at = 0.0

    async def _holdings(self) -> str:
        """Figures about the store as JSON; keeping, hiding or restoring a result changes them."""
        if time.monotonic() - self._held_at > _STORE_SECONDS:
            self._held_at = time.monotonic()
            with suppress(AtelierError):  # its own routes say what is wrong with it
                self._held = await asyncio.to_thread(self._look_at_store)
        return self._held

    def _look_at_store(self) -> str:
        newest = self._store.page(ResultQuery(deleted="too", limit=1)).results
        held = {
            "newest": newest[0].id if newest else 0,
            "count": self._store.count(ResultQuery()),
            "deleted": self._store.count(ResultQuery(deleted="only")),
            "changes": self._num_changes,
        }
        return json.dumps(held)

    async def _wait(self, after: int) -> None:
        """Wait for an event after that number, for a bounded time."""
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
