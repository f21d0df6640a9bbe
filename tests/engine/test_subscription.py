import asyncio
import gc
import random
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any, cast

import pytest
import pytest_asyncio

from pushserver.engine import publishing
from pushserver.engine.hub import HubStatistics
from pushserver.engine.subscription import Subscription
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Ending
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor, Message
from pushserver.stores import get_store
from pushserver.stores.memory import MemoryStore, StoreStatistics
from tests.faults import RemoteStore, ScriptedLayer, wall_clock
from tests.readers import (
    KEY,
    POLL_TIMEOUT,
    RESYNC,
    Reader,
    publish,
    publish_elsewhere,
    serving,
)

LAYERS = (
    None,
    "channels.layers.InMemoryChannelLayer",
    "tests.faults.DroppingLayer",
    "tests.faults.DoublingLayer",
    "tests.faults.DelayingLayer",
    "tests.faults.ChaoticLayer",
)
SOON = 0.5  # with no fault: what a message takes, in a process of virtual time
PATIENCE = RESYNC + SOON  # what it may take whatever the layer does


@pytest_asyncio.fixture(params=LAYERS, ids=lambda path: str(path).rpartition(".")[2])
async def running(request) -> AsyncIterator[Subscriptions]:
    """Subscriptions over each kind of layer, with more room than any test needs."""
    async with serving(request.param, options={"max_messages": 5000}) as running:
        yield running


@pytest.fixture(params=[publish, publish_elsewhere], ids=lambda send: send.__name__)
def send(request) -> Any:
    """Publish from this process, or as another one does."""
    return request.param


def remote() -> RemoteStore:
    return cast(RemoteStore, get_store())


def bodies(messages: list[Message]) -> list[str]:
    return [message.body.decode() for message in messages]


# Whatever the layer does with the wake-ups.


async def test_a_held_reader_gets_what_is_published(running, send):
    """Within resync at the latest."""
    reader = Reader(running)
    for number in range(5):
        async with reader.holding() as poll:
            message = await send(f"{number}")
            async with asyncio.timeout(PATIENCE):
                assert await poll == message
    assert reader.gaps == 0


async def test_every_held_reader_gets_it(running, send):
    """One message, a hundred readers, one order."""
    readers = [Reader(running) for _ in range(100)]
    async with AsyncExitStack() as stack:
        polls = [await stack.enter_async_context(r.holding()) for r in readers]
        message = await send()
        async with asyncio.timeout(PATIENCE):
            assert await asyncio.gather(*polls) == [message] * len(readers)


async def test_what_is_published_between_polls_comes_next(running, send):
    """A reader that is away misses nothing, and is not told that it did."""
    reader = Reader(running)
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    sent = [await send(f"{number}") for number in range(20)]
    assert await reader.hear(20, PATIENCE) == sent
    await asyncio.sleep(100)
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    sent = [await send(f"{number}") for number in range(20)]
    assert await reader.hear(20, PATIENCE) == sent
    assert reader.gaps == 0


async def test_bursts_of_fifty_publishers_arrive_in_order_and_once(running, send):
    """A thousand messages, some between polls and some while readers are held."""
    readers = [Reader(running) for _ in range(5)]
    hearing = [asyncio.create_task(reader.hear(1000, 120)) for reader in readers]

    async def burst(publisher: int) -> list[Message]:
        sent = []
        for number in range(20):
            sent.append(await send(f"{publisher}/{number}"))
            if number % 5 == 4:
                await asyncio.sleep(random.uniform(0, 2))
        return sent

    sent = await asyncio.gather(*(burst(publisher) for publisher in range(50)))
    expected = sorted((m for part in sent for m in part), key=lambda m: m.id)
    assert len({message.id for message in expected}) == 1000
    for heard in await asyncio.gather(*hearing):
        assert heard == expected
    assert sum(reader.gaps for reader in readers) == 0


