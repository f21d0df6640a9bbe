"""The suite passes on a store that keeps the contract, and fails on others."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Head, History, Position, Store
from pushserver.stores.contract import StoreContract
from pushserver.stores.memory import MemoryStore

MANUAL = Path(__file__).parents[2] / "docs/how-to/write-a-store.md"


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


class Unmoved(MemoryStore):
    """Does not say that something is new."""

    async def changed(self, known: Mapping[str, Position]) -> Mapping[str, Head]:
        return {}


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
        (Unmoved, StoreContract.test_only_what_has_changed_is_told),
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


def test_the_example_of_the_manual_keeps_the_contract(caplog: pytest.LogCaptureFixture):
    """Its code runs as it stands, and passes the whole suite."""
    caplog.set_level("INFO", "audit")
    blocks = re.findall(r"```python\n(.*?)```", MANUAL.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        if "register_assert_rewrite" not in block:  # too late in a test
            exec(block, names)
    assert names["PUSH_SERVER"]["store"]["type"].endswith(".AuditedStore")
    tests = [name for name in dir(StoreContract) if name.startswith("test_")]
    assert len(tests) > 20
    for name in tests:
        getattr(names["TestAuditedStore"](), name)()
    assert "'a' got 256 bytes" in caplog.text
