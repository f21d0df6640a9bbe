"""The channels that one connection listens to, and what it has yet to be told of them.

A feed holds for each channel a position and one bit: whether there may be more. What
waits is collected in pieces, from the tails and the store, when the client can take
it. So a slow client costs what a fast one does, however many channels it has.
"""

import asyncio
from collections.abc import Awaitable, Callable

from pushserver.conf.locations import Location
from pushserver.consumers.spellings import Entry, Spelling, reason_of
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.engine import publishing
from pushserver.engine.following import Following
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery, Ending, Key, Outcome
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor
from pushserver.requests import ConnectionSignals

__all__ = ["AT_ONCE", "Feed", "Found", "Reader", "ask", "status_of"]

AT_ONCE = 50
"""Reads under way for one client: each may call the layer and the store."""

_STATUS = {Ending.DELETED: 410, Ending.CONFLICT: 409}

Found = Outcome | int | None
"""What a reader found: something, nothing, or the status of an error."""


async def ask(
    key: Key,
    read: Callable[[], Awaitable[Outcome | None]],
    down: set[str],
    *,
    must_exist: bool,
) -> Found:
    """Return what reading a channel finds; ``down`` are stores that do not answer.

    A thousand channels shall not wait for such a store one by one.
    """
    if key[0] in down:
        return 503
    try:
        if must_exist and not await publishing.exists(key):
            return 404
        return await read()
    except StoreUnavailable:
        down.add(key[0])
        return 503


def _nothing(*args: object) -> None:
    pass


def status_of(found: Ending | int) -> int:
    """Return the status that the end of a channel is told with."""
    return _STATUS[found] if isinstance(found, Ending) else found


class Reader(Following):
    """One channel of a feed."""

    def __init__(
        self,
        feed: "Feed",
        head: str,
        subscriptions: Subscriptions,
        key: Key,
        cursor: Cursor | None,
        location: Location,
    ) -> None:
        super().__init__(
            subscriptions,
            key,
            cursor,
            first_message=location.first_message,
            concurrency=location.concurrency,
        )
        self.head = head
        self.key = key
        self.must_exist = not location.create_on_get
        self.announced = False
        self._feed = feed

    def hear(self, outcome: Outcome | None) -> None:
        self._feed.on_news(self, outcome)