async def test_readers_that_come_and_go_lose_nothing(running, send):
    """Over idle times, abandoned polls and lingering memberships."""
    chance = random.Random(1)
    readers = [Reader(running) for _ in range(4)]
    sent: list[Message] = []

    async def read(reader: Reader) -> None:
        while len(reader.heard) < 60:
            task = asyncio.create_task(reader.poll(timeout=chance.uniform(0.1, 20)))
            if chance.random() < 0.3:
                # The client goes away in the middle; what it had not got counts not.
                await asyncio.wait([task], timeout=chance.uniform(0, 3))
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if chance.random() < 0.3:
                await asyncio.sleep(chance.uniform(0, 60))

    async def write() -> None:
        for number in range(60):
            sent.append(await send(f"{number}"))
            await asyncio.sleep(chance.choice([0, 0, 0.01, 1, 7, 40]))

    async with asyncio.timeout(3000):
        await asyncio.gather(write(), *map(read, readers))
    for reader in readers:
        assert reader.heard == sent
        assert reader.gaps == 0


async def test_a_deletion_ends_every_held_reader(running, send):
    """Even where nobody is woken; afterwards the channel is an empty one."""
    first = await send()
    reader = Reader(running, first.id)
    async with reader.holding() as poll:
        assert await publishing.delete(KEY)
        async with asyncio.timeout(PATIENCE):
            assert await poll is Ending.DELETED
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    assert await Reader(running).poll(timeout=1) is Ending.DEADLINE
    [second] = await asyncio.gather(send("second"))
    assert await reader.hear(1, PATIENCE) == [second]
    assert reader.gaps == 0
    await asyncio.sleep(60)
    async with reader.holding() as poll:
        await publishing.delete(KEY)
        async with asyncio.timeout(PATIENCE):
            assert await poll is Ending.DELETED


async def test_a_deletion_after_the_last_poll_does_not_end_the_next(running, send):
    """Whoever comes when the channel has been deleted is held, not sent away."""
    [old] = [await send()]
    reader = Reader(running, old.id)
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    await publishing.delete(KEY)
    await asyncio.sleep(PATIENCE)
    assert await reader.poll() is Ending.DEADLINE
    assert await Reader(running, old.previous).poll() is Ending.DEADLINE


async def test_channels_do_not_mix(running, send):
    """Each reader hears its own channel, one of another store among them."""
    keys = [("default", "a"), ("default", "A"), ("default", "b")]
    readers = [Reader(running, key=key) for key in keys]
    sent = [await send(key[1], key=key) for key in keys]
    for reader, message in zip(readers, sent, strict=True):
        assert await reader.hear(1, PATIENCE) == [message]
        assert await reader.poll(timeout=10) is Ending.DEADLINE


async def test_waived_messages_reach_whoever_keeps_coming_back(running, send):
    """Those that are held, and those between two polls; nobody else."""
    reader = Reader(running)
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    async with reader.holding() as poll:
        waived = await send("1", keep=False)
        async with asyncio.timeout(PATIENCE):
            assert await poll == waived
    between = [await send(body, keep=False) for body in "23"]
    assert await Reader(running).poll(timeout=1) is Ending.DEADLINE
    assert await reader.hear(2, PATIENCE) == between
    assert reader.gaps == 0
    await asyncio.sleep(3 * RESYNC)
    late = Reader(running, waived.id)
    assert await late.poll(timeout=1) is Ending.DEADLINE
    assert late.gap


async def test_a_waived_first_message_reaches_who_comes_back_to_an_empty_channel(
    running,
    send,
):
    """0-0 is the position just before it; no cursor at all is none."""
    reader = Reader(running)
    assert await reader.poll(timeout=1) is Ending.DEADLINE
    assert reader.cursor == START
    sent = [await send(body, keep=False) for body in "12"]
    assert await reader.hear(2, PATIENCE) == sent
    assert await Reader(running).poll(timeout=1) is Ending.DEADLINE


# Prompt with a layer that works.


@pytest.mark.parametrize("moment", [n / 1000 for n in range(0, 41, 2)])
async def test_a_message_at_any_moment_of_a_first_poll_is_not_late(moment):
    """Registered, joined, read, parked: no step leaves a hole of resync seconds."""
    async with serving(store="RemoteStore") as running:
        remote().read_lag = 0.02
        reader = Reader(running)
        poll = asyncio.create_task(reader.poll())
        await asyncio.sleep(moment)
        message = await publish()
        async with asyncio.timeout(SOON):
            assert await poll == message


