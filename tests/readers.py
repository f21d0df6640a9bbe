"""Readers and publishers as the wire has them, without the wire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from django.test import override_settings

from pushserver.engine import publishing, subscriptions
from pushserver.engine.hub import Key, hub_of
from pushserver.engine.subscription import Subscription
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery, Ending, Outcome, Waiter
from pushserver.messages import Cursor, Message
from pushserver.names import group_name
from pushserver.stores import get_store
from tests.faults import wall_clock

KEY: Key = ("default", "a")
RESYNC = 5.0
POLL_TIMEOUT = 25.0


@contextlib.asynccontextmanager
async def serving(
    layer: str | None = None,
    *,
    store: str | dict[str, Any] = "VirtualStore",
    layer_options: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **push_server: Any,
) -> AsyncIterator[Subscriptions]:
    """The running loop's subscriptions, closed at the end.

    Without a ``layer`` it is our own. ``store`` is a class in ``faults``, or a
    setting; ``options`` are the store's; the rest is as in PUSH_SERVER.
    """
    config = layer_options or {}
    layers = {"default": {"BACKEND": layer, "CONFIG": config}} if layer else {}
    stores = store if isinstance(store, dict) else {"type": f"tests.faults.{store}"}
    stores = {**stores, **(options or {})}
    push_server = {"store": stores, "resync": RESYNC, **push_server}
    with override_settings(CHANNEL_LAYERS=layers, PUSH_SERVER=push_server):
        running = subscriptions.current()
        running.clock = wall_clock
        try:
            yield running
        finally:
            await running.close()


async def publish(body: str = "x", *, key: Key = KEY, keep: bool = True) -> Message:
    """Publish by the one road, and return what was stored."""
    published = await publishing.publish(
        key, body=body.encode(), keep=keep, max_body=1024
    )
    return published.message


async def publish_elsewhere(
    body: str = "x", *, key: Key = KEY, keep: bool = True
) -> Message:
    """Publish as another process does: at best the layer tells this one of it."""
    message = await get_store(key[0]).append(key[1], body=body.encode(), keep=keep)
    hub = hub_of(asyncio.get_running_loop())
    assert hub is not None
    wakeup = {"store": key[0], "channel": key[1], "id": str(message.id)}
    await hub._layer.group_send(group_name(*key), {"type": "wakeup", **wakeup})
    return message


async def held(waiter: Waiter, timeout: float) -> Outcome:
    """Wait as an endpoint does."""
    ended = asyncio.Event()
    waiter.on_end = ended.set
    if waiter.outcome is None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await ended.wait()
    return waiter.outcome or Ending.DEADLINE


class Reader:
    """A client that takes one message a poll and comes back with its cursor."""

    def __init__(
        self,
        running: Subscriptions,
        cursor: Cursor | None = None,
        *,
        key: Key = KEY,
        **options: Any,
    ) -> None:
        self.cursor = cursor
        self.gap = False  # as the last answer told
        self.heard: list[Message] = []
        self.gaps = 0
        self._running = running
        self._key = key
        self._options = options

    async def poll(
        self, timeout: float = POLL_TIMEOUT, *, wait: bool = True
    ) -> Message | Ending:
        """Return the next message, or why there is none."""
        with self._subscription(wait=wait) as subscription:
            outcome = None
            if subscription.waiter is None:
                outcome = await subscription.begin(wait=wait)
            if outcome is None and subscription.waiter is not None:
                outcome = await held(subscription.waiter, timeout)
            if isinstance(outcome, Delivery):
                message = outcome.messages[0]
                self.heard.append(message)
                self.cursor, self.gap = message.id, outcome.gap
            else:
                self.cursor, self.gap = subscription.position, subscription.gap
            self.gaps += self.gap
            if isinstance(outcome, Delivery):
                return message
            return outcome or Ending.DEADLINE

    def _subscription(self, *, wait: bool) -> Subscription:
        args = self._running, self._key, self.cursor
        steady = wait and self._options.get("concurrency", "broadcast") == "broadcast"
        resumed = Subscription.resumed(*args) if steady else None
        return resumed or Subscription(*args, **self._options)

    async def hear(self, count: int, within: float) -> list[Message]:
        """Poll until so many more messages came, and return them."""
        wanted = len(self.heard) + count
        async with asyncio.timeout(within):
            while len(self.heard) < wanted:
                await self.poll()
        return self.heard[-count:]

    @contextlib.asynccontextmanager
    async def holding(
        self, timeout: float = POLL_TIMEOUT
    ) -> AsyncIterator["asyncio.Task[Message | Ending]"]:
        """A poll of this reader that is parked when the block begins."""
        before = self._running.hub.held(self._key)
        task = asyncio.create_task(self.poll(timeout))
        async with asyncio.timeout(POLL_TIMEOUT):
            while self._running.hub.held(self._key) == before:
                assert not task.done(), task
                await asyncio.sleep(0.001)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
