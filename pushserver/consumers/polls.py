"""One long poll of many channels: what is there for it, and when it is answered.

The theory. A poll costs as much for a channel without news as for one that has some,
so an answer is worth the more, the more it carries. Who has just asked waits a moment
for what else comes: nobody is answered sooner than ``GATHERING`` after the request.
Who has waited longer than that is answered at once, so ordinary traffic is not
delayed; a client that is flooded makes fifty requests a second, and no more.

Each channel is a plain subscription, whose waiter ends with the first message. What
follows in the moment that is left is in the tail, and nobody is parked for it again.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Self

from pushserver.consumers import frames
from pushserver.consumers.feeds import AT_ONCE, Found, ask, status_of
from pushserver.consumers.spellings import reason_of
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.engine.subscription import Subscription
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery, Ending, Waiter
from pushserver.messages import START, Cursor, Message
from pushserver.requests import ConnectionSignals

__all__ = ["GATHERING", "Poll"]

GATHERING = 0.02
"""The seconds that a request waits for company when there is something to tell."""


class Reader(Subscription):
    """One channel of a poll. ``found`` is what it got instead of being parked."""

    __slots__ = ("found", "wanted")

    found: Found
    wanted: Wanted

    @classmethod
    def of(cls, readers: Subscriptions, wanted: Wanted) -> Self:
        """Return that of a channel; where it has a waiter it has begun."""
        _, key, cursor, location = wanted
        concurrency, self = location.concurrency, None
        if concurrency == "broadcast" and location.create_on_get:
            self = cls.resumed(readers, key, cursor)
        if self is None:
            first = location.first_message
            self = cls(
                readers, key, cursor, first_message=first, concurrency=concurrency
            )
        self.wanted, self.found = wanted, None
        return self

    def begin_at_once(self) -> bool:
        """Do as ``begin`` does, but return False where somebody has to be asked."""
        messages = self._at_once()
        if messages is None:
            return False
        self.found = self._conclude(messages, wait=True)
        return True

    @property
    def outcome(self) -> Found:
        """What there is to tell by now, None when nothing has come."""
        if self.found is not None or self.waiter is None:
            return self.found
        return self.waiter.outcome

    def messages(self, delivery: Delivery) -> Sequence[Message]:
        """Return what was delivered, and what the tail has after that by now."""
        last, tail = delivery.messages[-1].id, self._live.tail
        if last == tail.newest:
            return delivery.messages
        more = tail.after(last, self._subscriptions.clock()) or ()
        return [*delivery.messages, *more]


class Poll:
    """Use it in a ``with``; ``begin`` it, and answer when ``news`` has ended."""

    def __init__(self, subscriptions: Subscriptions, *, limit: int) -> None:
        self.news = Waiter(START, gap=False)
        self._subscriptions = subscriptions
        self._loop = subscriptions.hub.loop
        self._ripe_at = self._loop.time() + GATHERING
        self._limit = limit
        self._waiting = 0  # bytes, about
        self._readers: list[Reader] = []
        self._refused: list[str] = []
        self._gathering = False
        self._signals: ConnectionSignals | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for reader in self._readers:
            reader.__exit__()
            if self._signals is not None:
                self._signals.unsubscribe(reader.wanted.key[1])
        self._readers.clear()  # their waiters know us, and the collector has enough

    async def begin(self, wanted: Iterable[Wanted | Refused]) -> None:
        """Look at the channels, until there is enough for an answer."""
        later = []
        # Who is furthest behind comes first, or a channel that fills every answer
        # would keep the others waiting.
        for one in sorted(wanted, key=_last_seen):
            if isinstance(one, Refused):
                self._refused.append(frames.error(one.head, one.status, one.reason))
                continue
            reader = Reader.of(self._subscriptions, one).__enter__()
            self._readers.append(reader)
            if reader.waiter is not None:
                reader.waiter.on_end = self._hear
            elif not (one.location.create_on_get and reader.begin_at_once()):
                later.append(reader)
            else:
                self._note(reader)
                if self._waiting >= self._limit:
                    break
        down: set[str] = set()
        while later:  # one lot at least: they are further behind than what fills it
            now, later = later[:AT_ONCE], later[AT_ONCE:]
            await asyncio.gather(*(self._ask(reader, down) for reader in now))
            if self._waiting >= self._limit:
                break
        if self._waiting >= self._limit:
            self.news.end(Ending.DEADLINE)
        elif self._refused:
            self._hear()

    async def _ask(self, reader: Reader, down: set[str]) -> None:
        _, key, _, location = reader.wanted
        must_exist = not location.create_on_get
        reader.found = await ask(key, reader.begin, down, must_exist=must_exist)
        self._note(reader)

    def _note(self, reader: Reader) -> None:
        """Take note of what the first look has found, and hear what comes after it."""
        if reader.waiter is not None:
            reader.waiter.on_end = self._hear
        found = reader.outcome
        if isinstance(found, Delivery):
            self._waiting += sum(len(message.body) for message in found.messages)
        if found is not None or reader.gap:
            self._hear()

    def _hear(self) -> None:
        """End the poll in time; called for whatever there is to tell."""
        if self._subscriptions.draining:
            self.news.end(Ending.DEADLINE)
        elif not self._gathering:
            self._gathering = True
            left = self._ripe_at - self._loop.time()
            if left > 0:
                self._loop.call_later(left, self.news.end, Ending.DEADLINE)
            else:
                self.news.end(Ending.DEADLINE)

    def tell(self, signals: ConnectionSignals) -> None:
        """Have receivers told of each channel, if it is held, and of its end."""
        if not self._gathering and self.news.outcome is None:
            self._signals = signals
            for reader in self._readers:
                signals.subscribe(reader.wanted.key[1])

    def entries(self) -> list[str]:
        """Return what there is to tell: about the limit, or one message above it."""
        entries = self._refused
        room = self._limit - sum(map(len, entries))
        for reader in self._readers:
            found = reader.outcome
            if isinstance(found, Delivery):
                gap = found.gap
                for message in reader.messages(found):
                    if room <= 0:
                        return entries
                    entry = frames.message_frame(reader.wanted.head, message, gap=gap)
                    entries.append(entry)
                    room -= len(entry)
                    gap = False
            elif found is None:
                if reader.gap:
                    entries.append(self._place(reader))
            elif found is not Ending.SHUTDOWN:
                status = status_of(found)
                entry = frames.error(reader.wanted.head, status, reason_of(status))
                entries.append(entry)
        return entries

    def places(self) -> list[str]:
        """Return where the channels stand that stand elsewhere than the client says."""
        return [
            self._place(reader)
            for reader in self._readers
            if reader.position != reader.wanted.cursor
        ]

    def _place(self, reader: Reader) -> str:
        return frames.position(reader.wanted.head, reader.position, gap=reader.gap)


def _last_seen(one: Wanted | Refused) -> Cursor:
    return START if isinstance(one, Refused) else one.cursor or START
