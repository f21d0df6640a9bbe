"""One open stream: an event stream or a WebSocket, of one channel or of many.

The task of the server's call waits in ``receive`` all the while. Readers that are
level with their channel are in an audience: who wakes that writes to all of them, in
the middle of the fan-out, as long as each write ends at once. Where a write has to
wait for the client, and where a reader has to look in the store, a worker takes over,
the only task beside: what comes meanwhile is not queued but read later on, from where
the client is.
"""

import asyncio
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from functools import partial
from typing import Any

from pushserver.conf.locations import Location
from pushserver.consumers import endpoints
from pushserver.consumers.endpoints import Receive
from pushserver.consumers.feeds import Feed, Reader
from pushserver.consumers.spellings import Entry, Spelling
from pushserver.consumers.writing import Writer, write_to_all
from pushserver.engine import deadlines
from pushserver.engine.waiters import Ending, Follower, Members, Outcome, Waiter
from pushserver.messages import START, Cursor, Message

__all__ = ["Stream"]

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
        self._heartbeat = spelling.heartbeat()
        self._due: deadlines.Due = {}
        feed.on_news = self._hear
        feed.on_level = self._gather

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
        seconds = deadlines.spread(self._location.max_stream_seconds)
        self._started = True
        self._writer.on_wait = self._start_worker
        self._writer.on_end = self._lose
        if self._heartbeat is not None:
            self._beat_later()
        try:
            self._start_worker(entries)
            end = await endpoints.wait(self._news, receive, seconds, on_frame)
            self._gone = self._gone or end is None
        finally:
            self._ended = True
            self._writer.close()
            self._due.pop(self._beat, None)
            try:
                await self._say_goodbye()
            finally:
                self._writer.let_go()
        # An OSError says, as ASGI has it, that the client is gone.
        if self._error is not None and not isinstance(self._error, OSError):
            raise self._error

    def end(self, status: int | None = None) -> None:
        """End soon; with a status for good, else for the client to come back."""
        if not self._ended:
            self._ended, self._status = True, status
            self._writer.close()
            self._news.end(Ending.DEADLINE)

    def work(self) -> None:
        """Have what waits in the feed written, by the worker."""
        if self._worker is None and self._started and not self._ended:
            self._start_worker()

    def _start_worker(self, entries: Sequence[Entry] = ()) -> None:
        self._writer.close()
        loop = asyncio.get_running_loop()
        self._worker = loop.create_task(self._work(entries))

    def _hear(self, reader: Reader, outcome: Outcome | None) -> None:
        if outcome is Ending.SHUTDOWN:
            self.end()
        else:
            self._feed.put_behind(reader)
            self.work()

    def _gather(self, reader: Reader) -> None:
        """Have a reader told with all that are told the same, in the same words."""
        spelling, head, limit = self._spelling, reader.head, self._location.max_answer
        kind = type(spelling), head, limit
        reader.join(self._writer, kind, partial(_write, spelling, head, limit))

    def _beat_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = deadlines.call_in(loop, self._location.heartbeat, self._beat)

    def _beat(self) -> None:
        assert self._heartbeat is not None  # noqa: S101 (else it is not called)
        self._beat_later()
        # Nothing where it is busy: a client that does not read needs no more of it.
        write_to_all([self._writer], self._heartbeat)

    async def _work(self, entries: Sequence[Entry]) -> None:
        try:
            await self._writer.settle()
            while True:
                if entries:
                    for event in self._spelling.events(entries):
                        await self._writer.send(event)
                if self._feed.draining:
                    self.end()
                elif not self._many and not self._feed.readers:
                    self.end(self._feed.status)
                if self._ended or not self._feed.waiting:
                    break
                entries = await self._feed.collect()
        except Exception as error:
            self._lose(error)
        finally:
            self._worker = None
            if not self._ended:
                self._writer.open()

    def _lose(self, error: Exception | None) -> None:
        """End when no more can be written."""
        if error is not None:
            self._error, self._gone = error, True
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
        except OSError:  # of time, too
            pass


def _write(
    spelling: Spelling,
    head: str,
    limit: int,
    members: Members,
    messages: Sequence[Message],
) -> Iterator[tuple[Cursor, list[Follower]]]:
    """Write the messages to an audience."""
    for event, reached in spelling.pieces(head, messages, limit=limit):
        busy = write_to_all(list(members.values()), event)
        yield reached, _whose(members, busy) if busy else []


def _whose(members: Members, writers: Sequence[Writer]) -> list[Follower]:
    those = set(writers)
    return [follower for follower, writer in members.items() if writer in those]
