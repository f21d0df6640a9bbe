"""Who has a page open: polls that come and go, made into people who stay.

A page's poll ends with each message, and the next one begins at once. So a poll that
ends means little; a page has gone when none has begun again for a few seconds.
"""

import asyncio
import contextvars
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

GRACE = 3.0  # seconds
PAUSE = 0.3  # seconds between two announcements, for when many come at once

Send = Callable[[dict[str, Any]], Awaitable[Any]]


class Presence:
    """Counts pages by user name, and sends the list whenever it has changed.

    `arrived` and `left` belong to one event loop; `update` may be called anywhere.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._pages: Counter[str] = Counter()
        self._leaving: defaultdict[str, list[asyncio.TimerHandle]] = defaultdict(list)
        self._announcing: asyncio.Task[None] | None = None
        self._update = self._now()

    @property
    def update(self) -> dict[str, Any]:
        """Who is there, as it was last seen; ``at`` tells an old list from a new."""
        return self._update

    def arrived(self, name: str) -> None:
        """Note that a poll has begun; the name is empty for who is not logged in."""
        if leaving := self._leaving[name]:
            leaving.pop().cancel()
        else:
            self._count(name, 1)

    def left(self, name: str) -> None:
        """Note that a poll has ended, and wait a little before it means anything."""
        self._leaving[name].append(
            asyncio.get_running_loop().call_later(
                GRACE,
                self._gone,
                name,
                # Not that of the signal: its thread ends together with its receivers.
                context=contextvars.Context(),
            )
        )

    def _gone(self, name: str) -> None:
        self._leaving[name].pop(0)
        self._count(name, -1)

    def _count(self, name: str, change: int) -> None:
        self._pages[name] += change
        self._update = self._now()
        if self._announcing is None:
            self._announcing = asyncio.get_running_loop().create_task(
                self._announce(), context=contextvars.Context()
            )

    async def _announce(self) -> None:
        await asyncio.sleep(PAUSE)
        self._announcing = None
        await self._send(self._update)

    def _now(self) -> dict[str, Any]:
        users = [
            {"name": name, "pages": pages}
            for name, pages in sorted(self._pages.items())
            if name and pages
        ]
        return {
            "type": "presence",
            "users": users,
            "guests": self._pages[""],
            "at": time.time_ns() // 1_000_000,
        }