@pytest.mark.parametrize("moment", [n / 1000 for n in range(0, 41, 2)])
async def test_a_message_at_any_moment_of_a_later_poll_is_not_late(moment):
    """Nor where the tail is old, and where the reader's cursor is."""
    async with serving(store="RemoteStore") as running:
        sent = [await publish(f"{number}") for number in range(3)]
        await Reader(running).hear(3, SOON)
        remote().read_lag = 0.02
        await asyncio.sleep(RESYNC * 0.95)
        behind, level = Reader(running, sent[0].previous), Reader(running, sent[2].id)
        polls = asyncio.gather(behind.hear(4, 1), level.hear(1, 1))
        await asyncio.sleep(moment)
        message = await publish()
        async with asyncio.timeout(SOON):
            assert list(await polls) == [[*sent, message], [message]]


async def test_a_steady_poll_reads_nothing():
    """The tail answers it, and holds it; only verification asks the store."""
    async with serving(store="RemoteStore") as running:
        readers = [Reader(running) for _ in range(20)]
        await publish()
        for reader in readers:
            await reader.poll()
        reads, asked = remote().reads, remote().heads_asked
        for _ in range(5):
            polls = [asyncio.create_task(r.poll()) for r in readers]
            assert set(await asyncio.gather(*polls)) == {Ending.DEADLINE}
        assert remote().reads == reads
        # 125 seconds: not more than one in 0.7 * resync.
        assert remote().heads_asked - asked <= 5 * POLL_TIMEOUT / (0.7 * RESYNC) + 1


async def test_a_held_reader_costs_memory_and_nothing_else():
    """No task, no read, no group of its own while it waits."""
    async with serving("tests.faults.ScriptedLayer", store="RemoteStore") as running:
        await Reader(running).poll(timeout=0.1)
        ScriptedLayer.calls.clear()
        tasks, reads = len(asyncio.all_tasks()), remote().reads
        with ExitStack() as stack:
            for _ in range(1000):
                reader = stack.enter_context(Subscription(running, KEY, None))
                assert await reader.begin() is None
            assert running.statistics().held == 1000
            await asyncio.sleep(100)
            assert len(asyncio.all_tasks()) == tasks
            assert remote().reads == reads
            assert ScriptedLayer.calls == {}


@pytest.mark.parametrize(("send", "cost"), [(publish, 0), (publish_elsewhere, 1)])
async def test_a_message_costs_one_read_however_many_wait(send, cost):
    """None where it was published here; and the polls that follow on it cost none."""
    async with serving(store="RemoteStore") as running:
        readers = [Reader(running) for _ in range(50)]
        await publish("first")
        for reader in readers:
            await reader.poll()
        polls = [asyncio.create_task(reader.poll()) for reader in readers]
        await asyncio.sleep(0.1)
        reads = remote().reads
        await send("second")
        assert len({await poll for poll in polls}) == 1
        late = Reader(running, readers[0].heard[0].id)
        assert bodies(await late.hear(1, SOON)) == ["second"]
        assert remote().reads == reads + cost


async def test_readers_of_one_cursor_share_a_read():
    """A hundred that come at once ask the store once."""
    async with serving(store="RemoteStore") as running:
        sent = [await publish(f"{number}") for number in range(3)]
        readers = [Reader(running, sent[0].id) for _ in range(100)]
        assert await asyncio.gather(*(r.poll() for r in readers)) == [sent[1]] * 100
        assert remote().reads == 1


async def test_a_reader_that_leaves_does_not_end_the_read_of_the_others():
    """The first of those that share a read may go away in the middle of it."""
    async with serving(store="RemoteStore") as running:
        message = await publish()
        first, second = (asyncio.create_task(Reader(running).poll()) for _ in "12")
        await asyncio.sleep(0.006)
        first.cancel()
        assert await second == message
        assert running.statistics() == HubStatistics(channels=1, readers=0, held=0)


async def test_an_empty_channel_costs_the_store_nothing():
    """However many channels are forgotten meanwhile, and however long it is empty."""
    options = {"message_timeout": 1, "channel_timeout": 1}
    async with serving(store="RemoteStore", options=options) as running:
        reader = Reader(running)
        await reader.poll()
        reads = remote().reads
        for number in range(10):
            await publish(key=("default", f"other {number}"))
            assert await reader.poll(timeout=10) is Ending.DEADLINE
            assert reader.cursor == START
            assert not reader.gap
        assert remote().reads == reads
        assert remote().statistics().channels == 0
        message = await publish()
        assert await reader.hear(1, SOON) == [message]
        assert reader.gaps == 0


# Cursors.


async def kept(count: int = 3) -> list[Message]:
    return [await publish(f"{number}") for number in range(count)]


