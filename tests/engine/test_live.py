import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, cast

import pytest

from pushserver.conf import get_config
from pushserver.engine.hub import Hub
from pushserver.engine.live import LiveChannel
from pushserver.engine.tails import Tail
from pushserver.engine.waiters import Delivery, Ending, Waiter
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Appended
from tests.faults import RemoteStore, wall_clock
from tests.readers import KEY, RESYNC


@contextlib.asynccontextmanager
async def channel(
    *, founded: bool = True, **options: Any
) -> AsyncIterator[LiveChannel]:
    """A channel with one reader, as ``Subscriptions`` makes it, on a remote store.

    ``founded``: its store has been read once, when there was nothing in it. The
    ``options`` are the store's.
    """
    hub = Hub(get_config())
    membership = hub.enter(KEY, lambda news: live.wake(news))
    tail = Tail(START, max_messages=100, message_timeout=3600, transient_timeout=10)
    live = LiveChannel(hub, RemoteStore(**options), membership, tail)
    try:
        await hub.join(membership)
        if founded:
            await live.read(START)
        yield live
    finally:
        await hub.close()


def store_of(live: LiveChannel) -> RemoteStore:
    assert isinstance(live._store, RemoteStore)
    return live._store


async def append(live: LiveChannel, count: int = 1) -> list[Message]:
    store = store_of(live)
    return [await store.append(KEY[1], body=b"%d" % n) for n in range(count)]


def park(live: LiveChannel, seen: Cursor | None = None, *, gap: bool = False) -> Waiter:
    waiter = Waiter(live.tail.newest if seen is None else seen, gap=gap)
    live.membership.waiters.park(waiter)
    return waiter


def in_tail(live: LiveChannel, after: Cursor) -> list[Message] | None:
    found = live.tail.after(after, wall_clock())
    return None if found is None else list(found)


async def verify(live: LiveChannel) -> bool:
    """Look once, as `upkeep` does; return whether a wake-up was missed."""
    started = live._hub.loop.time()
    changed = await store_of(live).changed({KEY[1]: live.position})
    if KEY[1] in changed:
        return live.compare(changed[KEY[1]], started=started)
    live.verify(started=started)
    return False


async def test_the_first_read_founds_the_tail():
    """On what it found, when that was all; else on where the channel stands."""
    async with channel(founded=False) as live:
        sent = await append(live, 3)
        assert (live.known, live.trusted(RESYNC)) == (None, False)
        history = await live.read(sent[0].id)
        assert list(history.messages) == sent[1:] == in_tail(live, sent[0].id)
        assert (live.known, live.trusted(RESYNC)) == (True, True)
        assert in_tail(live, sent[0].previous) is None
    async with channel(founded=False) as live:
        sent = await append(live, 150)
        history = await live.read(START)
        assert (len(history.messages), history.complete) == (100, True)
        assert live.tail.start == sent[49].id
    async with channel(founded=False) as live:
        live._store = RemoteStore(max_messages=0)
        sent = await append(live, 150)
        history = await live.read(START)
        assert (len(history.messages), history.complete) == (100, False)
        assert live.tail.start == live.tail.newest == sent[-1].id


async def test_trust_ends_with_time_and_with_membership():
    """Nobody has verified for too long, or wake-ups may have been missed."""
    async with channel() as live:
        assert live.trusted(RESYNC)
        await asyncio.sleep(RESYNC - 0.1)
        assert live.trusted(RESYNC)
        await asyncio.sleep(0.2)
        assert not live.trusted(RESYNC)
        await live.refresh()
        assert live.trusted(RESYNC)
        await live._hub.rejoin(live.membership)
        assert not live.trusted(RESYNC)
        await live.refresh()
        assert live.trusted(RESYNC)
        live.membership.joined_at = None
        assert not live.trusted(RESYNC)


async def test_a_wake_up_before_the_first_read_is_left_to_it():
    """It costs no read of its own; in the middle of the first, one follows."""
    async with channel(founded=False) as live:
        live.refresh_soon()
        await asyncio.sleep(1)
        assert store_of(live).reads == 0
        store_of(live).read_lag = 0.1
        first = asyncio.create_task(live.read(START))
        await asyncio.sleep(0.05)
        [message] = await append(live)
        live.refresh_soon()
        assert (await first).messages == ()
        waiter = park(live)
        await asyncio.sleep(0.2)
        assert waiter.outcome == Delivery([message])
        assert store_of(live).reads == 2


