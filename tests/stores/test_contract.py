"""The suite passes on a store that keeps the contract, and fails on others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Head, History, Store
from pushserver.stores.contract import StoreContract
from pushserver.stores.memory import MemoryStore


class TestMemoryStore(StoreContract):
    """The memory store keeps the contract."""

    def make_store(self, **options: Any) -> Store:
        return MemoryStore(clock=self.clock, **options)


class Repeating(MemoryStore):
    """Allots ids by its clock alone."""

    async def append(self, channel_id: str, **message: Any) -> Message:
        appended = await super().append(channel_id, **message)
        return replace(appended, id=Cursor(int(self._clock() * 1000), 0))


class Forgetful(MemoryStore):
    """Begins anew after a deletion."""

    async def delete(self, channel_id: str) -> bool:
        existed = await super().delete(channel_id)
        self._channels.pop(channel_id)
        return existed


class Inclusive(MemoryStore):
    """Reads from the cursor on, not after it."""

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        before = after._replace(sequence=max(0, after.sequence - 1))
        return await super().read(channel_id, after=before, limit=limit)


class Newest(MemoryStore):
    """Cuts the oldest messages away, and does not say that it cut."""

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        history = await super().read(channel_id, after=after)
        return replace(history, messages=history.messages[-(limit or 0) :])


class Unmarked(MemoryStore):
    """Leaves no mark of a deletion."""

    def _head(self, channel: Any) -> Head:
        return replace(super()._head(channel), deleted=START)


class Folding(MemoryStore):
    """Takes channel ids for equal that differ in case."""

    async def append(self, channel_id: str, **message: Any) -> Message:
        return await super().append(channel_id.lower(), **message)


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Repeating, StoreContract.test_each_message_names_the_one_before_it),
        (Repeating, StoreContract.test_ids_increase_while_the_clock_goes_back),
        (Repeating, StoreContract.test_publishers_at_the_same_time_get_one_order),
        (Forgetful, StoreContract.test_ids_increase_over_deletion),
        (Forgetful, StoreContract.test_ids_increase_over_forgetting),
        (Inclusive, StoreContract.test_a_read_begins_after_the_cursor),
        (Newest, StoreContract.test_a_limit_gives_the_oldest_and_says_so),
        (Unmarked, StoreContract.test_deletion_drops_the_messages_and_leaves_a_mark),
        (Folding, StoreContract.test_channels_are_told_apart_exactly),
    ],
)
def test_a_store_that_breaks_the_contract_fails(
    store: Callable[..., Store], test: Callable[[StoreContract], None]
):
    """Each broken store is caught by the test that is meant for it."""

    class Broken(StoreContract):
        def make_store(self, **options: Any) -> Store:
            return store(clock=self.clock, **options)

    with pytest.raises(AssertionError):
        test(cast(StoreContract, Broken()))
