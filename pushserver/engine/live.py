"""One channel that has readers in this process: its tail, its reads, its waking."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from pushserver.engine.hub import Hub, Membership
from pushserver.engine.tails import Tail
from pushserver.engine.waiters import Delivery, Ending, Waiter
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Appended, Head, History, Position, Store

__all__ = ["LiveChannel"]

logger = logging.getLogger(__name__)

_READ_LIMIT = 100  # messages: bounds what one answer of the store can weigh


class LiveChannel:
    """What the readers of one channel on one event loop share.

    The tail grows only by ``refresh``, which reads after the tail's newest id, one
    read at a time. So it is contiguous, and a waiter that has seen the tail's newest
    misses nothing that comes after. ``verified_at`` is the loop's time at which the
    last read began that found the tail to be all there was. ``known`` says whether
    the store knew the channel; None before the first read.
    """

    def __init__(
        self, hub: Hub, store: Store, membership: Membership, empty_tail: Tail
    ) -> None:
        self.membership = membership
        self.tail = empty_tail
        self.known: bool | None = None
        self.verified_at = float("-inf")
        self._deleted = START  # the highest mark that was ever read
        self._since = START  # where the store's memory began
        self._hub = hub
        self._store = store
        self._channel_id = membership.key[1]
        self._refreshing: asyncio.Task[None] | None = None
        self._again = False  # a read was asked for that has not begun
        self._added: list[Appended] = []  # published from here, and not delivered yet
        self._reads: dict[Cursor, asyncio.Task[History]] = {}

    def trusted(self, resync: float) -> bool:
        """Say whether the tail is surely all there is, up to what is under way.

        That is another's wake-up, or what was published here (``settled``).
        """
        joined_at = self.membership.joined_at
        return (
            joined_at is not None
            and not self._again
            and joined_at <= self.verified_at
            and self._hub.loop.time() - self.verified_at <= resync
        )

    @property
    def settled(self) -> bool:
        """Whether all that was published here was delivered; who waits gets it soon."""
        return not self._added

    @property
    def position(self) -> Position:
        """Where the channel stands as far as the tail knows."""
        return Position(self.tail.newest if self.known else self._since, self._deleted)

    # Reading.

    async def read(self, after: Cursor) -> History:
        """Read the store, once for all who ask for the same cursor meanwhile.

        Raises StoreUnavailable.
        """
        task = self._reads.get(after)
        if task is None:
            task = self._reads[after] = self._hub.spawn(self._read(after))
            task.add_done_callback(lambda _: self._reads.pop(after))
            task.add_done_callback(_log_failure)
        # Shielded: a reader that leaves does not end the read of the others.
        return await asyncio.shield(task)

    async def read_all(self) -> History:
        """Read whatever the store keeps of the channel. Raises StoreUnavailable."""
        return await self._store.read(self._channel_id, after=START)

    async def refresh(self) -> None:
        """Bring the tail up to date by a read that begins from now on.

        Raises StoreUnavailable.
        """
        under_way = self._refreshing
        self.refresh_soon()
        if under_way is not None:
            await asyncio.shield(under_way)
        if self._refreshing is not None:
            await asyncio.shield(self._refreshing)

    def refresh_soon(self) -> None:
        """Have the tail brought up to date; a read under way is followed by another.

        Before the first read that is left to whoever reads first.
        """
        self._again = True
        if self._refreshing is None and self.known is not None:
            self._refreshing = self._hub.spawn(self._refresh())
            self._refreshing.add_done_callback(_log_failure)

    async def _refresh(self) -> None:
        try:
            self._again = False
            while not await self._read_on():
                pass
        except Exception:
            self.verified_at = float("-inf")  # there is something that it has not
            raise
        finally:
            self._refreshing = None
        if self._again:
            self.refresh_soon()

    async def _read_on(self) -> bool:
        """Read after the tail; return whether that was all."""
        started, reached = self._hub.loop.time(), self.tail.newest
        self._added.clear()  # the read will find it
        history = await self._store.read(
            self._channel_id, after=reached, limit=_READ_LIMIT
        )
        head, was_known = history.head, bool(self.known)
        if head.newest < reached:  # it has lost what it had told us of
            self._deleted = head.deleted
        self._learn(head)
        fresh = self.tail.extend(history.messages)
        if fresh:
            self._deliver(fresh, since=None if was_known else head.since)
        elif head.newest > self.tail.newest or head.newest < reached:
            self._move(head)
        self.known, self._since = head.known, head.since
        if history.complete:
            self.verified_at = started
        return history.complete

    async def _read(self, after: Cursor) -> History:
        started = self._hub.loop.time()
        history = await self._store.read(
            self._channel_id, after=after, limit=_READ_LIMIT
        )
        head = history.head
        if self.known is not None:
            self._learn(head)
            if head.newest != self.tail.newest:
                self.refresh_soon()
            return history
        # The first read founds the tail: on what it found when that is all.
        found = history.messages if history.complete else ()
        self.tail.clear(found[0].previous if found else head.newest)
        self.tail.extend(found)
        self._learn(head)
        self.known, self._since = head.known, head.since
        self.verified_at = started
        if self._again:
            # Woken meanwhile: perhaps by a message that this read did not see.
            self.refresh_soon()
        return history

    # Waking.

    def wake(self, appended: Appended | None) -> None:
        """Have the readers told soon of what was appended, or of what a read finds.

        Not from here: whoever publishes is not to wait for a fan-out, nor to have it in
        its own task and context.
        """
        if appended is None or self.known is None:
            self.refresh_soon()
        else:
            self._added.append(appended)
            if len(self._added) == 1:
                self._hub.turns.add(self._deliver_added)

    def _deliver_added(self) -> None:
        """Deliver as a read would that found just this; where it might not, read."""
        added, self._added = self._added, []
        reached = self.tail.newest
        for message, head in added:
            if (
                head is None
                or self._refreshing is not None
                or message.previous != reached
                or (head.deleted, head.since) != (self._deleted, self._since)
            ):
                self.refresh_soon()
                return
            reached = message.id
        if added:
            fresh = self.tail.extend([message for message, _ in added])
            since = None if self.known else self._since
            self.known = True
            self._deliver(fresh, since=since)

    def compare(self, head: Head, *, started: float) -> bool:
        """Verify the tail against the store's head; say whether to join the group anew.

        A wake-up was missed, or a layer of the same Redis has lost its memory, too.
        ``started`` is the loop's time before the head was asked for.
        """
        if self.known is None:
            return False
        if head.deleted > self._deleted or (
            head.known and head.newest > self.tail.newest
        ):
            missed = self._refreshing is None and not self._added  # else it has come
            self.refresh_soon()
            return missed
        if head.newest < self.tail.newest:
            # An answer from before the tail's last read, or the store has lost what
            # it had. A read that begins now can tell.
            self.refresh_soon()
            return False
        lost = head.since > self.tail.newest
        if head.newest > self.tail.newest:
            # Nothing was published; only others were forgotten, or everything.
            self._move(head)
        self._learn(head)
        self.verify(started=started)
        return lost

    def verify(self, *, started: float) -> None:
        """Note that the channel has not left its position since that time."""
        self.verified_at = max(started, self.verified_at)

    def _learn(self, head: Head) -> None:
        """Take note of what the store says, in whatever order its answers come."""
        if head.deleted > self._deleted:
            self._deleted = head.deleted
            if self.known is not None:
                self.membership.waiters.end_all(Ending.DELETED)
                self.tail.clear(self.tail.newest)
        if head.newest == self.tail.newest:
            # Else it knows of a message that those who are parked have yet to get:
            # a channel's first one would be told them as a gap.
            self.known, self._since = head.known, head.since

    def _deliver(self, fresh: Sequence[Message], *, since: Cursor | None) -> None:
        """Deliver to all; of a channel's first messages ``since`` when it had none."""
        everything = Delivery(fresh)
        with_gap = Delivery(fresh, gap=True)
        first = fresh[0]
        level = first.previous if since is None else since
        for waiter in self.membership.waiters.take():
            try:
                if waiter.seen >= first.id:
                    self._deliver_rest(waiter, fresh)
                elif waiter.gap or not level <= waiter.seen <= first.previous:
                    waiter.end(with_gap)
                else:
                    waiter.end(everything)
            except Exception:  # the others would be parked nowhere
                logger.exception("A delivery failed")

    def _deliver_rest(self, waiter: Waiter, fresh: Sequence[Message]) -> None:
        """Deliver to a waiter that the store had told of more than the tail knew."""
        rest = [message for message in fresh if message.id > waiter.seen]
        if rest:
            waiter.end(Delivery(rest, gap=waiter.gap))
        else:
            self.membership.waiters.park(waiter)

    def _move(self, head: Head) -> None:
        """Go on from another id without its message.

        It was dropped before we read it; or the store knows nothing of the channel,
        and has forgotten others meanwhile; or it has lost its memory. Of a waiter
        that is ahead of the tail it knows more than we were told.
        """
        reached = max(self.tail.newest, head.newest)
        self.tail.clear(head.newest)
        for waiter in self.membership.waiters:
            if waiter.seen <= reached:
                connected = head.position.level <= waiter.seen <= head.newest
                waiter.move(head.newest, lost=not connected)


def _log_failure(task: asyncio.Task[Any]) -> None:
    # Whoever still waits for the read gets the error too. A wake-up has nobody to
    # tell, and verification looks again.
    if not task.cancelled() and (error := task.exception()):
        if not isinstance(error, StoreUnavailable):
            logger.error("Reading a channel failed", exc_info=error)
        else:
            logger.debug("The store did not answer a read: %s", error)
