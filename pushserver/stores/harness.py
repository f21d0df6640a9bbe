"""What the tests of a store run in: a clock, an event loop, stores that get closed."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Head, Store

__all__ = ["Clock", "StoreHarness", "in_a_loop"]

LONG_AGO = 1_700_000_000.0  # a Tuesday in 2023

P = ParamSpec("P")
Harness = TypeVar("Harness", bound="StoreHarness")


class Clock:
    """The time as the store under test sees it: seconds since 1970."""

    def __init__(self, now: float = LONG_AGO) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass; negative seconds let it go back."""
        self.now += seconds


class StoreHarness:
    """What a subclass says about its store, and what the tests do with it."""

    clock: Clock
    """The time of the test that runs; new for each test."""

    _stores: list[Store]

    def make_store(self, **options: Any) -> Store:
        """Return an empty store that takes the time from ``self.clock``.

        ``options`` are those of the settings, and ``transient_timeout``.
        """
        raise NotImplementedError

    def make_peer(self, store: Store) -> Store:
        """Return a second object on the same messages, as another process has it."""
        return store

    async def close_store(self, store: Store) -> None:
        """Release what the store holds, at the end of a test."""

    # For the tests.

    def store(self, **options: Any) -> Store:
        """Return a store that is closed when the test ends."""
        store = self.make_store(**options)
        self._stores.append(store)
        return store

    async def append(self, store: Store, channel_id: str, count: int) -> list[Message]:
        """Append so many messages and return them."""
        return [
            await store.append(channel_id, body=b"%d" % number)
            for number in range(count)
        ]

    async def messages(
        self, store: Store, channel_id: str, after: Cursor = START
    ) -> list[Message]:
        """Return what the store gives after the cursor."""
        return list((await store.read(channel_id, after=after)).messages)

    async def head(self, store: Store, channel_id: str) -> Head:
        """Return the head of one channel."""
        return (await store.heads([channel_id]))[channel_id]


def in_a_loop(
    test: Callable[Concatenate[Harness, P], Coroutine[Any, Any, None]],
) -> Callable[Concatenate[Harness, P], None]:
    """Run a test, and the closing of its stores, in an event loop of its own.

    So that a user's pytest needs no plugin for it, whichever it has.
    """

    @wraps(test)
    def run(self: Harness, /, *args: P.args, **kwargs: P.kwargs) -> None:
        async def main() -> None:
            self.clock, self._stores = Clock(), []
            try:
                await test(self, *args, **kwargs)
            finally:
                for store in self._stores:
                    await self.close_store(store)

        asyncio.run(main())

    return run
