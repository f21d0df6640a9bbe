"""The contest module: first and last across processes."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from pushserver.engine.contest import _beside
from pushserver.engine.following import Following
from pushserver.engine.waiters import Ending, Outcome
from pushserver.stores import get_store
from tests.e2e.servers import wait_until
from tests.readers import serving
from tests.redis_server import RedisServer
from tests.sharing import PUBSUB, Process, processes, settings

SOON = 4.0  # seconds: a second of the promise, and a busy machine
LAST = {"concurrency": "last"}
FIRST = {"concurrency": "first"}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def both(server: RedisServer) -> Iterator[list[Process]]:
    server.command("FLUSHALL")
    with processes(2, settings(server, PUBSUB)) as both:
        yield both


def hold(process: Process, **options: str) -> int:
    """Have a reader held there, and return the number of the poll."""
    held = process.ask("held")
    poll = process.start("read", "news", None, options)
    wait_until(lambda: process.ask("held") > held, what="a held reader")
    return poll


def stays(process: Process, poll: int) -> bool:
    """Say whether the poll is still held when counts and looks are surely over."""
    end = time.monotonic() + 2.5
    wait_until(lambda: process.has_answered(poll) or time.monotonic() > end)
    return not process.has_answered(poll)


def test_last_ends_an_older_reader_in_another_process(both) -> None:
    """With `last` the newcomer stays, wherever it came, and gets the message."""
    here, there = both
    older = hold(here, **LAST)
    newer = hold(there, **LAST)
    assert here.answer(older, deadline=SOON) == "CONFLICT"
    assert stays(there, newer)
    here.ask("publish", "news", "hello")
    assert there.answer(newer) == ["hello"]


def test_last_lets_the_same_reader_move_between_processes(both) -> None:
    """A reader alone is never in its own way, whichever process serves it."""
    for process in both * 2:
        poll = hold(process, **LAST)
        both[0].ask("publish", "news", "hello")
        assert process.answer(poll) == ["hello"]


def test_first_refuses_a_newcomer_in_another_process(both) -> None:
    """With `first` the one who was there stays."""
    here, there = both
    older = hold(here, **FIRST)
    wait_until(lambda: there.ask("info", "news")["subscribers"] == 1)
    newer = hold(there, **FIRST)
    assert there.answer(newer, deadline=SOON) == "CONFLICT"
    assert not here.has_answered(older)


def test_first_lets_the_same_reader_move_between_processes(both) -> None:
    """The count of the process it has left is stale, and not held against it."""
    here, there = both
    poll = hold(here, **FIRST)
    wait_until(lambda: there.ask("info", "news")["subscribers"] == 1)
    there.ask("publish", "news", "one")
    assert here.answer(poll) == ["one"]
    poll = hold(there, **FIRST)
    assert stays(there, poll)


def test_of_two_first_at_once_one_stays(both) -> None:
    """Who came first is what the store says, also within the age of counts."""
    polls = [(process, process.start("read", "news", None, FIRST)) for process in both]
    wait_until(lambda: any(process.has_answered(poll) for process, poll in polls))
    [left] = [each for each in polls if not each[0].has_answered(each[1])]
    assert stays(*left)


def test_broadcast_readers_of_all_processes_stay(both) -> None:
    """Without `concurrency` nobody is in anybody's way."""
    polls = [hold(process) for process in both]
    wait_until(lambda: both[0].ask("info", "news")["subscribers"] == 2)
    both[1].ask("publish", "news", "hello")
    assert [p.answer(poll) for p, poll in zip(both, polls, strict=True)] == [
        ["hello"],
        ["hello"],
    ]


class Stream(Following):
    """A reader that goes on, and ignores what it is told meanwhile."""

    def hear(self, outcome: Outcome | None) -> None:
        pass


async def test_a_stream_that_goes_while_claims_are_compared_harms_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its claim was asked about already, and it is told nothing any more."""
    async with serving(store={"type": "tests.engine.test_upkeep.Shared"}) as running:
        leaving, staying = (
            Stream(running, ("default", name), None, concurrency="last")
            for name in "ab"
        )
        store = get_store()
        heads = store.heads

        async def going(channel_ids: Any) -> Any:
            if channel_ids[0].startswith("\0") and leaving.waiter is not None:
                leaving.__exit__()  # while the store is asked
                monkeypatch.undo()
            return await heads(channel_ids)

        leaving.__enter__()
        with staying:
            await leaving.next()
            await staying.next()
            for name in "ab":  # a newcomer of another process on each
                await store.append(_beside(name), body=b"other")
            monkeypatch.setattr(store, "heads", going)
            await running.contest.settle()
            assert staying.waiter is not None
            assert staying.waiter.outcome is Ending.CONFLICT