@pytest.fixture(params=["cold", "warm"])
def warm(request) -> bool:
    """Whether the channel has a tail already, or the store must be asked."""
    return request.param == "warm"


async def warm_up(running: Subscriptions, warm: bool) -> None:
    if warm:
        await Reader(running, first_message="newest").poll(timeout=0.1)


async def test_without_a_cursor_the_oldest_comes_first(warm):
    """And then the rest, in order."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        assert await Reader(running).hear(3, SOON) == sent
        assert await Reader(running, START).hear(3, SOON) == sent


async def test_a_reader_at_the_newest_waits(warm):
    """It is not given what it has seen."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        reader = Reader(running, sent[-1].id)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (sent[-1].id, False)


async def test_a_cursor_from_the_future_counts_as_the_newest(warm):
    """No old message comes, the next one does, and no loss is told."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        reader = Reader(running, Cursor(2**62, 7))
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (sent[-1].id, False)
        held_one = Reader(running, Cursor(2**62, 7))
        async with held_one.holding() as poll:
            message = await publish()
            assert await poll == message
        assert await reader.hear(1, SOON) == [message]
        assert reader.gaps == held_one.gaps == 0


async def test_a_cursor_beyond_the_tail_proves_it_stale():
    """What another process has read is no future: the store is asked."""
    async with serving("tests.faults.DroppingLayer") as running:
        await kept(1)
        await Reader(running).hear(1, SOON)
        one, two = await kept(2)  # without a wake-up
        reader = Reader(running, one.id)
        assert await reader.hear(1, SOON) == [two]
        reader = Reader(running, two.id)
        async with reader.holding() as poll:
            three = await publish()
            async with asyncio.timeout(PATIENCE):
                assert await poll == three
        assert reader.gaps == 0


async def test_a_cursor_before_the_tail_is_answered_by_the_store():
    """A reader far behind gets everything that is kept, over several reads."""
    async with serving(options={"max_messages": 1000}) as running:
        sent = await kept(350)
        await Reader(running, sent[300].id).hear(49, SOON)
        reader = Reader(running, sent[0].id)
        assert await reader.hear(349, SOON) == sent[1:]
        assert reader.gaps == 0


async def test_a_cursor_that_is_only_a_date(warm):
    """The first message of that second or later comes: perhaps again, never less."""
    async with serving() as running:
        await asyncio.sleep(10)
        [early] = await kept(1)
        await asyncio.sleep(10)
        sent = await kept()
        await warm_up(running, warm)
        since = Cursor.before_second(sent[0].id.milliseconds // 1000)
        reader = Reader(running, since)
        assert await reader.hear(3, SOON) == sent
        assert reader.gaps == 0
        since = Cursor.before_second(early.id.milliseconds // 1000)
        assert await Reader(running, since).hear(4, SOON) == [early, *sent]
        tomorrow = Cursor.before_second(int(wall_clock()) + 86_400)
        reader = Reader(running, tomorrow)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (sent[-1].id, False)


async def test_first_message_newest_begins_at_the_end(warm):
    """Nothing old comes, and nothing is lost from then on."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        reader = Reader(running, first_message="newest")
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (sent[-1].id, False)
        more = await kept()
        assert await reader.hear(3, SOON) == more
        empty = Reader(running, first_message="newest", key=("default", "empty"))
        assert await empty.poll(timeout=1) is Ending.DEADLINE
        assert empty.cursor == START