class Feed:
    """Collects what its readers find. Use it in a ``with``.

    ``on_news`` is called as a Following's ``hear``, with the reader before what came;
    it may call ``put_behind``. ``on_level`` is called with a reader when there was
    nothing more for it. ``on_begin`` and ``on_close`` are called with each reader
    that was let in, once. ``status`` is that of the last reader that ended;
    ``draining`` says that nobody is let in any more.
    """

    def __init__(
        self, subscriptions: Subscriptions, spelling: Spelling, *, limit: int
    ) -> None:
        self.readers: dict[str, Reader] = {}
        self.let_go()
        self.on_begin: Callable[[Reader], None] = _nothing
        self.on_close: Callable[[Reader], None] = _nothing
        self.status: int | None = None
        self.draining = False
        self._subscriptions = subscriptions
        self._spelling = spelling
        self._limit = limit
        self._behind: dict[Reader, None] = {}
        self._notes: list[Entry] = []

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for head in list(self.readers):
            self.close(head)
        self.let_go()

    @property
    def waiting(self) -> bool:
        """Whether there may be something to collect."""
        return bool(self._behind or self._notes) and not self.draining

    def let_go(self) -> None:
        """Call nobody: a stream and its feed would be a circle for the collector."""
        self.on_news: Callable[[Reader, Outcome | None], None] = _nothing
        self.on_level: Callable[[Reader], None] = _nothing

    def tell(self, signals: ConnectionSignals | None) -> None:
        """Have receivers told of each channel that is let in, and of its end."""
        if signals is not None:
            self.on_begin = lambda reader: signals.subscribe(reader.key[1])
            self.on_close = lambda reader: signals.unsubscribe(reader.key[1])

    def open(
        self, head: str, key: Key, cursor: Cursor | None, location: Location
    ) -> None:
        """Listen to a channel from now on; one of that name before is closed."""
        self.close(head)
        reader = Reader(self, head, self._subscriptions, key, cursor, location)
        reader.__enter__()
        self.readers[head] = reader
        self.put_behind(reader)

    def has_room(self, head: str, most: int) -> bool:
        """Whether this channel may be added, or is there already."""
        return head in self.readers or len(self.readers) < most

    def take(self, found: Wanted | Refused) -> None:
        """Listen to one of many channels, or have it said why not."""
        if isinstance(found, Wanted):
            self.open(*found)
        else:
            self.close(found.head)
            self._notes += self._spelling.end(found.head, found.status, found.reason)

    def note(self, entry: Entry) -> None:
        """Have an entry of no channel sent."""
        self._notes.append(entry)

    def close(self, head: str) -> None:
        """Listen to a channel no more; no-op when it is not there."""
        reader = self.readers.pop(head, None)
        if reader is not None:
            self._behind.pop(reader, None)
            reader.__exit__()
            if reader.announced:
                self.on_close(reader)

    def put_behind(self, reader: Reader) -> None:
        """Take note that there may be more for this reader."""
        self._behind[reader] = None

    async def collect(self) -> list[Entry]:
        """Return entries of what waits: ``limit`` bytes, or one message above that.

        Nothing may wait although ``waiting`` said so.
        """
        entries, self._notes = self._notes, []
        room = self._limit - sum(map(len, entries))
        down: set[str] = set()
        while self._behind and room > 0 and not self.draining:
            readers = list(self._behind)[:AT_ONCE]
            for reader in readers:
                # Before the look: what comes meanwhile puts it back.
                del self._behind[reader]
            outcomes = await self._look(readers, down)
            for reader, outcome in zip(readers, outcomes, strict=True):
                if self.readers.get(reader.head) is not reader:
                    continue  # closed meanwhile
                if outcome is None and reader in self._behind:
                    continue  # news meanwhile: the next look tells where it stands
                if room > 0:
                    room -= self._tell(reader, outcome, entries, room)
                else:
                    self._behind[reader] = None
        return entries

    async def _look(self, readers: list[Reader], down: set[str]) -> list[Found]:
        if len(readers) == 1:
            return [await self._next(readers[0], down)]
        return await asyncio.gather(*(self._next(each, down) for each in readers))

    async def _next(self, reader: Reader, down: set[str]) -> Found:
        must_exist = reader.must_exist and not reader.begun
        return await ask(reader.key, reader.next, down, must_exist=must_exist)

    def _tell(
        self, reader: Reader, found: Found, entries: list[Entry], room: int
    ) -> int:
        """Add the entries of what a reader found; return how much that was."""
        before, spelling = len(entries), self._spelling
        if found is Ending.SHUTDOWN:
            self.draining = True  # it is of the whole connection
        elif isinstance(found, Ending | int):
            self.status = status_of(found)
            entries += spelling.end(reader.head, self.status, reason_of(self.status))
            self.close(reader.head)
        else:
            lost = found is None and reader.gap
            if lost or not reader.announced:
                entries += spelling.position(reader.head, reader.position, gap=lost)
            if lost:
                reader.admit()
            if not reader.announced:
                reader.announced = True
                self.on_begin(reader)
            if found is None:
                self.on_level(reader)
            else:
                self._tell_messages(reader, found, entries, room)
        return sum(map(len, entries[before:]))

    def _tell_messages(
        self, reader: Reader, delivery: Delivery, entries: list[Entry], room: int
    ) -> None:
        gap = delivery.gap
        for message in delivery.messages:
            entry = self._spelling.message(reader.head, message, gap=gap)
            entries.append(entry)
            reader.advance(message)
            gap = False
            room -= len(entry)
            if room <= 0:
                break
        # There may be more in the store than one read returns.
        self._behind[reader] = None
