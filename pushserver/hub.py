"""One hub per event loop: the inbox, the groups, and the waking.

The theory. A wake-up is a message through the channel layer's group of a channel:
"X now reaches id Y". It may be lost (capacity, reconnect, expiry), doubled or late,
so nothing here is ever the truth: a hub only makes readers look sooner than the
next verification (`subscriptions`). What must hold:

* The hub makes a layer instance of its own. A shared one would starve our inbox
  behind its receive lock, and two loops on one instance raise (design, section 5).
* It has one inbox, and joins a group once per live channel, however many wait.
* The last reader leaves the group only after ``linger`` seconds, because a long
  poll leaves and comes back between two messages.
* ``receive`` is cancelled only at shutdown: some layers lose messages then.
* Hub tasks start in an empty context: what the request of the first poll put into
  context variables is not theirs.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from pushserver.conf import Config
from pushserver.messages import Cursor
from pushserver.names import group_name
from pushserver.waiters import Key, Membership

__all__ = ["Hub", "HubStatistics", "Key", "Membership", "hub_of", "running_hubs"]

logger = logging.getLogger(__name__)

_TRY_AGAIN = 1.0  # seconds to the next try when the layer does not deliver
# Joins and leaves at the same time: a Redis that is back shall not meet thousands.
_CHANGES_AT_ONCE = 50


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
        self._layer = _make_layer(config.layer)
        self._members: dict[Key, Membership] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changes = asyncio.Semaphore(_CHANGES_AT_ONCE)
        self._inbox: asyncio.Task[str] = self.spawn(self._open_inbox())
        _hubs[self.loop] = self
        # Also when the loop ends without `close`, as a temporary one does.
        self.spawn(self._listen()).add_done_callback(self._unregister)

    # Membership, for subscriptions.

    def enter(self, key: Key, on_wakeup: Callable[[], None]) -> Membership:
        """Count a reader of the channel; from now on wake-ups reach it.

        ``on_wakeup`` is used for the channel's first reader only, and called in the
        loop. Each call is paired with one of ``leave``.
        """
        membership = self._members.get(key)
        if membership is None:
            membership = self._members[key] = Membership(key, on_wakeup)
        membership.readers += 1
        membership.requested_at = self.loop.time()
        return membership

    async def join(self, membership: Membership) -> None:
        """Return once the process is in the channel's group, or could not get in.

        A failure is logged, not raised: the store is the truth, and verification
        tries again.
        """
        # Shielded, because others wait for the same task.
        if membership.leaving:
            await asyncio.shield(self.rejoin(membership))
        if membership.joined_at is None:
            await asyncio.shield(self.rejoin(membership))

    def rejoin(self, membership: Membership) -> asyncio.Task[None]:
        """Enter the group again, soon, unless a change is under way; return that."""
        if membership.changing is None:
            membership.changing = self.spawn(self._join(membership))
        return membership.changing

    def leave(self, membership: Membership) -> None:
        """Take back one ``enter``; the group is left after ``linger`` seconds."""
        membership.readers -= 1
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

    # Wake-ups, for publishing.

    async def announce(self, key: Key, reached: Cursor) -> None:
        """Tell every process that the channel reaches that id.

        A failure is logged, not raised: the message is kept, and verification
        finds it.
        """
        wakeup = {"type": "pushserver.wakeup", "store": key[0], "channel": key[1],
                  "id": str(reached)}  # fmt: skip
        try:
            async with asyncio.timeout(self._config.redis_timeout):
                await self._layer.group_send(group_name(*key), wakeup)
        except Exception as error:  # whatever a layer raises
            logger.warning("No wake-up for %r could be sent: %r", key[1], error)

    def tell(self, key: Key) -> None:
        """Wake the readers of the channel. Safe from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.wake, key)
        except RuntimeError:  # the loop was closed since we found the hub
            logger.debug("A hub is gone with its loop")

    def wake(self, key: Key) -> None:
        """Make the readers of the channel look. In the loop only."""
        if membership := self._members.get(key):
            membership.on_wakeup()

    # Tasks.

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that the hub owns: it is awaited in ``close``."""
        task = self.loop.create_task(coroutine, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Leave everything and end every task of the hub."""
        self._unregister()
        await asyncio.gather(*(self._part(each) for each in self.memberships()))
        self._members.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _unregister(self, *_: object) -> None:
        if _hubs.get(self.loop) is self:
            del _hubs[self.loop]

    async def _open_inbox(self) -> str:
        while True:
            try:
                async with asyncio.timeout(self._config.redis_timeout):
                    return str(await self._layer.new_channel("pushserver."))
            except Exception as error:  # whatever a layer raises
                logger.warning("The channel layer gives no inbox: %r", error)
                await asyncio.sleep(_TRY_AGAIN)

    async def _listen(self) -> None:
        inbox = await self._inbox
        delivers = True
        while True:
            try:
                message = await self._layer.receive(inbox)
            except Exception as error:  # whatever a layer raises
                if delivers:
                    logger.warning("The channel layer does not deliver: %r", error)
                delivers = False
                await asyncio.sleep(_TRY_AGAIN)
                continue
            if not delivers:
                logger.warning("The channel layer delivers again")
            delivers = True
            # Whatever else came here must not end the inbox.
            self.wake((message.get("store", ""), message.get("channel", "")))

    async def _join(self, membership: Membership) -> None:
        try:
            async with asyncio.timeout(self._config.redis_timeout), self._changes:
                inbox = await asyncio.shield(self._inbox)
                await self._layer.group_add(membership.group, inbox)
            membership.joined_at = self.loop.time()
        except Exception as error:  # whatever a layer raises
            membership.joined_at = None
            logger.warning("Could not join a group of the channel layer: %r", error)
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
        try:
            async with asyncio.timeout(self._config.redis_timeout), self._changes:
                inbox = await asyncio.shield(self._inbox)
                await self._layer.group_discard(membership.group, inbox)
        except Exception as error:  # whatever a layer raises; the group expires
            logger.debug("Could not leave a group of the channel layer: %r", error)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
# A forked child has none of its parent's loops.
os.register_at_fork(after_in_child=_hubs.clear)


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return the hub of that loop, None when it has none."""
    return _hubs.get(loop)


def running_hubs() -> list[Hub]:
    """Return the hubs of this process. Safe from any thread."""
    return [hub for hub in list(_hubs.values()) if hub.loop.is_running()]


def _make_layer(alias: str) -> BaseChannelLayer:
    if alias in channel_layers:
        return channel_layers.make_backend(alias)
    return _OwnLayer(capacity=10_000)


class _OwnLayer(InMemoryChannelLayer):
    """The layer where none is configured: for this loop alone, with room for a burst.

    The original looks for expired members of every group at every message, which
    costs milliseconds with thousands of channels. Here the only member is the inbox,
    which is always being read, and leaves each group itself.
    """

    def _clean_expired(self) -> None:
        pass
