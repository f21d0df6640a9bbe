"""How many readers are held on a channel: in this process, and in others."""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar
from weakref import WeakKeyDictionary

from pushserver.engine.hub import running_hubs
from pushserver.engine.waiters import Key
from pushserver.exceptions import StoreUnavailable
from pushserver.stores import get_store
from pushserver.stores.base import SharedStore

__all__ = ["counted", "held_elsewhere", "held_here"]

T = TypeVar("T")

# Processes report every 0.9 seconds, so that a count is no older than a second.
_FRESH = 0.1  # seconds


def held_here(key: Key) -> int:
    """Return how many readers the hubs of this process hold."""
    held = 0
    for hub in running_hubs():
        held += hub.held(key)
    return held


async def held_elsewhere(key: Key) -> int:
    """Return how many readers other processes hold. Raises StoreUnavailable."""
    store = get_store(key[0])
    if isinstance(store, SharedStore):
        return await store.held_elsewhere(key[1])
    return 0


async def counted(key: Key, append: Awaitable[T]) -> tuple[T, int]:
    """Append, and return with what that returns how many readers others hold.

    Both take one round trip. Without other processes nothing comes between the end of
    the append and the caller.
    """
    store = get_store(key[0])
    if store.local or not isinstance(store, SharedStore):  # that question costs 1 us
        return await append, 0
    recent = _recent.setdefault(store, _Recent())
    count = recent.known(key[1])
    if count is None:
        return await asyncio.gather(append, recent.ask(store, key[1]))
    return await append, count


class _Recent:
    """What was just asked of a store: a burst of publishes asks once."""

    def __init__(self) -> None:
        self._since = 0.0
        self._counts: dict[str, int] = {}

    def known(self, channel_id: str) -> int | None:
        now = time.monotonic()
        if now - self._since > _FRESH:
            self._since, self._counts = now, {}
        return self._counts.get(channel_id)

    async def ask(self, store: SharedStore, channel_id: str) -> int:
        counts = self._counts
        try:
            counts[channel_id] = await store.held_elsewhere(channel_id)
        except StoreUnavailable:
            return 0  # it is the append that must not fail
        return counts[channel_id]


_recent: WeakKeyDictionary[SharedStore, _Recent] = WeakKeyDictionary()