@pytest.mark.parametrize(("count", "expected"), [(1, "2"), (2, "12"), (9, "012")])
async def test_first_message_n_begins_so_many_from_the_end(warm, count, expected):
    """Or at the oldest where there are fewer; only without a cursor."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        reader = Reader(running, first_message=count)
        assert "".join(bodies(await reader.hear(len(expected), SOON))) == expected
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert reader.gaps == 0
        back = Reader(running, sent[0].previous, first_message=count)
        assert await back.hear(3, SOON) == sent


async def test_first_message_n_does_not_begin_with_a_waived_one():
    """Without a cursor nobody gets it as the first message."""
    async with serving() as running:
        [one, two] = await kept(2)
        waived = await publish(keep=False)
        assert await Reader(running, first_message=1).hear(2, SOON) == [two, waived]
        assert await Reader(running, first_message=2).hear(1, SOON) == [one]
    async with serving() as running:
        waived = await publish(keep=False)
        reader = Reader(running, first_message=1)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert reader.cursor == waived.id


async def test_interval_polls_do_not_wait():
    """They are told at once where to come back with, and are never held."""
    async with serving() as running:
        reader = Reader(running)
        assert await reader.poll(wait=False) is Ending.DEADLINE
        assert reader.cursor == START
        message = await publish()
        assert await reader.poll(wait=False) == message
        assert await reader.poll(wait=False) is Ending.DEADLINE
        assert reader.cursor == message.id
        assert running.statistics().held == 0


async def test_what_was_published_a_moment_ago_comes_in_its_turn():
    """Who waits is parked, and costs no read; who does not must see it at once."""
    async with serving(store="RemoteStore") as running:
        cursor = (await publish()).id
        waiting, asking = Reader(running, cursor), Reader(running)
        assert await waiting.poll(timeout=1) is Ending.DEADLINE
        remote().latency = 0
        for reader, reads in ((waiting, 0), (asking, 1)):
            before = remote().reads
            # Not a turn of the loop lies between.
            appended = await remote().append_and_head(KEY[1], body=b"x")
            running.hub.turns.add(lambda: None)
            running.hub.wake(KEY, appended)
            found = await reader.poll(wait=reader is waiting)
            assert found == appended.message
            assert remote().reads - before == reads
            asking.cursor = reader.cursor


async def test_a_waived_message_is_not_for_a_reader_without_cursor():
    """Not even for one that comes while the tail is old and has not heard of it."""
    layer = "tests.faults.DroppingLayer"
    async with serving(layer, store="RemoteStore") as running:
        await Reader(running).poll(timeout=0.1)
        remote().go_down()
        await asyncio.sleep(2 * RESYNC)
        remote().error = None
        waived = await publish(keep=False)
        reader = Reader(running)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert reader.cursor == waived.id


# What is lost is said, and nothing else.


async def test_trimmed_by_count(warm):
    """A slow reader gets the newest hundred, and is told once."""
    async with serving() as running:
        [first] = await kept(1)
        reader = Reader(running, first.id)
        assert await reader.poll(timeout=0.1) is Ending.DEADLINE
        await warm_up(running, warm)
        sent = await kept(250)
        await asyncio.sleep(0.1)
        assert await reader.hear(100, SOON) == sent[150:]
        assert reader.gaps == 1
        assert not reader.gap


@pytest.mark.parametrize("layer", LAYERS[:2])
async def test_trimmed_by_count_while_held(layer):
    """A reader that is held when more is published than is kept is told as well."""
    async with serving(layer, options={"max_messages": 10}) as running:
        [first] = await kept(1)
        reader = Reader(running, first.id)
        store = cast(MemoryStore, get_store())
        async with reader.holding() as poll:
            for _ in range(30):
                await store.append("a", body=b"x")
            await publish()
            async with asyncio.timeout(PATIENCE):
                await poll
        assert reader.gap


async def test_trimmed_by_age():
    """A reader that was away for long is told, with a message or without."""
    options = {"message_timeout": 60}
    async with serving(options=options) as running:
        sent = await kept(2)
        away, level = Reader(running, sent[0].id), Reader(running, sent[1].id)
        await asyncio.sleep(61)
        assert await away.poll(timeout=1) is Ending.DEADLINE
        assert (away.cursor, away.gap) == (sent[1].id, True)
        assert await away.poll(timeout=1) is Ending.DEADLINE
        assert not away.gap
        late = Reader(running, sent[0].id)
        message = await publish()
        assert await late.hear(1, SOON) == await level.hear(1, SOON) == [message]
        assert (late.gaps, level.gaps) == (1, 0)


async def test_a_loss_is_told_with_the_message_that_ends_the_wait():
    """A reader that was placed behind a loss hears of it when it hears anything."""
    async with serving(options={"message_timeout": 60}) as running:
        sent = await kept(2)
        await asyncio.sleep(61)
        reader = Reader(running, sent[0].id)
        async with reader.holding() as poll:
            message = await publish()
            assert await poll == message
        assert reader.gap


async def test_an_old_tail_does_not_serve_what_is_too_old():
    """A message that the store has dropped by age is not given by the tail."""
    async with serving(options={"message_timeout": 60}) as running:
        sent = await kept(2)
        await Reader(running).hear(2, SOON)
        await asyncio.sleep(61)
        reader = Reader(running, sent[0].id)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert reader.gap


async def test_deleted(warm):
    """Who has missed something before the deletion is told, who has not is not."""
    async with serving() as running:
        sent = await kept()
        await warm_up(running, warm)
        await publishing.delete(KEY)
        behind, level = Reader(running, sent[0].id), Reader(running, sent[2].id)
        assert await behind.poll(timeout=1) is Ending.DEADLINE
        assert (behind.cursor, behind.gap) == (sent[2].id, True)
        message = await publish()
        late = Reader(running, sent[1].id)
        for reader in (behind, level, late):
            assert await reader.hear(1, SOON) == [message]
        assert (level.gaps, late.gaps) == (0, 1)
        assert await Reader(running).hear(1, SOON) == [message]


async def test_forgotten():
    """A cursor into a channel that was forgotten cannot be connected."""
    options = {"message_timeout": 60, "channel_timeout": 60}
    async with serving(options=options) as running:
        sent = await kept()
        await asyncio.sleep(121)
        await publish(key=("default", "other"))
        reader = Reader(running, sent[-1].id)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (START, True)
        message = await publish()
        assert await reader.hear(1, SOON) == [message]
        assert reader.gaps == 1
        again = Reader(running, sent[-1].id)
        assert await again.hear(1, SOON) == [message]


async def test_held_while_the_channel_is_forgotten():
    """A reader that saw everything waits on, and gets what comes, without a gap."""
    options = {"message_timeout": 30, "channel_timeout": 30}
    async with serving(options=options) as running:
        sent = await kept()
        reader = Reader(running, sent[-1].id)
        async with reader.holding(timeout=1000) as poll:
            for number in range(40):
                await asyncio.sleep(RESYNC)
                await publish(key=("default", f"{number}"))
            assert not (await get_store().heads(["a"]))["a"].known
            message = await publish()
            assert await poll == message
        assert reader.gaps == 0


async def test_after_a_restart_of_the_memory_store():
    """A cursor of the process before is a gap, and is held for what comes."""
    async with serving() as running:
        sent = await kept()
    await asyncio.sleep(0.01)
    async with serving() as running:
        await asyncio.sleep(1)
        reader = Reader(running, sent[-1].id)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (START, True)
        message = await publish()
        assert await reader.hear(1, SOON) == [message]
        late = Reader(running, sent[-1].id)
        assert await late.hear(1, SOON) == [message]
        assert late.gap


@pytest.mark.parametrize("cursor", [None, START])
async def test_readers_at_the_start_lose_nothing(cursor):
    """0-0 and no cursor are no position that something could be missed from."""
    options = {"message_timeout": 60, "channel_timeout": 60, "max_messages": 2}
    async with serving(options=options) as running:
        reader = Reader(running, cursor)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        for number in range(5):
            await publish(key=("default", f"{number}"))
        await asyncio.sleep(125)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        sent = await kept(5)
        assert await reader.hear(2, SOON) == sent[3:]
        assert reader.gaps == 0


@pytest.mark.parametrize("published", [0, 3])
async def test_held_while_the_store_loses_its_memory(published):
    """A reader is told of the gap once, with a message or without."""
    async with serving(store="RemoteStore") as running:
        sent = await kept(published)
        cursor = sent[-1].id if sent else None
        reader, patient = Reader(running, cursor), Reader(running, cursor)
        async with reader.holding() as poll, patient.holding(3 * RESYNC) as waiting:
            await asyncio.sleep(1)
            remote().lose_everything()
            assert await waiting is Ending.DEADLINE
            assert (patient.cursor, patient.gap) == (START, True)
            message = await publish()
            assert await poll == message
            assert reader.gap
        assert await patient.hear(1, SOON) == [message]
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert (reader.gaps, patient.gaps) == (1, 1)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_cursor_of_what_a_restored_store_has_lost(warm, after):
    """Ids went back: who comes with one that is gone is told, and gets the next."""
    async with serving(store="RemoteStore") as running:
        await kept(2)
        restore = remote().saved()
        await asyncio.sleep(0.1)
        lost = await kept(2)
        await warm_up(running, warm)
        reader = Reader(running, lost[-1].id)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        restore()
        sent = await kept(after)
        assert await reader.hear(after, SOON) == sent[: len(sent)]
        async with reader.holding() as poll:
            message = await publish()
            assert await poll == message
        assert await reader.poll(timeout=2 * RESYNC) is Ending.DEADLINE
        assert reader.gaps == 1


async def test_a_hole_of_waived_storage_is_a_gap_from_the_tail_too():
    """Store and tail tell the same: what is between was not for this reader."""
    async with serving() as running:
        [before] = await kept(1)
        await publish(keep=False)
        [after] = await kept(1)
        await asyncio.sleep(2.5 * RESYNC)
        for _ in range(2):
            reader = Reader(running, before.id)
            assert await reader.hear(1, SOON) == [after]
            assert reader.gap


async def test_a_steady_tail_tells_of_ids_that_are_lost():
    """One between two others was given by a store that has lost it since."""
    async with serving() as running:
        [before] = await kept(1)
        await asyncio.sleep(0.1)
        [after] = await kept(1)
        await Reader(running).hear(2, SOON)
        reader = Reader(running, before.id._replace(sequence=99))
        assert await reader.hear(1, SOON) == [after]
        assert reader.gap


async def test_a_loss_that_nobody_could_deliver_is_told_once():
    """A held reader whose message was gone before it was read goes on behind it."""
    layer = "tests.faults.DroppingLayer"
    async with serving(layer, store="RemoteStore") as running:
        [first] = await kept(1)
        reader = Reader(running, first.id)
        async with reader.holding() as poll:
            lost = await publish_elsewhere(keep=False)
            remote().go_down()
            await asyncio.sleep(2.5 * RESYNC)
            remote().error = None
            assert await poll is Ending.DEADLINE
        assert (reader.cursor, reader.gap) == (lost.id, True)
        assert await reader.poll(timeout=1) is Ending.DEADLINE
        assert not reader.gap


# The ends of a wait.


async def test_broadcast_holds_everybody():
    """The default: nobody is sent away."""
    async with serving() as running:
        first, second = Reader(running), Reader(running)
        async with first.holding() as one, second.holding() as two:
            message = await publish()
            assert list(await asyncio.gather(one, two)) == [message] * 2


async def test_last_sends_the_older_ones_away():
    """Whoever comes last is held; a message that is there ends nobody's wait."""
    async with serving() as running:
        message = await publish()
        old, new = (Reader(running, message.id, concurrency="last") for _ in "12")
        async with old.holding() as poll:
            passing = Reader(running, message.previous, concurrency="last")
            assert await passing.poll() == message
            assert running.statistics().held == 1
            task = asyncio.create_task(new.poll())
            assert await poll is Ending.CONFLICT
            message = await publish()
            assert await task == message


