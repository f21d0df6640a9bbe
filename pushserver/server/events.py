"""What a connection tells its application: a queue without a limit.

asyncio's own, for whatever kind of queue it may have to be, is made of four deques and
takes 3 kB, more than a quarter of all that a held poll needs.
"""

import asyncio
from typing import Any

__all__ = ["Events"]


class Events:
    """Events in the order in which they came, each for one `get`."""

    __slots__ = ("_events", "_waiting")

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._waiting: list[asyncio.Future[None]] = []

    def put_nowait(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._wake()

    async def get(self) -> dict[str, Any]:
        while not self._events:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiting:
                    self._waiting.remove(waiter)
                else:  # it was woken, for an event that is another one's now
                    self._wake()
                raise
        return self._events.pop(0)

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
