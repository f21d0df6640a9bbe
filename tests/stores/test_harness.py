from typing import Any

import pytest

from pushserver.stores.base import Store
from pushserver.stores.harness import Clock, StoreHarness, in_a_loop
from pushserver.stores.memory import MemoryStore


class Harness(StoreHarness):
    """Two tests as a contract has them, and what becomes of their stores."""

    def __init__(self) -> None:
        self.closed: list[Store] = []

    def make_store(self, **options: Any) -> Store:
        return MemoryStore(clock=self.clock, **options)

    async def close_store(self, store: Store) -> None:
        await super().close_store(store)
        self.closed.append(store)

    @in_a_loop
    async def passes(self) -> None:
        """Takes an hour."""
        store = self.store(max_messages=1)
        assert self.make_peer(store) is store
        [_, message] = await self.append(store, "a", 2)
        assert await self.messages(store, "a") == [message]
        assert (await self.head(store, "a")).newest == message.id
        self.clock.advance(3600)

    @in_a_loop
    async def fails(self) -> None:
        self.store()
        self.store()
        raise AssertionError("broken")


def test_each_test_begins_at_the_same_time():
    """What one test does to the clock is nothing to the next."""
    harness = Harness()
    for _ in range(2):
        harness.passes()
        assert harness.clock() == Clock().now + 3600


def test_stores_are_closed_whatever_happens():
    """A store with connections does not leak them from a failing test."""
    harness = Harness()
    with pytest.raises(AssertionError, match="broken"):
        harness.fails()
    assert len(harness.closed) == 2


def test_a_test_keeps_its_name_and_docstring():
    """Reports of a user's suite say what failed."""
    assert Harness.passes.__name__ == "passes"
    assert Harness.passes.__doc__ == "Takes an hour."


def test_a_subclass_has_to_say_which_store():
    """Without make_store there is nothing to test."""
    with pytest.raises(NotImplementedError):
        StoreHarness().make_store()
