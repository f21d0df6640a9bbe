"""A subscription that goes on: once, in order, and at its client's pace."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from pushserver.engine import publishing
from pushserver.engine.following import Following
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery, Ending, Outcome
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor, Message
from pushserver.stores import get_store
from tests.faults import RemoteStore
from tests.readers import KEY, publish, publish_elsewhere, serving

ANCIENT = Cursor(1000, 0)


class Told(Following):
    """Tells its owner."""

    on_news: Callable[[Outcome | None], None]

    def hear(self, outcome: Outcome | None) -> None:
        self.on_news(outcome)


class Follower:
    """Takes what it is told while it is ``idle``, and looks when it was not."""

    def __init__(
        self, running: Subscriptions, cursor: Cursor | None = None, **options: Any
    ) -> None:
        self.told: list[Outcome | None] = []
        self.heard: list[Message] = []
        self.gaps = 0
        self.idle = True
        self.following = Told(running, KEY, cursor, **options)
        self.following.on_news = self._hear

    def _hear(self, outcome: Outcome | None) -> None:
        self.told.append(outcome)
        if self.idle and isinstance(outcome, Delivery):
            self._take(outcome)

    def _take(self, delivery: Delivery, most: int | None = None) -> None:
        self.gaps += delivery.gap
        for message in delivery.messages[:most]:
            self.heard.append(message)
            self.following.advance(message)

    async def look(self, most: int | None = None) -> Outcome | None:
        """Read on until there is no more; ``most`` messages a read."""
        while True:
            outcome = await self.following.next()
            if not isinstance(outcome, Delivery):
                return outcome
            self._take(outcome, most)

    @property
    def bodies(self) -> str:
        return "".join(message.body.decode() for message in self.heard)


async def told(follower: Follower, count: int = 1) -> None:
    await until(lambda: len(follower.told) >= count)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (the time is virtual)
            await asyncio.sleep(0.01)


async def test_what_was_there_and_what_comes_is_one_stream():
    """History by looking, then each message as it comes, without looking again."""
    async with serving() as running:
        await publish("a")
        await publish("b")
        follower = Follower(running)
        with follower.following:
            begun = [follower.following.begun]
            assert await follower.look() is None
            assert [*begun, follower.following.begun] == [False, True]
            for body in "cde":
                await publish(body)
            await told(follower, 1)
            await until(lambda: follower.bodies == "abcde")
        assert follower.gaps == 0


async def test_it_counts_as_held_from_its_first_read_to_its_end():
    """Also in the middle of a delivery, and while its client does not read."""
    async with serving() as running:
        follower = Follower(running)
        follower.idle = False
        assert running.hub.held(KEY) == 0
        with follower.following:
            await follower.look()
            assert running.hub.held(KEY) == 1
            published = await publishing.publish(KEY, body=b"a", max_body=9)
            assert published.held == 1
            await told(follower)
            assert running.hub.held(KEY) == 1
        assert running.hub.held(KEY) == 0


async def test_a_busy_reader_reads_on_from_where_it_is():
    """It ignores what it is told, and later finds all of it, from the tail."""
    async with serving() as running:
        follower = Follower(running)
        follower.idle = False
        with follower.following:
            await follower.look()
            for body in "abc":
                await publish(body)
            await told(follower)
            assert follower.bodies == ""
            assert await follower.look(most=1) is None
            assert follower.bodies == "abc"
            follower.idle = True
            await publish("d")
            await until(lambda: follower.bodies == "abcd")


async def test_a_reader_too_slow_for_the_history_is_told_and_goes_on():
    """From the oldest message that is left."""
    async with serving(options={"max_messages": 3}) as running:
        follower = Follower(running)
        follower.idle = False
        with follower.following:
            await follower.look()
            await publish("0")
            await told(follower)
            await follower.look()
            for body in "abcdef":
                await publish(body)
                await asyncio.sleep(0.1)
            assert await follower.look() is None
            assert follower.bodies == "0def"
            assert follower.gaps == 1


async def test_a_loss_without_a_message_makes_it_look():
    """The position is where the channel stands, and the loss is told once."""
    layer = "tests.faults.DroppingLayer"
    async with serving(layer, options={"message_timeout": 1}) as running:
        first = await publish("a")
        follower = Follower(running, first.id)
        following = follower.following
        with following:
            await follower.look()
            last = await publish_elsewhere("b")
            await told(follower)
            assert follower.told == [None]
            await follower.look()
            lost = [following.gap]
            following.admit()
            assert [*lost, following.gap] == [True, False]
            assert following.position == last.id
            await follower.look()
            assert following.gap is False


async def test_a_store_that_loses_its_memory_makes_it_look():
    """The loss is told once, and what comes next is not missed."""
    async with serving(store="RemoteStore") as running:
        first = await publish("a")
        follower = Follower(running, first.id)
        with follower.following:
            await follower.look()
            await asyncio.sleep(1)
            cast(RemoteStore, get_store()).lose_everything()
            await told(follower)
            assert follower.told == [None]
            await follower.look()
            assert follower.following.gap
            await publish("b")
            await until(lambda: follower.bodies == "b")
            await publish("c")
            await until(lambda: follower.bodies == "bc")
            assert follower.gaps == 1


async def test_an_old_cursor_is_told_of_the_loss_with_the_first_message():
    """As a poll is; and only once."""
    async with serving() as running:
        await publish("a")
        follower = Follower(running, ANCIENT)
        with follower.following:
            await follower.look()
            await publish("b")
            await told(follower)
            assert follower.bodies == "ab"
        assert follower.gaps == 1


@pytest.mark.parametrize(
    ("first_message", "found"), [("oldest", "abc"), ("newest", ""), (2, "bc")]
)
async def test_it_starts_where_a_poll_would(first_message: str | int, found: str):
    """The position is before what is found, so who leaves at once loses nothing."""
    async with serving() as running:
        messages = [await publish(body) for body in "abc"]
        follower = Follower(running, first_message=first_message)
        with follower.following as following:
            outcome = await following.next()
            position = {"oldest": START, "newest": messages[2].id, 2: messages[0].id}
            assert following.position == position[first_message]
            assert isinstance(outcome, Delivery) or not found
            await follower.look()
            assert follower.bodies == found


async def test_a_deletion_ends_it_for_ever():
    """It is told, and every look says so again."""
    async with serving() as running:
        follower = Follower(running)
        with follower.following as following:
            await follower.look()
            await publish("a")
            await told(follower)
            await publishing.delete(KEY)
            await told(follower, 2)
            assert follower.told[1] is Ending.DELETED
            assert await following.next() is Ending.DELETED
            assert running.hub.held(KEY) == 0


async def test_a_shutdown_ends_it_and_lets_nobody_in():
    """Also who only begins."""
    async with serving() as running:
        follower = Follower(running)
        with follower.following:
            await follower.look()
            running.drain()
            assert follower.told == [Ending.SHUTDOWN]
        late = Follower(running)
        with late.following:
            assert await late.look() is Ending.SHUTDOWN


@pytest.mark.parametrize(("concurrency", "loser"), [("last", 0), ("first", 1)])
async def test_concurrency_is_decided_when_it_begins(concurrency: str, loser: int):
    """Though there are messages for it."""
    async with serving() as running:
        await publish("a")
        pair = [Follower(running, concurrency=concurrency) for _ in range(2)]
        with pair[0].following, pair[1].following:
            ends = [await follower.look() for follower in pair]
            lost = ends[1] if loser else pair[0].told[-1]
            assert lost is Ending.CONFLICT
            assert running.hub.held(KEY) == 1


async def test_a_store_that_does_not_answer_is_an_error_in_time():
    """When it begins, and when it reads on."""
    async with serving(store="RemoteStore") as running:
        follower = Follower(running)
        follower.idle = False
        with follower.following as following:
            await follower.look()
            await publish("a")
            await told(follower)
            live = running.live(KEY)
            live.tail.clear(live.tail.newest)
            live._store.read_lag = 60  # type: ignore[attr-defined]
            with pytest.raises(StoreUnavailable):
                await following.next()
