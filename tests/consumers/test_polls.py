"""When a long poll of many channels is answered, and with what."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from pushserver.conf import get_config
from pushserver.consumers import polls
from pushserver.consumers.frames import channel_head
from pushserver.consumers.polls import Poll
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.engine import publishing
from pushserver.engine.subscriptions import Subscriptions
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor, Message
from pushserver.requests import ConnectionSignals
from pushserver.stores import get_store
from pushserver.stores.base import SharedStore
from tests.faults import RemoteStore
from tests.readers import publish, serving

ANCIENT = Cursor(1000, 0)
MOMENT = 2.0


@pytest.fixture(autouse=True)
def moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than what a busy machine takes for a test."""
    monkeypatch.setattr(polls, "GATHERING", MOMENT)


def wanted(name: str, cursor: Cursor | None = None, **terms: Any) -> Wanted:
    location = replace(get_config().locations[0], **terms)
    return Wanted(channel_head("channel", name), ("default", name), cursor, location)


async def begun(
    running: Subscriptions, *channels: Wanted | Refused | str, limit: int = 10_000
) -> Poll:
    poll = Poll(running, limit=limit)
    found = [wanted(each) if isinstance(each, str) else each for each in channels]
    await poll.begin(found)
    return poll


async def say(*texts: str) -> None:
    """Publish each on the channel of its first letter, and have it delivered."""
    for text in texts:
        await publish(text, key=("default", text[0]))
    await asyncio.sleep(0.1)


def due(poll: Poll) -> bool:
    return poll.news.outcome is not None


async def answered(poll: Poll) -> list[dict[str, Any]]:
    """Wait for the time of the answer, and return that."""
    ended = asyncio.Event()
    poll.news.on_end = ended.set
    if poll.news.outcome is None:
        async with asyncio.timeout(60):
            await ended.wait()
    return [json.loads(entry) for entry in poll.entries()]


def texts(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["text"] for entry in entries]


async def test_who_has_just_asked_waits_for_company():
    """A moment after the request, for each channel all in its order."""
    loop = asyncio.get_running_loop()
    async with serving() as running:
        began = loop.time()
        with await begun(running, "a", "b", "c") as poll:
            await say("b1", "a1", "b2")
            await asyncio.sleep(1)
            await say("a2")
            assert not due(poll)
            assert texts(await answered(poll)) == ["a1", "a2", "b1", "b2"]
            assert MOMENT <= loop.time() - began < MOMENT + 0.5


async def test_what_was_there_waits_for_company_too():
    """Or who comes back at once would be answered once for each message."""
    loop = asyncio.get_running_loop()
    async with serving() as running:
        await say("a1", "b1")
        began = loop.time()
        with await begun(running, "a", "b") as poll:
            await say("b2", "a2")
            assert texts(await answered(poll)) == ["a1", "a2", "b1", "b2"]
            assert loop.time() - began >= MOMENT


async def test_who_has_waited_is_answered_at_once():
    """Ordinary traffic is not delayed."""
    loop = asyncio.get_running_loop()
    async with serving() as running:
        with await begun(running, "a") as poll:
            await asyncio.sleep(MOMENT)
            came = loop.time()
            await publish("a1", key=("default", "a"))
            assert texts(await answered(poll)) == ["a1"]
            assert loop.time() - came < MOMENT / 2


async def test_what_is_on_its_way_is_part_of_it():
    """Whether it is told to those who wait before the poll comes, or after that."""
    async with serving() as running:
        first = await publish("a0", key=("default", "a"))
        asked = wanted("a", first.id)
        with await begun(running, asked):
            await publish("a1", key=("default", "a"))
            with await begun(running, asked) as poll:
                assert not due(poll)
                assert running.statistics().held == 2
                assert texts(await answered(poll)) == ["a1"]


async def test_enough_for_an_answer_waits_for_nothing():
    """The channels after that are not even looked at."""
    async with serving() as running:
        at = [(await publish("x", key=("default", name))).id for name in "abc"]
        asked = [wanted(name, cursor) for name, cursor in zip("abc", at, strict=True)]
        with await begun(running, *asked):
            await say("a" * 60, "b" * 60, "c" * 60)  # the tails have it now
        with await begun(running, *asked, limit=100) as poll:
            assert due(poll)
            assert running.statistics().readers == 2
            assert texts(await answered(poll)) == ["a" * 60]


async def test_enough_from_the_store_waits_for_nothing_either():
    """It is asked for some channels at a time."""
    async with serving() as running:
        names = [f"{n}" for n in range(200)]
        for name in names:
            await publish("x" * 100, key=("default", name))
        with await begun(running, *names, limit=1000) as poll:
            assert due(poll)
            assert running.statistics().held == 0
            assert 0 < len(await answered(poll)) < 10


async def test_a_flooded_channel_keeps_no_other_waiting():
    """Who is furthest behind comes first, however much there is of the others."""
    async with serving() as running:
        cursors: dict[str, Cursor] = {}
        for each in ("a", "b"):
            cursors[each] = (await publish("x", key=("default", each))).id
        heard = []
        for n in range(12):
            await say("a" * 50, f"b{n}", "a" * 50)
            channels = [wanted(each, cursors[each]) for each in ("a", "b")]
            with await begun(running, *channels, limit=50) as poll:
                for entry in await answered(poll):
                    heard.append(entry["text"][:2])
                    cursors[entry["channel"]] = Cursor.parse(entry["id"])
        assert {"aa", "b0", "b1"} <= {*heard}