async def test_first_sends_the_newer_ones_away():
    """Until the first one has gone; a message that is there is for everybody."""
    async with serving() as running:
        message = await publish()
        old, new = (Reader(running, message.id, concurrency="first") for _ in "12")
        async with old.holding() as poll:
            assert await new.poll() is Ending.CONFLICT
            assert await Reader(running, concurrency="first").poll() == message
            message = await publish()
            assert await poll == message
        assert await new.poll() == message
        assert await new.poll(timeout=1) is Ending.DEADLINE


async def test_a_client_that_goes_leaves_nothing_behind():
    """Its waiter is gone at once, whenever it goes."""
    async with serving(store="RemoteStore") as running:
        for moment in (0.0, 0.001, 0.006, 0.1):
            poll = asyncio.create_task(Reader(running).poll())
            await asyncio.sleep(moment)
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
            assert running.statistics().readers == running.statistics().held == 0


# Stores that fail.


async def test_a_store_that_is_down_is_said_once_and_healed(caplog):
    """Held readers wait through the outage and get what was published before it."""
    async with serving("tests.faults.DroppingLayer", store="RemoteStore") as running:
        reader = Reader(running)
        async with reader.holding(timeout=100) as poll:
            message = await publish_elsewhere()
            remote().go_down()
            with pytest.raises(StoreUnavailable):
                await Reader(running, Cursor(1, 1)).poll()
            await asyncio.sleep(30)
            assert not poll.done()
            remote().error = None
            async with asyncio.timeout(PATIENCE):
                assert await poll == message
            await asyncio.sleep(30)
    log = [record.message for record in caplog.records if record.levelname != "DEBUG"]
    assert log == [
        "The store 'default' is down: gone for a test",
        "The store 'default' is back",
    ]


