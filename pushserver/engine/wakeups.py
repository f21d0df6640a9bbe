"""Wake-ups on their way out: "channel X now reaches id Y", through a layer of our own.

Whoever sends one does not wait for it: the message is stored, and what is lost here
verification makes good. A channel's first wake-up goes out at once. What follows
within some milliseconds becomes one, with the highest id, so that a burst costs a
layer that needs four round trips (the core Redis layer) no more than it can carry.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context
from typing import Any
from uuid import uuid4

from channels.layers import InMemoryChannelLayer, channel_layers
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from pushserver.conf import Config
from pushserver.engine.waiters import Key
from pushserver.forks import forget_in_child
from pushserver.messages import Cursor
from pushserver.names import group_name
from pushserver.outages import OncePerMinute, Outage

__all__ = ["Announcer", "announcer_of"]

logger = logging.getLogger(__name__)
_once_per_minute = OncePerMinute()
logger.addFilter(_once_per_minute)

_PAUSE = 0.005  # seconds between two wake-ups of one channel
_TRY_AGAIN = 1.0  # seconds between two looks whether the layer is back
_PROBE = "pushserver.probe"  # a group that nobody is in


class Announcer:
    """Sends the wake-ups of one event loop, with a layer instance of its own.

    A shared instance would starve a hub's inbox behind its receive lock, and two
    loops on one instance raise (design, section 5). ``on_return`` is called when the
    layer works again after ``failed``: by then it may have forgotten every group.
    """

    def __init__(self, config: Config) -> None:
        self.loop = asyncio.get_running_loop()
        self.layer = _make_layer(config.layer)
        self.name = uuid4().hex  # in each wake-up: whoever published knows already
        self.outage = Outage("The channel layer")
        self.on_return: Callable[[], None] | None = None
        # Half of it: a poll that needs layer and store stays within redis_timeout.
        self._timeout = config.redis_timeout / 2
        self._pending: dict[Key, Cursor] = {}
        self._pausing: dict[Key, asyncio.TimerHandle] = {}
        self._sending: asyncio.Task[None] | None = None
        self._returning: asyncio.Task[None] | None = None
        _announcers[self.loop] = self

    def announce(self, key: Key, reached: Cursor) -> None:
        """Have every process told that the channel reaches that id. In the loop."""
        if type(self.layer) is InMemoryChannelLayer:
            return  # nobody else can hear it, and to hear it ourselves costs 50 us
        self._pending[key] = max(reached, self._pending.get(key, reached))
        if key not in self._pausing:
            self._start()

    async def call(self, command: Coroutine[Any, Any, Any]) -> Any:
        """Return what the layer answers, in time or not at all."""
        async with asyncio.timeout(self._timeout):
            return await command

    def failed(self, error: Exception) -> None:
        """Note that the layer failed; from now on we look whether it is back."""
        if self._returning is None:
            self._returning = self._spawn(self._return(error))

    def forget(self) -> None:
        """Be no longer the announcer of the loop, and start nothing more by itself.

        A pause that ends later would start a task in a loop that is ending.
        """
        for timer in self._pausing.values():
            timer.cancel()
        self._pausing.clear()
        if _announcers.get(self.loop) is self:
            del _announcers[self.loop]

    async def close(self) -> None:
        """Send what is pending, then let go of the layer."""
        while True:
            self.forget()  # again: what was just sent has made a pause of its own
            self._start()
            if self._sending is None:
                break
            await asyncio.wait([self._sending])
        if self._returning is not None:  # then there is nobody to send it to
            self._returning.cancel()
            await asyncio.wait([self._returning], timeout=self._timeout)
        with suppress(Exception):  # who closes may be on the way out without Redis
            if isinstance(self.layer, RedisChannelLayer):
                await self.call(self.layer.close_pools())
            elif isinstance(self.layer, RedisPubSubChannelLayer):
                await self.call(self.layer.flush())

    def _start(self) -> None:
        # One command at a time: more would each take a connection.
        if self._sending is None and self._returning is None and self._pending:
            self._sending = self._spawn(self._send())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self.loop.create_task(coroutine, context=Context())

    async def _send(self) -> None:
        try:
            while ready := [key for key in self._pending if key not in self._pausing]:
                for key in ready:
                    await self._send_one(key, self._pending.pop(key))
        except Exception as error:  # whatever a layer raises
            self.failed(error)  # the others wait until it is back
        finally:
            self._sending = None

    async def _send_one(self, key: Key, reached: Cursor) -> None:
        self._pausing[key] = self.loop.call_later(_PAUSE, self._go_on, key)
        wakeup = {"type": "pushserver.wakeup", "store": key[0],
                  "channel": key[1], "id": str(reached), "from": self.name}  # fmt: skip
        await self.call(self.layer.group_send(group_name(*key), wakeup))

    def _go_on(self, key: Key) -> None:
        del self._pausing[key]
        if key in self._pending:
            self._start()

    async def _return(self, error: Exception) -> None:
        try:
            while not await self._works():
                self.outage.begin(error)
                await asyncio.sleep(_TRY_AGAIN)
        finally:
            self._returning = None
        if not self.outage.end():
            logger.warning("The channel layer failed, and works again: %s", error)
        self._start()
        if self.on_return is not None:
            self.on_return()

    async def _works(self) -> bool:
        try:
            await self.call(self.layer.group_send(_PROBE, {"type": _PROBE}))
        except Exception:  # whatever a layer raises; `failed` has the first
            return False
        return True


_announcers: dict[asyncio.AbstractEventLoop, Announcer] = {}
forget_in_child(_announcers)


def announcer_of(loop: asyncio.AbstractEventLoop) -> Announcer | None:
    """Return the announcer of that loop, None when it has none."""
    return _announcers.get(loop)


def _make_layer(alias: str) -> Any:
    if alias not in channel_layers:
        return InMemoryChannelLayer()
    layer = channel_layers.make_backend(alias)
    if isinstance(layer, RedisChannelLayer):
        # redis-py gives up waiting for a reply just when the core layer's inbox has
        # been idle for as long: an error and a new connection every five seconds.
        patience = layer.brpop_timeout + 5
        layer.hosts = [{"socket_timeout": patience, **host} for host in layer.hosts]
    elif isinstance(layer, RedisPubSubChannelLayer):
        # It logs a traceback every second while Redis is down.
        logging.getLogger("channels_redis.pubsub").addFilter(_once_per_minute)
    return layer