async def test_a_flooded_channel_keeps_none_waiting_that_has_to_be_read():
    """Its tail is not known here, and would not be, if nobody asked for it."""
    async with serving() as running:
        far, near = [(await publish("x", key=("default", each))).id for each in "ab"]
        with await begun(running, wanted("b", near)):
            pass  # the tail of b is known from here on, that of a is not
        await say("a0", "b" * 50)
        channels = wanted("a", far), wanted("b", near)
        with await begun(running, *channels, limit=50) as poll:
            assert texts(await answered(poll))[0] == "a0"


async def test_a_shutdown_ends_the_moment():
    """What was heard of until then is told."""
    async with serving() as running:
        with await begun(running, "a", "b") as poll:
            await say("a1")
            assert not due(poll)
            running.drain()
            assert due(poll)
            assert texts(await answered(poll)) == ["a1"]
        with await begun(running, "a") as late:
            assert due(late)


async def test_what_is_wrong_with_a_channel_is_told_in_time():
    """A refusal, a deletion, a place that is taken, a channel that must exist."""
    async with serving() as running:
        refused = Refused(channel_head("channel", "r"), 400, "No.")
        first = wanted("first", concurrency="first")
        with await begun(running, first), await begun(running, "d") as poll:
            await publishing.delete(("default", "d"))
            await asyncio.sleep(0.1)
            assert not due(poll)
            [entry] = await answered(poll)
            assert (entry["channel"], entry["error"]) == ("d", 410)
            strict = wanted("n", create_on_get=False)
            with await begun(running, refused, first, strict, "a") as other:
                errors = {
                    entry["channel"]: entry["error"] for entry in await answered(other)
                }
            assert errors == {"r": 400, "first": 409, "n": 404}


async def test_a_loss_is_told_once():
    """With a message after it, or with the position, of a channel that has one."""
    async with serving(options={"message_timeout": 100}) as running:
        last = await publish("b1", key=("default", "b"))
        await say("a1")
        asked = [wanted("a", ANCIENT), wanted("b", ANCIENT), wanted("c")]
        with await begun(running, *asked) as poll:
            await say("a2")
            gaps = [entry.get("gap") for entry in await answered(poll)]
            assert gaps == [True, None, True]
        await asyncio.sleep(200)
        with await begun(running, *asked[1:]) as poll:
            position = {"channel": "b", "id": str(last.id), "gap": True}
            assert await answered(poll) == [position]


async def test_places_are_told_where_the_client_has_others():
    """Where a reader was placed, or moved without a message."""
    async with serving() as running:
        last = await publish("a1", key=("default", "a"))
        newest = wanted("a", first_message="newest")
        with await begun(running, newest, wanted("b", Cursor(0, 0))) as poll:
            assert poll.entries() == []
            places = [json.loads(place) for place in poll.places()]
            assert places == [{"channel": "a", "id": str(last.id)}]


async def test_receivers_are_told_of_a_poll_that_is_held():
    """Of each channel, in pairs; not where an answer is due already."""
    told: list[str] = []

    class Signals:
        def subscribe(self, channel_id: str) -> None:
            told.append(f"+{channel_id}")

        def unsubscribe(self, channel_id: str) -> None:
            told.append(f"-{channel_id}")

    signals = cast(ConnectionSignals, Signals())
    async with serving() as running:
        await say("c1")
        with await begun(running, "a", "b") as poll, await begun(running, "c") as due:
            poll.tell(signals)
            due.tell(signals)
            assert told == ["+a", "+b"]
        with await begun(running, "c", limit=1) as full:
            full.tell(signals)
    assert told == ["+a", "+b", "-a", "-b"]


async def test_a_store_that_is_down_is_told_of_its_channels():
    """And the poll is not held."""
    async with serving(store="RemoteStore") as running:
        cast(RemoteStore, get_store()).read_lag = 60
        names = [f"{n}" for n in range(120)]
        with await begun(running, *names) as poll:
            errors = [entry["error"] for entry in await answered(poll)]
            assert errors == [503] * 120


class FullStore(RemoteStore, SharedStore):
    """Takes no message any more, as a Redis that has no memory left."""

    async def append(self, channel_id: str, **message: Any) -> Message:
        raise StoreUnavailable("out of memory")

    async def report_held(self, held: Mapping[str, int]) -> None:
        """Nobody asks."""

    async def held_elsewhere(self, channel_id: str) -> int:
        return 0


async def test_a_contest_that_cannot_be_held_is_told():
    """Though the reader is parked by then: it may be one of two."""
    async with serving(store={"type": f"{__name__}.FullStore"}) as running:
        poll = Poll(running, limit=10_000)
        with poll:
            await poll.begin([wanted("a", concurrency="last")])
            assert [entry["error"] for entry in await answered(poll)] == [503]
