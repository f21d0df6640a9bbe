"""All readers of one event loop: what they share, and what ends with the loop."""

import asyncio
import time
from collections.abc import Callable

from pushserver.conf import Config, get_config
from pushserver.engine.contest import Contest
from pushserver.engine.hub import Hub, HubStatistics
from pushserver.engine.live import LiveChannel
from pushserver.engine.tails import Tail
from pushserver.engine.upkeep import Upkeep
from pushserver.engine.waiters import Ending, Key
from pushserver.forks import forget_in_child
from pushserver.heap import freeze_once
from pushserver.messages import START
from pushserver.stores import get_store

__all__ = ["Subscriptions", "current", "drain"]


class Subscriptions:
    """All readers of one event loop. ``clock`` gives seconds since 1970.

    ``channels`` are those that have, or just had, readers here.
    """

    def __init__(
        self, config: Config, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.config = config
        self.clock = clock
        self.hub = Hub(config)
        self.draining = False
        self.channels: dict[Key, LiveChannel] = {}
        self.contest = Contest(self.hub)
        self.upkeep = Upkeep(config, self.hub, self.channels, self.contest)
        # Also when the loop ends without `close`, as a temporary one does.
        self.upkeep.verifying.add_done_callback(self._unregister)

    def live(self, key: Key) -> LiveChannel:
        """Count a reader of the channel and return what its readers share.

        To be paired with ``hub.leave``.
        """
        if live := self.channels.get(key):
            live.membership.enter(self.hub.loop.time())
            return live
        store, config = get_store(key[0]), self.config.stores[key[0]]
        tail = Tail(
            START,
            max_messages=min(config.max_messages or 100, 100),
            message_timeout=config.message_timeout,
            transient_timeout=2 * self.config.resync,
        )
        membership = self.hub.enter(key, lambda news: self.channels[key].wake(news))
        live = self.channels[key] = LiveChannel(self.hub, store, membership, tail)
        return live

    def drain(self) -> None:
        """End every held reader with SHUTDOWN, and every later one that would wait."""
        self.draining = True
        for membership in self.hub.memberships():
            membership.waiters.end_all(Ending.SHUTDOWN)

    async def close(self) -> None:
        """Drain, then end the hub and its tasks."""
        self.drain()
        await self.hub.close()

    def statistics(self) -> HubStatistics:
        """Return what the hub holds now."""
        return self.hub.statistics()

    def _unregister(self, _: object) -> None:
        if _by_loop.get(self.hub.loop) is self:
            del _by_loop[self.hub.loop]


_by_loop: dict[asyncio.AbstractEventLoop, Subscriptions] = {}
forget_in_child(_by_loop)


def current() -> Subscriptions:
    """Return the subscriptions of the running loop, made at the first call."""
    loop = asyncio.get_running_loop()
    subscriptions = _by_loop.get(loop)
    if subscriptions is None:
        freeze_once()
        subscriptions = _by_loop[loop] = Subscriptions(get_config())
    return subscriptions


def drain() -> None:
    """End the held readers of the running loop with SHUTDOWN; nobody waits any more."""
    current().drain()
