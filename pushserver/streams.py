"""One open stream: an event stream or a WebSocket, of one channel or of many.

The task of the server's call waits in ``receive`` all the while. Who wakes a reader
writes through the stream's own ``send``, in the middle of the fan-out, as long as
each write ends at once. Where a write has to wait for the client, and where a reader
has to look in the store, a worker takes over, the only task beside: what comes
meanwhile is not queued but read later on, from where the client is.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from pushserver import deadlines, endpoints
from pushserver.endpoints import ClientGone, Receive
from pushserver.feeds import Feed, Reader
from pushserver.locations import Location
from pushserver.messages import START
from pushserver.spellings import Entry, Spelling
from pushserver.waiters import Delivery, Ending, Outcome, Waiter
from pushserver.writing import Writer

__all__ = ["Stream"]

# Streams end at 80 to 100 % of their time, so that readers spread.
_UNTIL = (0.8, 1.0)
# A client that does not read does not hear goodbye.
_GOODBYE = 1.0


class Stream:
    """Writes what its feed finds until it ends. ``many``: readers may come and go."""

    def __init__(
        self,
        feed: Feed,
        spelling: Spelling,
        writer: Writer,
        location: Location,
        *,
        many: bool,
    ) -> None:
        self._feed = feed
        self._spelling = spelling
        self._writer = writer
        self._location = location
        self._many = many
        self._worker: asyncio.Task[None] | None = None
        self._started = self._ended = self._gone = False
        self._status: int | None = None
        self._error: Exception | None = None
        self._news = Waiter(START, gap=False)
        self._due: deadlines.Due = {}
        feed.on_news = self._hear

    async def run(
        self,
        receive: Receive,
        entries: Sequence[Entry] = (),
        on_frame: Callable[[MutableMapping[str, Any]], None] = lambda frame: None,
    ) -> None:
        """Write until the client is gone, a channel or the time ends, or shutdown.

        ``entries`` were collected already, and come first. ``on_frame`` gets what the
        client sends; it may call ``end`` and ``work``. When cancelled it says goodbye,
        too.
        """
        seconds = self._location.max_stream_seconds * random.uniform(*_UNTIL)
        self._started = True
        if self._spelling.heartbeat() is not None:
            self._beat_later()
        try:
            self._start_worker(entries=entries)
            end = await endpoints.wait(self._news, receive, seconds, on_frame)
            self._gone = self._gone or end is None
        finally:
            self._ended = True
            self._due.pop(self._beat, None)
            await self._say_goodbye()
        if self._error is not None and not isinstance(self._error, ClientGone):
            raise self._error

    def end(self, status: int | None = None) -> None:
        """End soon; with a status for good, else for the client to come back."""
        if not self._ended:
            self._ended, self._status = True, status
            self._news.end(Ending.DEADLINE)

    def work(self) -> None:
        """Have what waits in the feed written, by the worker."""
        if self._worker is None and self._started and not self._ended:
            self._start_worker()

    def _start_worker(
        self,
        *,
        unfinished: Awaitable[None] | None = None,
        entries: Sequence[Entry] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self._worker = loop.create_task(self._work(unfinished, entries))

    def _hear(self, reader: Reader, outcome: Outcome | None) -> None:
        if self._ended:
            return
        if outcome is Ending.SHUTDOWN:
            self.end()
        elif (
            self._worker is None
            and self._started
            and type(outcome) is Delivery
            and not outcome.gap
            and (len(outcome.messages) == 1 or self._fits(outcome))
            and (event := self._spelling.at_once(reader.head, outcome.messages))
        ):
            reader.advance(outcome.messages[-1])
            self._write(event)
        else:
            self._feed.put_behind(reader)
            self.work()

    def _fits(self, delivery: Delivery) -> bool:
        size = sum(len(message.body) for message in delivery.messages)
        return size <= self._location.max_answer

    def _beat_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = deadlines.call_in(loop, self._location.heartbeat, self._beat)

    def _beat(self) -> None:
        self._beat_later()
        # A client that does not read is no reason to write more.
        if self._worker is None and (event := self._spelling.heartbeat()):
            self._write(event)

    def _write(self, event: MutableMapping[str, Any]) -> None:
        """Write from whatever task this is; it must not get our errors."""
        try:
            rest = self._writer.start(event)
        except Exception as error:
            self._fail(error)
            return
        if rest is not None:
            self._start_worker(unfinished=rest)
        elif self._writer.full:
            self.end()

    async def _work(
        self, unfinished: Awaitable[None] | None, entries: Sequence[Entry]
    ) -> None:
        try:
            if unfinished is not None:
                await unfinished
            while True:
                if entries:
                    for event in self._spelling.events(entries):
                        await self._writer.send(event)
                if self._writer.full or self._feed.draining:
                    self.end()
                elif not self._many and not self._feed.readers:
                    self.end(self._feed.status)
                if self._ended or not self._feed.waiting:
                    break
                entries = await self._feed.collect()
        except Exception as error:
            self._fail(error)
        finally:
            self._worker = None

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._gone = True
        self.end()

    async def _say_goodbye(self) -> None:
        worker = self._worker
        if worker is not None:
            worker.cancel()
            await asyncio.wait([worker])
        if self._gone:
            return
        try:
            async with asyncio.timeout(_GOODBYE):
                await self._writer.send(self._spelling.final(self._status))
        except (TimeoutError, ClientGone):
            pass
