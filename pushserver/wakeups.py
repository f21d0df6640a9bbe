"""Wake-ups on their way out: "channel X now reaches id Y", through a layer of our own.

Whoever sends one does not wait for it: the message is stored, and what is lost here
verification makes good. While one is under way, those of the same channel become one,
with the highest id. So a burst costs a layer that needs four round trips (the core
Redis layer) no more than it can carry.
"""

import asyncio
import logging
from contextvars import Context
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers

from pushserver.conf import Config
from pushserver.forks import forget_in_child
from pushserver.messages import Cursor
from pushserver.names import group_name

__all__ = ["Announcer", "Key", "announcer_of"]

logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""What names a channel within a process: its store's alias and its id."""


class Announcer:
    """Sends the wake-ups of one event loop, with a layer instance of its own.

    A shared instance would starve a hub's inbox behind its receive lock, and two
    loops on one instance raise (design, section 5).
    """

    def __init__(self, config: Config) -> None:
        self.loop = asyncio.get_running_loop()
        self.layer = _make_layer(config.layer)
        self._timeout = config.redis_timeout
        self._pending: dict[Key, Cursor] = {}
        self._sending: asyncio.Task[None] | None = None
        self._failing = False
        _announcers[self.loop] = self

    def announce(self, key: Key, reached: Cursor) -> None:
        """Have every process told that the channel reaches that id. In the loop."""
        self._pending[key] = max(reached, self._pending.get(key, reached))
        if self._sending is None:
            self._sending = self.loop.create_task(self._send(), context=Context())

    async def close(self) -> None:
        """Send what is pending, then let go of the layer."""
        if self._sending is not None:
            await asyncio.wait([self._sending])
        _announcers.pop(self.loop, None)
        for name in ("close_pools", "flush"):  # of the core and the pub/sub layer
            if name == "flush" and hasattr(self.layer, "close_pools"):
                continue
            if (close := getattr(self.layer, name, None)) is not None:
                await close()

    async def _send(self) -> None:
        try:
            while self._pending:
                key = next(iter(self._pending))
                reached = self._pending.pop(key)
                wakeup = {"type": "pushserver.wakeup", "store": key[0],
                          "channel": key[1], "id": str(reached)}  # fmt: skip
                try:
                    async with asyncio.timeout(self._timeout):
                        await self.layer.group_send(group_name(*key), wakeup)
                    self._failing = False
                except Exception as error:  # whatever a layer raises
                    # The others would wait for the same time-out each.
                    self._pending.clear()
                    if not self._failing:
                        logger.warning("Wake-ups cannot be sent: %r", error)
                    self._failing = True
        finally:
            self._sending = None


_announcers: dict[asyncio.AbstractEventLoop, Announcer] = {}
forget_in_child(_announcers)


def announcer_of(loop: asyncio.AbstractEventLoop) -> Announcer | None:
    """Return the announcer of that loop, None when it has none."""
    return _announcers.get(loop)


def _make_layer(alias: str) -> Any:
    if alias in channel_layers:
        return channel_layers.make_backend(alias)
    # Nothing is configured: a layer for this loop alone, with room for a burst.
    return InMemoryChannelLayer(capacity=10_000)