async def test_wake_ups_during_a_read_are_one_read_more():
    """However many they are: what they announce is in the next read."""
    async with channel() as live:
        waiter = park(live)
        sent = await append(live, 5)
        reads = store_of(live).reads
        for _ in range(100):
            live.refresh_soon()
            await asyncio.sleep(0)  # a turn of the loop
        await asyncio.sleep(1)
        assert store_of(live).reads - reads == 2
        assert waiter.outcome == Delivery(sent)


async def test_a_refresh_sees_what_was_there_when_it_was_asked_for():
    """A read under way may have begun too early; then the next one counts."""
    async with channel() as live:
        store_of(live).read_lag = 0.1
        live.refresh_soon()
        await asyncio.sleep(0.05)
        [message] = await append(live)
        await live.refresh()
        assert live.tail.newest == message.id


async def test_a_busy_channel_does_not_hold_up_a_refresh():
    """It ends after two reads, though wake-ups never do."""
    async with channel() as live:

        async def stir() -> None:
            while True:
                live.refresh_soon()
                await asyncio.sleep(0.001)

        stirring = asyncio.create_task(stir())
        await asyncio.sleep(0.1)
        async with asyncio.timeout(5):
            await live.refresh()
        stirring.cancel()


async def test_a_refresh_reads_on_until_that_was_all():
    """Many messages come in several reads, and are delivered as they come."""
    async with channel(max_messages=0) as live:
        waiter = park(live)
        sent = await append(live, 250)
        reads = store_of(live).reads
        await live.refresh()
        assert store_of(live).reads - reads == 3
        assert live.tail.newest == sent[-1].id
        assert waiter.outcome == Delivery(sent[:100])


async def publish(live: LiveChannel, **message: Any) -> Message:
    """Append from this loop, as `publishing` does."""
    appended = await store_of(live).append_and_head(KEY[1], body=b"x", **message)
    live._hub.wake(KEY, appended)
    return appended.message


async def test_what_is_published_here_needs_no_read():
    """The first message of a channel, and those of one turn together; in order."""
    async with channel() as live:
        store, held = store_of(live), park(live)
        reads = store.reads
        first = await publish(live)
        assert (live.settled, held.outcome) == (False, None)
        await asyncio.sleep(0)
        assert held.outcome == Delivery([first])
        assert (live.known, live.settled, live.trusted(RESYNC)) == (True, True, True)
        held = park(live)
        store.latency = 0
        sent = [await store.append_and_head(KEY[1], body=b"x") for _ in range(3)]
        for appended in sent:
            live._hub.wake(KEY, appended)
        assert not await verify(live)  # it finds them, and none was missed
        await asyncio.sleep(0.001)
        assert held.outcome == Delivery([message for message, _ in sent])
        assert store.reads - reads <= 1  # that of the verification


async def test_a_bug_of_one_reader_is_its_own(caplog: pytest.LogCaptureFixture):
    """The others get the message all the same."""
    async with channel() as live:
        await append(live)
        await live.read(START)
        first, second = park(live), park(live)
        first.on_end = cast(Any, partial(divmod, 1, 0))
        await publish(live)
        await asyncio.sleep(0.1)
        assert isinstance(second.outcome, Delivery)
        assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("why", ["a hole", "a deletion", "a read", "no head", "loss"])
async def test_what_may_not_be_all_is_read(why):
    """Others publish and delete as well, and a read under way may know more."""
    async with channel() as live:
        store = store_of(live)
        await append(live, 1)
        await live.refresh()
        held, reads = park(live), store.reads
        expected: list[Message] = []
        if why == "a hole":
            expected = await append(live, 1)
        elif why == "a deletion":
            await store.delete(KEY[1])
        elif why == "a read":
            live.refresh_soon()
            store.latency = 0
        elif why == "loss":
            store.lose_everything()
        if why == "no head":
            expected = await append(live, 1)
            live._hub.wake(KEY, Appended(expected[0], None))
        else:
            expected.append(await publish(live))
        await asyncio.sleep(0.5)
        assert store.reads > reads
        if why == "a deletion":
            assert held.outcome is Ending.DELETED
        else:
            assert held.outcome == Delivery(expected, gap=why == "loss")
        assert in_tail(live, expected[-1].previous) == expected[-1:]


