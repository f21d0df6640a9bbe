"""The one algorithm by which a reader gets every message after its cursor, once.

The theory. The store is the truth, a wake-up only a hint. A reader registers, then
makes sure that the process is in the channel's group, then reads, then waits: in
that order (design, promise 4). Read first, and a message that comes between the
read and the registration would wait for the next one. So:

1. register (synchronously): wake-ups of the channel refresh its tail from now on;
2. join: from now on other processes' wake-ups reach this one;
3. read after the cursor, from the tail where it is sure, else from the store;
4. park, in the same step of the loop in which the read turned out empty.

A wake-up that is lost is made good by verification: every ``resync`` seconds the
heads of all live channels are compared with the store. The tail is trusted only
for so long.
"""

import asyncio
from collections.abc import Sequence
from typing import Literal, Self

from pushserver.engine.live import LiveChannel
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery, Ending, Key, Outcome, Waiter
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Head

__all__ = ["Subscription"]

# After the start: who comes back from an empty channel with 0-0 has waited for its
# first message, of waived storage too; who comes without a cursor has not.
_BACK_AT_START = Cursor(0, 1)
# Seconds by which no two clocks differ: an id that lies further ahead is made up.
_FUTURE = 86_400


class Subscription:
    """One reader's stream of messages after its cursor. Use it in a ``with``."""

    __slots__ = ("_concurrency", "_from_end", "_gap", "_key", "_left", "_live",
                 "_position", "_resync", "_seen", "_subscriptions",
                 "waiter")  # fmt: skip

    def __init__(
        self,
        subscriptions: Subscriptions,
        key: Key,
        cursor: Cursor | None,
        *,
        first_message: Literal["oldest", "newest"] | int = "oldest",
        concurrency: Literal["broadcast", "last", "first"] = "broadcast",
    ) -> None:
        self.waiter: Waiter | None = None
        self._subscriptions = subscriptions
        self._key = key
        self._from_end = first_message if cursor is None else "oldest"
        self._concurrency = concurrency
        self._position = cursor or START
        # Like the position, and never below what is forgotten.
        self._seen = START if cursor is None else max(cursor, _BACK_AT_START)
        self._gap = self._left = False
        self._resync = subscriptions.config.resync
        self._live: LiveChannel

    @classmethod
    def resumed(
        cls, subscriptions: Subscriptions, key: Key, cursor: Cursor | None
    ) -> Self | None:
        """Return that of a reader who has surely seen all there is, parked already.

        So are nearly all polls; the algorithm is for the others, who get None.
        """
        live = subscriptions.channels.get(key)
        if (
            live is None
            or live.tail.newest != cursor
            or not live.known
            or subscriptions.draining
            or not live.trusted(subscriptions.config.resync)
        ):
            return None
        self = cls.__new__(cls)
        self._subscriptions, self._live = subscriptions, live
        self._position, self._gap = cursor, False
        live.membership.enter(subscriptions.hub.loop.time())
        self.waiter = Waiter(cursor, gap=False)
        live.membership.waiters.park(self.waiter)
        return self

    def __enter__(self) -> Self:
        if self.waiter is None:
            self._live = self._subscriptions.live(self._key)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._left = True
        if self.waiter is not None:
            self._live.membership.waiters.discard(self.waiter)
        self._subscriptions.hub.leave(self._live.membership)

    @property
    def gap(self) -> bool:
        """Whether the reader has lost messages and was not told yet."""
        return self._gap or (self.waiter is not None and self.waiter.gap)

    @property
    def position(self) -> Cursor:
        """What the reader should come back with when nothing is delivered.

        Its own cursor, or where it was placed: so that it is told of a loss once.
        """
        if self.waiter is not None and self.waiter.gap and not self._gap:
            return self.waiter.seen if self._live.known else START
        return self._position

    async def begin(self, *, wait: bool = True) -> Outcome | None:
        """Return what is there for the reader, None when there is nothing new.

        Then, with ``wait``, it is parked and ``waiter`` ends with the outcome. A
        reader that may not wait gets the Ending at once. Raises StoreUnavailable.
        """
        messages = self._at_once(wait=wait)
        if messages is None:
            config = self._subscriptions.config
            try:
                # The layer and the store together may take as long as one of them.
                async with asyncio.timeout(config.redis_timeout):
                    return await self._begin(wait=wait)
            except TimeoutError as error:
                raise StoreUnavailable("The store did not answer in time.") from error
        return self._conclude(messages, wait=wait)

    def _at_once(self, *, wait: bool = True) -> Sequence[Message] | None:
        """Return what a steady poll finds, None where somebody has to be asked."""
        if (
            self._from_end != "oldest"
            or self._concurrency != "broadcast"
            or not self._sure(wait=wait)
            or (found := self._in_tail()) is None
        ):
            return None
        return self._connect(found)

    async def _begin(self, *, wait: bool) -> Outcome | None:
        await self._subscriptions.hub.join(self._live.membership)
        messages = await self._from_the_end() or await self._after_seen(wait=wait)
        outcome = self._conclude(messages, wait=wait)
        if self.waiter is not None:
            membership = self._live.membership
            contest = self._subscriptions.contest
            await contest.enter(self._concurrency, membership, self.waiter)
        return outcome

    def _conclude(self, messages: Sequence[Message], *, wait: bool) -> Outcome | None:
        if messages:
            return Delivery(messages, self._gap)
        return self._park() if wait else None

    async def _from_the_end(self) -> Sequence[Message]:
        if self._from_end == "oldest":
            return ()
        history = await self._live.read_all()
        if self._live.known is None:
            # Whoever stays parked is told by what a tail has, so there has to be one.
            await self._live.read(history.head.newest)
        self._settle(history.head)
        # Of waived storage nothing begins: it is for who had the message before.
        kept = [i for i, message in enumerate(history.messages) if message.kept]
        if self._from_end == "newest" or not kept:
            return ()
        return history.messages[kept[-self._from_end :][0] :]

    def _sure(self, *, wait: bool) -> bool:
        """Say whether the tail is enough; who will be held is told what comes soon."""
        broadcast = self._concurrency == "broadcast"
        held = wait and broadcast and not self._subscriptions.draining
        return self._live.trusted(self._resync) and (held or self._live.settled)

    async def _after_seen(self, *, wait: bool = True) -> Sequence[Message]:
        """Return the messages after what was seen; where none, it may be parked."""
        live = self._live
        while True:
            found = self._in_tail()
            if found is not None and not self._sure(wait=wait):
                await live.refresh()
                found = self._in_tail()
            if found is not None:
                return self._connect(found)
            history = await live.read(self._seen)
            if history.messages:
                return self._connect(history.messages)
            self._settle(history.head)
            if self._seen >= live.tail.newest:
                return ()
            # Messages came while we read, and the tail has them; or the store has
            # lost what it had, and the tail will know that.
            await live.refresh()

    def _in_tail(self) -> Sequence[Message] | None:
        """Return what the tail has after what was seen, None if it cannot tell."""
        live = self._live
        if live.known is None:
            return None
        if not live.known and self._seen <= _BACK_AT_START:
            return ()  # nothing was ever published
        return live.tail.after(self._seen, self._subscriptions.clock())

    def _connect(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Note whether something is missing between the cursor and the messages."""
        if messages and self._position > START:
            previous = messages[0].previous
            # An id in between was given by a store that has lost it since.
            unknown = self._seen > previous and not self._seen.is_date
            self._gap |= self._seen < previous or unknown
        return messages

    def _settle(self, head: Head) -> None:
        """Place a reader for whom the store has nothing."""
        if not head.known:
            # A cursor into a channel that was forgotten cannot be connected.
            self._gap |= self._position > START
            self._position = START
        elif self._seen != head.newest:
            # All after it was dropped; or it is from the future, or of a store that
            # has lost it since.
            self._gap |= START < self._position < max(head.newest, self._latest())
            self._position = head.newest
        self._seen = head.newest

    def _latest(self) -> Cursor:
        """Return what no cursor can be above that a store has given."""
        if self._position.is_date:
            return START
        now = self._subscriptions.clock()
        return Cursor(int((now + _FUTURE) * 1000), 0)

    def _park(self) -> Outcome | None:
        waiters = self._live.membership.waiters
        if self._subscriptions.draining:
            return Ending.SHUTDOWN
        if self._left:  # while it looked: nobody would take it out again
            return Ending.DEADLINE
        if self._concurrency == "first" and len(waiters):
            return Ending.CONFLICT
        if self._concurrency == "last":
            waiters.end_all(Ending.CONFLICT)
        self.waiter = self._new_waiter(max(self._seen, self._live.tail.newest))
        waiters.park(self.waiter)
        return None

    def _new_waiter(self, seen: Cursor) -> Waiter:
        return Waiter(seen, gap=self._gap)
