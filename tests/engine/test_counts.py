"""The counts module: who is held, across the processes of a project."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.test import override_settings

from pushserver.engine import subscriptions
from pushserver.engine.counts import counted, held_elsewhere, held_here
from pushserver.exceptions import StoreUnavailable
from pushserver.stores import get_store
from pushserver.stores.base import SharedStore
from pushserver.stores.memory import MemoryStore
from tests.e2e.servers import wait_until
from tests.redis_server import RedisServer
from tests.sharing import CORE, Process, Reader, processes, settings

KEY = ("default", "news")
A_SECOND = 3.0  # of the promise, on a busy machine


class Shared(MemoryStore, SharedStore):
    """A store that other processes hold readers on."""

    local = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.elsewhere = 0
        self.asked = 0
        self.fails = False

    async def report_held(self, held: Mapping[str, int]) -> None:
        pass

    async def held_elsewhere(self, channel_id: str) -> int:
        self.asked += 1
        if self.fails:
            raise StoreUnavailable("no route")
        return self.elsewhere


@pytest.fixture
def shared() -> Iterator[Shared]:
    with override_settings(PUSH_SERVER={"store": {"type": f"{__name__}.Shared"}}):
        store = get_store()
        assert isinstance(store, Shared)
        yield store


async def append() -> Any:
    return await get_store().append("news", body=b"hello")


@pytest.mark.asyncio
async def test_a_burst_asks_once(shared: Shared, monkeypatch) -> None:
    """And again a tenth of a second later: with reports a count is a second old."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shared.elsewhere = 2
    assert (await counted(KEY, append()))[1] == 2
    shared.elsewhere = 3
    now += 0.09
    assert (await counted(KEY, append()))[1] == 2
    assert shared.asked == 1
    now += 0.02
    assert (await counted(KEY, append()))[1] == 3


@pytest.mark.asyncio
async def test_an_unknown_count_fails_no_append(shared: Shared) -> None:
    """Counts may be on another server; whoever asks for the count itself is told."""
    shared.fails = True
    message, count = await counted(KEY, append())
    assert (message.body, count) == (b"hello", 0)
    with pytest.raises(StoreUnavailable):
        await held_elsewhere(KEY)


@pytest.mark.asyncio
async def test_a_store_of_one_process_is_counted_without_a_step_between() -> None:
    """The readers of this loop are counted exactly as they were at the append."""
    operation = counted(KEY, append())
    with pytest.raises(StopIteration) as done:
        operation.send(None)
    message, count = done.value.value
    assert (message.body, count) == (b"hello", 0)
    assert await held_elsewhere(KEY) == 0


@pytest.mark.asyncio
async def test_held_here_counts_who_is_parked() -> None:
    """On the hubs of this process."""
    assert held_here(KEY) == 0
    async with Reader("news"), Reader("news"), Reader("other"):
        assert held_here(KEY) == 2
    assert held_here(KEY) == 0
    await subscriptions.current().close()


# Across processes


@pytest.fixture(scope="module")
def both() -> Iterator[list[Process]]:
    with RedisServer() as server, processes(2, settings(server, CORE)) as both:
        yield both


def test_counts_are_right_within_a_second(both: list[Process]) -> None:
    """What is told of a channel, and to who publishes, does not depend on where."""
    here, there = both
    held = [there.start("read", "counted", None) for _ in range(2)]
    wait_until(
        lambda: here.ask("info", "counted")["subscribers"] == 2, deadline=A_SECOND
    )
    assert here.ask("info", "counted")["requested"] == 0
    assert here.ask("exists", "counted")
    assert here.ask("publish", "counted", "hello") == 2
    assert [there.answer(poll) for poll in held] == [["hello"], ["hello"]]
    wait_until(
        lambda: here.ask("info", "counted")["subscribers"] == 0, deadline=A_SECOND
    )
    assert here.ask("publish", "counted", "hello") == 0


def test_a_reader_elsewhere_makes_a_channel_that_can_be_deleted(
    both: list[Process],
) -> None:
    """And deleting it ends that reader, in whatever process."""
    here, there = both
    assert not here.ask("exists", "empty")
    assert not here.ask("delete", "empty")
    held = there.start("read", "empty", None)
    wait_until(lambda: here.ask("exists", "empty"), deadline=A_SECOND)
    assert here.ask("delete", "empty")
    assert there.answer(held) == "DELETED"


def test_the_readers_of_a_killed_process_disappear() -> None:
    """By themselves, within seconds."""
    with RedisServer() as server, processes(2, settings(server, CORE)) as both:
        here, there = both
        there.start("read", "news", None)
        wait_until(lambda: here.ask("info", "news")["subscribers"] == 1)
        there.process.kill()
        wait_until(lambda: here.ask("info", "news")["subscribers"] == 0, deadline=6)
