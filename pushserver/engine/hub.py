"""One hub per event loop: the inbox, the groups, and the waking.

The theory. A wake-up is a message through the channel layer's group of a channel:
"X now reaches id Y". It may be lost (capacity, reconnect, expiry), doubled or late,
so nothing here is ever the truth: a hub only makes readers look sooner than the
next verification (`upkeep`). What must hold:

* The hub has a layer instance of its own (`wakeups`).
* It has one inbox, and joins a group once per live channel, however many wait.
* The last reader leaves the group only after ``linger`` seconds, because a long
  poll leaves and comes back between two messages.
* ``receive`` is cancelled only at shutdown: some layers lose messages then.
* Wake-ups are of others: who publishes on this loop hands over the message (`live`).
* Hub tasks start in an empty context: what the request of the first poll put into
  context variables is not theirs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from pushserver.conf import Config
from pushserver.engine.turns import Turns
from pushserver.engine.waiters import Key, Membership, OnWakeup
from pushserver.engine.wakeups import Announcer
from pushserver.forks import forget_in_child
from pushserver.stores.base import Appended

__all__ = ["Hub", "HubStatistics", "Key", "Membership", "hub_of", "running_hubs"]

logger = logging.getLogger(__name__)

_TRY_AGAIN = 1.0  # seconds to the next try when the layer does not deliver
_IDLE_PAUSE = 0.05  # seconds, should a layer time out at once
_CANCEL_AGAIN = 0.1  # seconds to the next try when a task goes on
_CHANGES_AT_ONCE = 10  # joins and leaves: each takes a connection of the layer


@dataclass(frozen=True, slots=True, kw_only=True)
class HubStatistics:
    """Channels with a membership, readers on them, and those parked."""

    channels: int
    readers: int
    held: int


class Hub:
    """Owns the inbox of one event loop, and wakes who waits there."""

    def __init__(self, config: Config) -> None:
        self.loop = asyncio.get_running_loop()
        self._config = config
        self._announcer = Announcer(config)
        self._announcer.on_return = self.rejoin_all
        self._layer = self._announcer.layer
        self._closed = False
        self._members: dict[Key, Membership] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self.turns = Turns(self.spawn)
        self._changes = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self._inbox: asyncio.Task[str] = self.spawn(self._open_inbox())
        _hubs[self.loop] = self
        # Also when the loop ends without `close`, as a temporary one does.
        self.spawn(self._listen()).add_done_callback(self._unregister)

    # Membership, for subscriptions.

    def enter(self, key: Key, on_wakeup: OnWakeup) -> Membership:
        """Count the first reader of a channel; from now on wake-ups reach it.

        Further ones enter the membership, which lasts until ``maintain`` forgets it.
        ``on_wakeup`` is called in the loop. Each reader is taken back by ``leave``.
        """
        membership = self._members[key] = Membership(key, on_wakeup)
        membership.enter(self.loop.time())
        return membership

    async def join(self, membership: Membership) -> None:
        """Return once the process is in the channel's group, or could not get in.

        A failure is not raised: the store is the truth, and the group is entered when
        the layer is back.
        """
        if membership.joined_at is not None or self._announcer.outage.down:
            return
        # No longer than one call of the layer, though a leave may have to end first.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.redis_timeout / 2):
                # Shielded, because others wait for the same task.
                if membership.leaving:
                    await asyncio.shield(self.rejoin(membership))
                await asyncio.shield(self.rejoin(membership))

    def rejoin(self, membership: Membership) -> asyncio.Task[None]:
        """Enter the group again, soon, unless a change is under way; return that."""
        if membership.changing is None:
            membership.changing = self.spawn(self._join(membership))
        return membership.changing

    def rejoin_all(self) -> None:
        """Enter every group again, soon: the layer may have forgotten us."""
        for membership in self.memberships():
            self.rejoin(membership)

    def leave(self, membership: Membership) -> None:
        """Take back one ``enter``; the group is left after ``linger`` seconds."""
        membership.readers -= 1
        if not membership.readers:
            membership.left_at = self.loop.time()

    def maintain(self, on_gone: Callable[[Membership], None]) -> None:
        """Renew memberships, and leave the groups that nobody uses any more, soon.

        To be called every few seconds by whoever owns the hub. ``on_gone`` is called
        in the same step of the loop in which a channel is forgotten.
        """
        now = self.loop.time()
        renew_after = (getattr(self._layer, "group_expiry", None) or 86_400) / 3
        for membership in self.memberships():
            joined_at = membership.joined_at
            if membership.changing is not None:
                continue
            if membership.readers:
                if joined_at is None or now - joined_at > renew_after:
                    self.rejoin(membership)
            elif now - membership.left_at >= self._config.linger:
                # From here on a reader that comes back has to join again.
                membership.joined_at, membership.leaving = None, True
                membership.changing = self.spawn(self._forget(membership, on_gone))

    def memberships(self) -> list[Membership]:
        """Return the channels of this hub as they are now."""
        return list(self._members.values())

    def held(self, key: Key) -> int:
        """Return how many readers are parked on the channel. Safe from any thread."""
        membership = self._members.get(key)
        return 0 if membership is None else len(membership.waiters)

    def requested_ago(self, key: Key) -> float | None:
        """Return the seconds since a reader came, None if it was too long ago."""
        membership = self._members.get(key)
        if membership is None:
            return None
        return self.loop.time() - membership.requested_at

    def statistics(self) -> HubStatistics:
        """Return what the hub holds now."""
        members = self._members.values()
        return HubStatistics(
            channels=len(members),
            readers=sum(membership.readers for membership in members),
            held=sum(len(membership.waiters) for membership in members),
        )

    # Wake-ups, from others.

    def tell(self, key: Key) -> None:
        """Wake the readers of the channel. Safe from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.wake, key)
        except RuntimeError:  # the loop was closed since we found the hub
            logger.debug("A hub is gone with its loop")

    def wake(self, key: Key, appended: Appended | None = None) -> None:
        """Make the readers of the channel look. In the loop only.

        What was published from this loop is ``appended``: they are given that.
        """
        if membership := self._members.get(key):
            membership.on_wakeup(appended)

    # Tasks.

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that the hub owns: it is awaited in ``close``."""
        task = self.loop.create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Leave everything and end every task of the hub."""
        self._closed = True
        self._unregister()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.redis_timeout):
                await asyncio.gather(*map(self._part, self.memberships()))
        self._members.clear()
        tasks = pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            # Again: redis-py takes one for its own while it connects.
            _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN)
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._announcer.close()

    def _unregister(self, *_: object) -> None:
        if _hubs.get(self.loop) is self:
            del _hubs[self.loop]
            self._announcer.forget()

    async def _open_inbox(self) -> str:
        while True:
            try:
                new_channel = self._layer.new_channel("pushserver.")
                return str(await self._announcer.call(new_channel))
            except Exception as error:  # whatever a layer raises
                self._announcer.failed(error)
                await asyncio.sleep(_TRY_AGAIN)

    async def _listen(self) -> None:
        inbox = await self._inbox
        # A layer may turn our cancellation into another error.
        while not self._closed:
            try:
                message = await self._layer.receive(inbox)
            except Exception as error:  # whatever a layer raises
                if type(error).__name__ == "TimeoutError":
                    # The core Redis layer, idle for as long as redis-py waits for a
                    # reply: no outage, and not worth a line.
                    await asyncio.sleep(_IDLE_PAUSE)
                else:
                    self._announcer.failed(error)
                    await asyncio.sleep(_TRY_AGAIN)
            else:
                # Our own are old news. And whatever else came here must not end us.
                if message.get("from") != self._announcer.name:
                    self.wake((message.get("store", ""), message.get("channel", "")))

    async def _join(self, membership: Membership) -> None:
        try:
            joined = await self._change(self._layer.group_add, membership)
            membership.joined_at = self.loop.time() if joined else None
        finally:
            membership.changing = None

    async def _forget(
        self, membership: Membership, on_gone: Callable[[Membership], None]
    ) -> None:
        try:
            await self._part(membership)
        finally:
            membership.changing, membership.leaving = None, False
        if membership.readers == 0:  # nobody came meanwhile
            del self._members[membership.key]
            on_gone(membership)

    async def _part(self, membership: Membership) -> None:
        # Where it fails the group expires.
        await self._change(self._layer.group_discard, membership)

    async def _change(
        self, command: Callable[[str, str], Awaitable[None]], membership: Membership
    ) -> bool:
        """Join or leave a group, a few at a time; return whether it worked."""
        async with self._changes:
            if self._announcer.outage.down:
                return False
            try:
                await self._announcer.call(self._with_inbox(command, membership))
            except Exception as error:  # whatever a layer raises
                self._announcer.failed(error)
                return False
            return True

    async def _with_inbox(
        self, command: Callable[[str, str], Awaitable[None]], membership: Membership
    ) -> None:
        # Shielded: a call that takes too long must not end it for the others.
        await command(membership.group, await asyncio.shield(self._inbox))


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
forget_in_child(_hubs)


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return the hub of that loop, None when it has none."""
    return _hubs.get(loop)


def running_hubs() -> list[Hub]:
    """Return the hubs of this process. Safe from any thread."""
    return [hub for hub in list(_hubs.values()) if hub.loop.is_running()]
