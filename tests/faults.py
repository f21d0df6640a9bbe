"""Channel layers and stores that misbehave as real ones do, by subclassing them.

The layers are named in CHANNEL_LAYERS, the stores in PUSH_SERVER; a test gets at
them through the hub's statistics, the settings, or the class's own records.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

from channels.layers import InMemoryChannelLayer

from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor, Message
from pushserver.stores.base import Head, History
from pushserver.stores.memory import MemoryStore
from tests.virtual_time import VirtualTimeLoop

Wakeup = Mapping[str, Any]


def wall_clock() -> float:
    """Seconds since 1970, with what the running loop has jumped over."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return time.time() + loop.time() - time.monotonic()


class DroppingLayer(InMemoryChannelLayer):
    """No wake-up ever arrives."""

    async def group_send(self, group: str, message: Wakeup) -> None:
        self.require_valid_group_name(group)


class DoublingLayer(InMemoryChannelLayer):
    """Each wake-up arrives twice."""

    async def group_send(self, group: str, message: Wakeup) -> None:
        for _ in range(2):
            await super().group_send(group, message)


class DelayingLayer(InMemoryChannelLayer):
    """Each wake-up arrives when something newer may have happened."""

    delay = 3.0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        # Tasks from the beginning on: a loop that ends waits for those only.
        self._under_way: set[asyncio.Task[None]] = set()

    async def group_send(self, group: str, message: Wakeup) -> None:
        task = asyncio.create_task(self._send_late(self.delay, group, message))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send_late(self, delay: float, group: str, message: Wakeup) -> None:
        await asyncio.sleep(delay)
        await super().group_send(group, message)


class ChaoticLayer(DelayingLayer):
    """Every wake-up is doubled and late, out of order, or lost, by turns."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent = 0

    async def group_send(self, group: str, message: Wakeup) -> None:
        self.sent += 1
        for delay in ((), (4.0, 1.0), (0.5, 0.5))[self.sent % 3]:
            self.delay = delay
            await super().group_send(group, message)


class ScriptedLayer(InMemoryChannelLayer):
    """Does with each call what the test has put into ``script`` under its name.

    A script entry is an exception to raise, or a coroutine function to await first.
    """

    script: dict[str, Exception | Callable[[], Any]] = {}
    calls: Counter[str] = Counter()

    async def _follow(self, name: str) -> None:
        self.calls[name] += 1
        step = self.script.get(name)
        if isinstance(step, Exception):
            raise step
        if step is not None:
            await step()

    async def new_channel(self, prefix: str = "specific.") -> str:
        await self._follow("new_channel")
        return str(await super().new_channel(prefix))

    async def receive(self, channel: str) -> Any:
        await self._follow("receive")
        return await super().receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await self._follow("group_add")
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await self._follow("group_discard")
        await super().group_discard(group, channel)

    async def group_send(self, group: str, message: Wakeup) -> None:
        await self._follow("group_send")
        await super().group_send(group, message)


class ExpiringLayer(InMemoryChannelLayer):
    """Forgets who joined more than ``group_expiry`` seconds of the loop ago."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.joined: dict[str, float] = {}

    async def group_add(self, group: str, channel: str) -> None:
        self.joined[group] = asyncio.get_running_loop().time()
        await super().group_add(group, channel)

    async def group_send(self, group: str, message: Wakeup) -> None:
        age = asyncio.get_running_loop().time() - self.joined.get(group, 0)
        if age < self.group_expiry:
            await super().group_send(group, message)


class VirtualStore(MemoryStore):
    """A memory store whose time is that of the running loop."""

    def __init__(self, **options: Any) -> None:
        super().__init__(clock=wall_clock, **options)


class RemoteStore(VirtualStore):
    """A store across a network: each call waits on its way there and back.

    ``reads`` and ``heads_asked`` count what was asked of it. While ``error`` is set
    every call raises it.
    """

    local = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.latency = 0.01
        self.read_lag = 0.0  # what the answer to a read takes longer
        self.error: Exception | None = None
        self.reads = 0
        self.heads_asked = 0

    async def _travel(self) -> None:
        await asyncio.sleep(self.latency / 2)
        if self.error is not None:
            raise self.error

    def go_down(self) -> None:
        self.error = StoreUnavailable("gone for a test")

    def slow_down(self) -> None:
        self.latency = 20.0  # seconds: more than anybody waits for it

    def lose_everything(self, *, clock: float | None = None) -> None:
        """Restart as a server that saved nothing, with the time as it has it then."""
        self._channels.clear()
        self._aging.clear()
        now = wall_clock() if clock is None else clock
        self._floor = self._since = Cursor(int(now * 1000), 0)

    def saved(self) -> Callable[[], None]:
        """Return what makes the store what it is now, as a server does from a file."""
        then = deepcopy((self._channels, self._aging, self._floor, self._since))

        def restore() -> None:
            self._channels, self._aging, self._floor, self._since = then

        return restore

    async def append(self, channel_id: str, **message: Any) -> Message:
        await self._travel()
        appended = await super().append(channel_id, **message)
        await self._travel()
        return appended

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        self.reads += 1
        await self._travel()
        history = await super().read(channel_id, after=after, limit=limit)
        await asyncio.sleep(self.read_lag)
        await self._travel()
        return history

    async def heads(self, channel_ids: Sequence[str]) -> Mapping[str, Head]:
        self.heads_asked += 1
        await self._travel()
        heads = await super().heads(channel_ids)
        await self._travel()
        return heads

    async def create(self, channel_id: str) -> None:
        await self._travel()
        await super().create(channel_id)

    async def delete(self, channel_id: str) -> bool:
        await self._travel()
        existed = await super().delete(channel_id)
        await self._travel()
        return existed

    async def note_requested(self, channel_id: str, seconds_ago: float) -> None:
        await self._travel()
        await super().note_requested(channel_id, seconds_ago)