@pytest.mark.parametrize("fault", [RemoteStore.go_down, RemoteStore.slow_down])
async def test_a_store_that_is_down_does_not_hold_up_another(fault):
    """The channels of the others are verified as ever."""
    stores = {
        "default": {"type": "tests.faults.RemoteStore"},
        "other": {"type": "tests.faults.RemoteStore"},
    }
    key = ("other", "a")
    async with serving("tests.faults.DroppingLayer", store=stores) as running:
        first, reader = Reader(running), Reader(running, key=key)
        async with first.holding(), reader.holding() as poll:
            fault(remote())
            message = await publish_elsewhere(key=key)
            async with asyncio.timeout(PATIENCE):
                assert await poll == message


async def test_a_slow_store_is_not_asked_again_meanwhile():
    """What it is asked would only become more."""
    layer = "tests.faults.DroppingLayer"
    async with (
        serving(layer, store="RemoteStore") as running,
        Reader(running).holding(),
    ):
        remote().slow_down()
        before = remote().heads_asked
        await asyncio.sleep(3 * RESYNC)
        assert remote().heads_asked == before + 1


async def test_a_store_with_a_bug_does_not_end_verification(caplog):
    """It is logged with its traceback, and the next look may succeed."""
    async with serving("tests.faults.DroppingLayer", store="RemoteStore") as running:
        reader = Reader(running)
        async with reader.holding() as poll:
            remote().error = ZeroDivisionError("a bug")
            await asyncio.sleep(2 * RESYNC)
            remote().error = None
            message = await publish()
            async with asyncio.timeout(PATIENCE):
                assert await poll == message
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("clock", [None, 0])
async def test_a_store_that_lost_everything_is_asked_and_left_alone(clock):
    """Readers of what it had are held, and get what it gets next."""
    async with serving(store="RemoteStore") as running:
        sent = await kept()
        await Reader(running).hear(3, SOON)
        level, behind = Reader(running, sent[2].id), Reader(running, Cursor(1, 1))
        remote().lose_everything(clock=clock)
        reads = remote().reads
        async with level.holding() as one, behind.holding() as two:
            assert remote().reads <= reads + 4
            message = await publish()
            assert list(await asyncio.gather(one, two)) == [message] * 2
        assert behind.gap