async def test_what_a_read_has_delivered_is_not_delivered_again():
    """It began after the message was there, and before its turn had come."""
    async with channel() as live:
        held = park(live)
        appended = await store_of(live).append_and_head(KEY[1], body=b"x")
        live.refresh_soon()
        live.wake(appended)
        await live.refresh()
        assert held.outcome == Delivery([appended.message])
        later = park(live)
        await asyncio.sleep(0.1)
        assert later.outcome is None


async def test_what_is_published_before_the_first_read_is_left_to_it():
    """Nobody can be told of it before."""
    async with channel(founded=False) as live:
        message = await publish(live)
        assert (await live.read(START)).messages == (message,)
        await asyncio.sleep(0.1)
        assert live.trusted(RESYNC)


async def test_a_waiter_ahead_of_the_tail_gets_the_rest():
    """The store had told it of more than the tail knew; it gets nothing twice."""
    async with channel() as live:
        sent = await append(live, 3)
        ahead, beyond = park(live, sent[1].id), park(live, sent[2].id)
        lossy = park(live, sent[1].id, gap=True)
        await live.refresh()
        assert ahead.outcome == Delivery([sent[2]])
        assert lossy.outcome == Delivery([sent[2]], gap=True)
        assert beyond.outcome is None
        [message] = await append(live)
        await live.refresh()
        assert beyond.outcome == Delivery([message])


async def test_a_deletion_ends_those_who_were_held_then():
    """Whichever read hears of it first, and however late the others come."""
    async with channel() as live:
        held = park(live)
        store = store_of(live)
        store.read_lag = 0.1
        live.refresh_soon()  # will have seen nothing of it
        await asyncio.sleep(0.05)
        await store.delete(KEY[1])
        await live.read(Cursor(1, 1))
        assert held.outcome is Ending.DELETED
        later = park(live)
        await asyncio.sleep(1)
        await live.refresh()
        assert not live.compare(
            (await store.heads([KEY[1]]))[KEY[1]], started=live._hub.loop.time()
        )
        assert later.outcome is None


async def test_verification():
    """It finds what no wake-up announced, and says so; else it renews the trust."""
    async with channel(founded=False) as live:
        store = store_of(live)
        assert not await verify(live)  # nobody has read
        await live.read(START)
        await asyncio.sleep(RESYNC + 1)
        assert not live.trusted(RESYNC)
        assert not await verify(live)
        assert live.trusted(RESYNC)
        waiter = park(live)
        [message] = await append(live)
        assert await verify(live)
        assert not await verify(live)  # the read is under way
        await asyncio.sleep(0.1)
        assert waiter.outcome == Delivery([message])
        waiter = park(live)
        await store.delete(KEY[1])
        assert await verify(live)
        await asyncio.sleep(0.1)
        assert waiter.outcome is Ending.DELETED


async def test_an_old_answer_does_not_renew_the_trust():
    """Nor does it make forget what is known since."""
    async with channel() as live:
        old = (await store_of(live).heads([KEY[1]]))[KEY[1]]
        [message] = await append(live)
        await live.refresh()
        waiter, verified_at = park(live), live.verified_at
        assert not live.compare(old, started=verified_at - 1)
        assert (live.verified_at, live.known) == (verified_at, True)
        await asyncio.sleep(1)
        assert (live.tail.newest, waiter.gap) == (message.id, False)


async def test_others_being_forgotten_costs_no_read():
    """A channel that was never published to moves on, and nobody has lost anything."""
    async with channel() as live:
        store = store_of(live)
        waiter = park(live)
        await store.append("other", body=b"x")
        await asyncio.sleep(100_000)
        store.statistics()
        head = (await store.heads([KEY[1]]))[KEY[1]]
        assert head.newest > live.tail.newest
        reads = store.reads
        assert not live.compare(head, started=live._hub.loop.time())
        await asyncio.sleep(1)
        assert store.reads == reads
        assert (waiter.seen, waiter.gap) == (head.newest, False)
        [message] = await append(live)
        await live.refresh()
        assert waiter.outcome == Delivery([message])


