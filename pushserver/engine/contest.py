"""Which of several held readers of a channel may stay, across processes.

Within a process ``concurrency`` is decided at once, by `subscription`. Here is what
other processes hold, within about a second and by the store alone: no wake-up has to
arrive, and no clocks have to agree. Each reader that is parked leaves a claim, a
message in a channel beside its own, so the store says who came first.

* ``last``: once a second each process compares its claims; one that is not the
  channel's last has lost.
* ``first``: counts of other processes may be a second old, and a reader that moves
  here from there must not stand in its own way. So a newcomer that finds somebody
  elsewhere stays parked, looks again after that time, and goes if it is still so.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

from pushserver.engine.hub import Hub
from pushserver.engine.waiters import Ending, Key, Membership, Waiter
from pushserver.messages import Cursor
from pushserver.stores import get_store
from pushserver.stores.base import SharedStore

__all__ = ["Contest"]

_AT_ONCE = 500  # claims a comparing read
_STALE = 1.1  # seconds after which counts of other processes are from after a moment


@dataclass(frozen=True, slots=True)
class _Claim:
    membership: Membership
    waiter: Waiter
    id: Cursor


class Contest:
    """The part of one event loop in it."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._claims: dict[Key, _Claim] = {}
        self._us = uuid4().bytes

    async def enter(
        self,
        concurrency: Literal["broadcast", "last", "first"],
        membership: Membership,
        waiter: Waiter,
    ) -> None:
        """Have a reader that was just parked contest with those of other processes.

        It ends with CONFLICT when it loses. Raises StoreUnavailable.
        """
        store = get_store(membership.key[0])
        if concurrency == "broadcast" or not isinstance(store, SharedStore):
            return
        channel_id = membership.key[1]
        claim, elsewhere = await asyncio.gather(
            store.append(_beside(channel_id), body=self._us),
            store.held_elsewhere(channel_id),
        )
        if concurrency == "last":
            self._claims[membership.key] = _Claim(membership, waiter, claim.id)
        elif elsewhere or await self._came_before(store, channel_id, claim.id):
            self._hub.spawn(self._look_again(store, membership, waiter))

    async def settle(self) -> None:
        """End the readers whose claim is not the last any more.

        To be called every second. Raises StoreUnavailable.
        """
        by_store: dict[str, list[str]] = {}
        for key, claim in list(self._claims.items()):
            if claim.waiter in claim.membership.waiters:
                by_store.setdefault(key[0], []).append(key[1])
            else:
                del self._claims[key]
        for alias, channel_ids in by_store.items():
            for i in range(0, len(channel_ids), _AT_ONCE):
                await self._compare(alias, channel_ids[i : i + _AT_ONCE])

    async def _compare(self, alias: str, channel_ids: list[str]) -> None:
        asked = {
            channel_id: self._claims[alias, channel_id] for channel_id in channel_ids
        }
        heads = await get_store(alias).heads([_beside(name) for name in channel_ids])
        for channel_id, claim in asked.items():
            head = heads[_beside(channel_id)]
            if head.known and head.newest > claim.id:
                _lose(claim.membership, claim.waiter)

    async def _came_before(
        self, store: SharedStore, channel_id: str, claim: Cursor
    ) -> bool:
        """Say whether another process has a claim too new to be in its count."""
        since = claim._replace(milliseconds=claim.milliseconds - int(_STALE * 1000))
        history = await store.read(_beside(channel_id), after=since)
        return any(
            message.id < claim and message.body != self._us
            for message in history.messages
        )

    async def _look_again(
        self, store: SharedStore, membership: Membership, waiter: Waiter
    ) -> None:
        await asyncio.sleep(_STALE)
        if waiter in membership.waiters and await store.held_elsewhere(
            membership.key[1]
        ):
            _lose(membership, waiter)


def _beside(channel_id: str) -> str:
    # No channel of the application has a control character in its id.
    return f"\0claims\0{channel_id}"


def _lose(membership: Membership, waiter: Waiter) -> None:
    if waiter in membership.waiters:  # else it has gone while the store was asked
        membership.waiters.discard(waiter)
        waiter.end(Ending.CONFLICT)