async def test_when_a_channel_was_requested_is_noted_when_it_is_left():
    """The store remembers it for others; one that is down does not matter."""
    async with serving(store="RemoteStore", linger=10) as running:
        await publish()
        await Reader(running).hear(1, SOON)
        await asyncio.sleep(10 + PATIENCE)
        assert running.statistics().channels == 0
        head = (await get_store().heads(["a"]))["a"]
        assert head.requested == pytest.approx(10 + PATIENCE, abs=1)
        await Reader(running).hear(1, SOON)
        remote().go_down()
        await asyncio.sleep(10 + PATIENCE)
        assert running.statistics().channels == 0


async def test_an_alias_that_is_not_configured_leaves_nothing():
    """A mistake does not enter a channel that nobody will leave."""
    async with serving() as running:
        with pytest.raises(KeyError):
            await Reader(running, key=("unknown", "a")).poll()
        assert running.statistics() == HubStatistics(channels=0, readers=0, held=0)


@pytest.mark.once
async def test_channels_touched_once_leave_nothing_behind():
    """100,000 of them: after expiry no channel, no membership, and no memory."""
    channels, in_a_second = 100_000, 125
    options = {"message_timeout": 1000, "channel_timeout": 60}
    async with serving(options=options, linger=1) as running:
        store = cast(MemoryStore, get_store())

        async def touch(numbers: range) -> None:
            for number in numbers:
                channel_id = f"channel {number}"
                if number % 2:
                    await store.append(channel_id, body=b"x" * 100)
                    continue
                with Subscription(running, ("default", channel_id), None) as reader:
                    assert await reader.begin() is None

        await touch(range(2))
        await asyncio.sleep(2000)
        gc.collect()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            for first in range(0, channels, in_a_second):
                await touch(range(first, first + in_a_second))
                await asyncio.sleep(1)
            assert store.statistics().channels == channels / 2
            assert running.hub.memberships()
            await asyncio.sleep(2000)
            assert store.statistics() == StoreStatistics(
                channels=0, messages=0, bytes=0
            )
            assert running.statistics() == HubStatistics(channels=0, readers=0, held=0)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 1_000_000