async def test_a_first_message_is_no_gap_whoever_sees_it_first():
    """Others were forgotten meanwhile, so it names a later id than who is held saw."""
    async with channel() as live:
        store = store_of(live)
        held = park(live)
        await store.append("other", body=b"x")
        await asyncio.sleep(100_000)
        store.statistics()
        [message] = await append(live)
        assert message.previous > held.seen
        assert (await live.read(Cursor(1, 1))).messages == (message,)
        await live.refresh()
        assert held.outcome == Delivery([message])


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("published", [0, 2])
async def test_a_store_that_lost_its_memory(published, verified):
    """Whatever it had, and whether verification or the next message shows it first."""
    async with channel() as live:
        store = store_of(live)
        await append(live, published)
        await live.refresh()
        held = park(live)
        await asyncio.sleep(1)
        store.lose_everything()
        if verified:
            assert await verify(live)
            assert (held.outcome, held.gap) == (None, True)
            assert not await verify(live)
        later = Waiter((await live.read(Cursor(1, 1))).head.newest, gap=False)
        live.membership.waiters.park(later)
        [message] = await append(live)
        await live.refresh()
        assert held.outcome == Delivery([message], gap=True)
        assert later.outcome == Delivery([message])


@pytest.mark.parametrize("look", ["verification", "a read", "the next message"])
@pytest.mark.parametrize("clock", [0, -3600])
async def test_a_store_restored_from_an_older_copy(look, clock):
    """Its ids go back below what readers have seen: they are told, and go on."""
    async with channel() as live:
        store = store_of(live)
        await append(live, 2)
        await live.refresh()
        restore = store.saved()
        await append(live, 2)
        await live.refresh()
        held = park(live)
        restore()
        store._clock = lambda: wall_clock() + clock
        if look == "verification":
            assert not await verify(live)
        elif look == "a read":
            await live.read(held.seen)
        if look != "the next message":
            await asyncio.sleep(0.1)
            assert (held.outcome, held.gap) == (None, True)
            assert held.seen == live.tail.newest == live.position.level
        if clock == 0:
            await asyncio.sleep(1)
        sent = await append(live, 2)
        await live.refresh()
        if clock == 0 or look != "the next message":
            assert held.outcome == Delivery(sent, gap=True)
        else:  # the new ids look as if they had been seen
            assert (held.gap, held.seen) == (True, sent[-1].id)
        assert live.trusted(RESYNC)


async def test_a_waiter_ahead_of_the_tail_is_not_set_back():
    """It knows more than the read that shows that the store was set back."""
    async with channel() as live:
        store = store_of(live)
        await append(live, 1)
        restore = store.saved()
        await append(live, 1)
        await live.refresh()
        restore()
        store.read_lag = 0.1
        live.refresh_soon()
        await asyncio.sleep(0.05)
        [seen] = await append(live)
        ahead = park(live, seen.id)
        await asyncio.sleep(0.2)
        assert (ahead.seen, ahead.gap) == (seen.id, False)
        [message] = await append(live)
        await live.refresh()
        assert ahead.outcome == Delivery([message])


@pytest.mark.parametrize(
    ("error", "level"),
    [(StoreUnavailable("down"), "DEBUG"), (ZeroDivisionError("bug"), "ERROR")],
)
async def test_a_refresh_that_fails_is_raised_and_logged(error, level, caplog):
    """Whoever waits for it is told; a bug is seen in the log; the next may work."""
    caplog.set_level(logging.DEBUG, "pushserver")
    async with channel() as live:
        [message] = await append(live)
        store_of(live).error = error
        with pytest.raises(type(error)):
            await live.refresh()
        assert [record.levelname for record in caplog.records] == [level]
        store_of(live).error = None
        await live.refresh()
        assert live.tail.newest == message.id


async def test_a_tail_is_not_trusted_after_a_read_that_failed():
    """It was asked for because there is something that the tail has not."""
    async with channel() as live:
        assert live.trusted(RESYNC)
        store_of(live).go_down()
        with pytest.raises(StoreUnavailable):
            await live.refresh()
        assert not live.trusted(RESYNC)
        store_of(live).error = None
        await live.refresh()
        assert live.trusted(RESYNC)


async def test_a_read_that_fails_fails_for_all_who_share_it():
    """And leaves nothing behind: the next one asks again."""
    async with channel(founded=False) as live:
        store_of(live).go_down()
        reads = [live.read(START), live.read(START)]
        results = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 2
        assert store_of(live).reads == 1
        store_of(live).error = None
        assert (await live.read(START)).complete


async def test_closing_during_a_refresh_is_quiet(caplog):
    """A task that is cancelled is no failure."""
    async with channel() as live:
        live.refresh_soon()
        await asyncio.sleep(0.001)
    assert caplog.records == []
