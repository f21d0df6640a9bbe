"""One hub per event loop: the inbox, the groups, and the waking.

The theory. A wake-up is a message through the channel layer's group of a channel:
"X now reaches id Y". It may be lost (capacity, reconnect, expiry), doubled or late,
so nothing here is ever the truth: a hub only makes readers look sooner than the
next verification (`subscriptions`). What must hold:

* The hub has a layer instance of its own (`wakeups`).
* It has one inbox, and joins a group once per live channel, however many wait.
* The last reader leaves the group only after ``linger`` seconds, because a long
  poll leaves and comes back between two messages.
* ``receive`` is cancelled only at shutdown: some layers lose messages then.
* Hub tasks start in an empty context: what the request of the first poll put into
  context variables is not theirs.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from pushserver.conf import Config
from pushserver.forks import forget_in_child
from pushserver.names import group_name
from pushserver.waiters import Waiters
from pushserver.wakeups import Announcer, Key

__all__ = ["Hub", "HubStatistics", "Key", "Membership", "hub_of", "running_hubs"]

logger = logging.getLogger(__name__)

_CANCEL_AGAIN = 0.1  # seconds to the next try when a task goes on
_RECEIVE_AGAIN = 1.0  # seconds to the next try when the layer's receive fails
_AT_ONCE = 10  # joins and leaves: each takes a connection of the layer


class Membership:
    """One channel that has, or just had, readers on this hub's loop."""

    __slots__ = ("changing", "group", "joined_at", "key", "left_at", "on_wakeup",
                 "readers", "requested_at", "waiters")  # fmt: skip

    def __init__(self, key: Key, on_wakeup: Callable[[], None]) -> None:
        self.key = key
        self.group = group_name(*key)
        self.on_wakeup = on_wakeup
        self.waiters = Waiters()
        self.readers = 0
        self.requested_at = 0.0  # when a reader last came
        self.left_at = 0.0  # when the last reader left
        self.joined_at: float | None = None  # None while we are not in the group
        # The join or leave under way: one at a time, or the layer might swap them.
        self.changing: asyncio.Task[None] | None = None


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
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._closed = False
        self._members: dict[Key, Membership] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._inbox: asyncio.Future[str] = self.loop.create_future()
        _hubs[self.loop] = self
        self.spawn(self._listen())

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

        A failure is not raised: the store is the truth, and the group is entered when
        the layer is back.
        """
        for _ in range(2):  # what is under way may be a leave: then once more
            if membership.joined_at is not None or self._announcer.outage.down:
                return
            # Shielded, because others wait for the same task.
            await asyncio.shield(self.rejoin(membership))

    def rejoin(self, membership: Membership) -> asyncio.Task[None]:
        """Enter the group again, soon: a wake-up did not reach us.

        Returns what is under way, which may be a leave.
        """
        if membership.changing is None:
            membership.changing = self.spawn(self._join(membership))
        return membership.changing

    def rejoin_all(self) -> None:
        """Enter every group again, soon: the layer may have forgotten us."""
        self.spawn(self._rejoin_all())

    def leave(self, membership: Membership) -> None:
        """Take back one ``enter``; the group is left after ``linger`` seconds."""
        membership.readers -= 1
        membership.left_at = self.loop.time()

    async def maintain(self, on_gone: Callable[[Membership], None]) -> None:
        """Renew memberships, and leave the groups that nobody uses any more.

        To be called every few seconds by whoever owns the hub. ``on_gone`` is called
        in the same step of the loop in which a channel is forgotten.
        """
        now = self.loop.time()
        renew_after = getattr(self._layer, "group_expiry", 86_400) / 3
        partings = []
        for membership in self.memberships():
            if membership.changing is not None:
                continue
            if membership.readers == 0:
                if now - membership.left_at >= self._config.linger:
                    membership.changing = self.spawn(self._part(membership, on_gone))
                    partings.append(membership.changing)
            elif (
                membership.joined_at is None or now - membership.joined_at > renew_after
            ):
                self.rejoin(membership)
        await asyncio.gather(*map(asyncio.shield, partings))

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
        self._closed = True
        _hubs.pop(self.loop, None)
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

    async def _listen(self) -> None:
        try:
            # A layer may turn our cancellation into another error.
            while not self._closed:
                try:
                    message = await self._receive()
                except Exception as error:  # whatever a layer raises
                    await self._recover(error)
                else:
                    self.wake((message["store"], message["channel"]))
        finally:
            # Also when the loop ends without `close`, as a temporary one does.
            _hubs.pop(self.loop, None)
            self._announcer.forget()

    async def _receive(self) -> Any:
        if not self._inbox.done():
            new_channel = self._layer.new_channel("pushserver.")
            self._inbox.set_result(await self._announcer.call(new_channel))
        return await self._layer.receive(self._inbox.result())

    async def _recover(self, error: Exception) -> None:
        if type(error).__name__ == "TimeoutError":
            # The core Redis layer, idle for as long as redis-py waits for a reply:
            # it is no outage, and not worth a line.
            return
        self._announcer.failed(error)
        await asyncio.sleep(_RECEIVE_AGAIN)

    async def _rejoin_all(self) -> None:
        for membership in self.memberships():
            await asyncio.shield(self.rejoin(membership))

    async def _join(self, membership: Membership) -> None:
        membership.joined_at = await self._command("group_add", membership)
        membership.changing = None

    async def _part(
        self,
        membership: Membership,
        on_gone: Callable[[Membership], None] | None = None,
    ) -> None:
        membership.joined_at = None
        await self._command("group_discard", membership)
        membership.changing = None
        if on_gone is not None and membership.readers == 0:  # nobody came meanwhile
            del self._members[membership.key]
            on_gone(membership)

    async def _command(self, name: str, membership: Membership) -> float | None:
        """Do it, a few at a time, and return when that was; None if it failed."""
        async with self._turns:
            if self._announcer.outage.down:
                return None
            try:
                await self._announcer.call(self._with_inbox(name, membership.group))
            except Exception as error:  # whatever a layer raises
                self._announcer.failed(error)
                return None
            return self.loop.time()

    async def _with_inbox(self, name: str, group: str) -> None:
        # Shielded: a call that takes too long must not end it for the others.
        inbox = await asyncio.shield(self._inbox)
        await getattr(self._layer, name)(group, inbox)


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
forget_in_child(_hubs)


def hub_of(loop: asyncio.AbstractEventLoop) -> Hub | None:
    """Return the hub of that loop, None when it has none."""
    return _hubs.get(loop)


def running_hubs() -> list[Hub]:
    """Return the hubs of this process. Safe from any thread."""
    return [hub for hub in list(_hubs.values()) if hub.loop.is_running()]
