import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio
from channels.layers import InMemoryChannelLayer

from pushserver.conf import get_config
from pushserver.engine.hub import Hub, HubStatistics, Membership, hub_of, running_hubs
from pushserver.engine.subscription import Subscription
from pushserver.stores import get_store
from tests.faults import ExpiringLayer, RemoteStore, ScriptedLayer
from tests.readers import KEY, RESYNC, Reader, publish, publish_elsewhere, serving

SCRIPTED = "tests.faults.ScriptedLayer"
TIMEOUT = 2.0  # redis_timeout, the longest wait for a layer
SOON = 0.5
NOTHING = HubStatistics(channels=0, readers=0, held=0)


async def hang() -> None:
    """Wait for ever, as a layer whose server is gone may do."""
    await asyncio.get_running_loop().create_future()


@pytest_asyncio.fixture
async def layer() -> AsyncIterator[type[ScriptedLayer]]:
    """A layer that works until a test writes into its script."""
    ScriptedLayer.script.clear()
    ScriptedLayer.calls.clear()
    yield ScriptedLayer
    ScriptedLayer.script.clear()


async def forget_us(hub: Hub) -> None:
    """Lose all memberships, as a Redis that restarts does."""
    inbox = await hub._inbox
    for membership in hub.memberships():
        await InMemoryChannelLayer.group_discard(hub._layer, membership.group, inbox)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if r.levelno >= logging.WARNING]


# Groups.


async def test_a_group_is_joined_once_however_many_read(layer):
    """Not per reader and not per poll: a held request costs the layer nothing."""
    async with serving(SCRIPTED) as running:
        for _ in range(3):
            await asyncio.gather(*(Reader(running).poll(timeout=1) for _ in range(50)))
        assert layer.calls["group_add"] == layer.calls["new_channel"] == 1
        assert layer.calls["receive"] == 1
        assert layer.calls["group_discard"] == 0


async def test_the_last_reader_leaves_after_a_linger(layer):
    """Polls that come back in time keep the process in the group."""
    async with serving(SCRIPTED, linger=20) as running:
        for _ in range(5):
            await Reader(running).poll(timeout=1)
            await asyncio.sleep(15)
            assert running.statistics() == HubStatistics(channels=1, readers=0, held=0)
        await asyncio.sleep(20 - 15 + RESYNC)
        assert running.statistics() == NOTHING
        assert (layer.calls["group_add"], layer.calls["group_discard"]) == (1, 1)
        message = await publish_elsewhere()
        assert await Reader(running).hear(1, SOON) == [message]
        assert layer.calls["group_add"] == 2


@pytest.mark.parametrize("group_expiry", [5, 10, 60])
async def test_membership_is_renewed_before_it_expires(group_expiry):
    """A reader that stays is not forgotten by the layer."""
    options = {"group_expiry": group_expiry}
    async with serving("tests.faults.ExpiringLayer", layer_options=options) as running:
        reader = Reader(running)
        for _ in range(5):
            async with reader.holding(timeout=100) as poll:
                await asyncio.sleep(group_expiry * 0.8)
                message = await publish_elsewhere()
                async with asyncio.timeout(SOON):
                    assert await poll == message
        assert isinstance(running.hub._layer, ExpiringLayer)


async def test_a_reader_that_comes_back_while_the_group_is_being_left(layer):
    """It joins again before it reads: what is published then comes at once."""
    async with serving(SCRIPTED, linger=10) as running:
        await Reader(running).poll(timeout=1)
        leaving = asyncio.Event()
        go_on = asyncio.Event()

        async def dawdle() -> None:
            leaving.set()
            await go_on.wait()

        layer.script["group_discard"] = dawdle
        await leaving.wait()
        reader = Reader(running)
        poll = asyncio.create_task(reader.poll())
        await asyncio.sleep(0.1)
        assert not running.hub.held(KEY)
        go_on.set()
        await asyncio.sleep(0.1)
        assert running.hub.held(KEY) == 1
        message = await publish_elsewhere()
        async with asyncio.timeout(SOON):
            assert await poll == message


async def test_a_reader_that_comes_in_the_moment_of_leaving(layer):
    """Not even one step of the loop passes in which it believes to be a member."""
    async with serving(SCRIPTED, linger=10) as running:
        with Subscription(running, KEY, None) as subscription:
            await subscription.begin(wait=False)
        [membership] = running.hub.memberships()
        await asyncio.sleep(10)  # not longer: the hub maintains itself, too
        poll = asyncio.create_task(Reader(running).poll())  # runs before the leaving
        running.hub.maintain(lambda _: pytest.fail("it is in use again"))
        await asyncio.sleep(0.1)
        assert running.hub.memberships() == [membership]
        message = await publish_elsewhere()
        async with asyncio.timeout(SOON):
            assert await poll == message
        assert layer.calls["group_add"] == 2


async def test_a_wake_up_that_was_missed_is_a_reason_to_join_again(layer):
    """A layer that forgot us is reminded; messages come at once again."""
    async with serving(SCRIPTED) as running:
        reader = Reader(running)
        async with reader.holding() as poll:
            await forget_us(running.hub)
            lost = await publish_elsewhere("lost wake-up")
            async with asyncio.timeout(RESYNC + SOON):
                assert await poll == lost
        await asyncio.sleep(SOON)
        async with reader.holding() as poll:
            message = await publish_elsewhere()
            async with asyncio.timeout(SOON):
                assert await poll == message


# Layers that fail.


@pytest.mark.parametrize("fault", [OSError("no route"), hang], ids=["fails", "hangs"])
@pytest.mark.parametrize("call", ["group_add", "group_send", "new_channel", "receive"])
async def test_a_layer_that_does_not_work_costs_time_and_no_message(layer, call, fault):
    """Polls wait at most redis_timeout for it, and hear within resync."""
    layer.script[call] = fault
    send = publish if call == "group_send" else publish_elsewhere
    async with serving(SCRIPTED) as running:
        reader = Reader(running)
        started = running.hub.loop.time()
        poll = asyncio.create_task(reader.poll())
        await asyncio.sleep(TIMEOUT + 0.01)
        assert running.hub.held(KEY) == 1
        message = await send()
        assert running.hub.loop.time() - started < 2.5 * TIMEOUT
        async with asyncio.timeout(RESYNC + SOON):
            assert await poll == message
        # The fault ends, and the hub finds out by itself.
        layer.script.clear()
        await asyncio.sleep(2 * RESYNC)
        if fault is hang and call == "receive":
            return  # the layer has our call; it is never cancelled
        async with reader.holding() as poll:
            message = await publish_elsewhere()
            async with asyncio.timeout(SOON):
                assert await poll == message


@pytest.mark.parametrize("fault", [OSError("no route"), hang], ids=["fails", "hangs"])
async def test_leaving_a_group_never_delays_the_readers(layer, fault):
    """A hundred channels that cannot be left: the others are verified in time."""
    async with serving(SCRIPTED, linger=1) as running:
        layer.script["group_discard"] = fault
        for number in range(100):
            await Reader(running, key=("default", f"{number}")).poll(timeout=0)
        await asyncio.sleep(RESYNC)
        reader = Reader(running)
        async with reader.holding() as poll:
            await forget_us(running.hub)
            message = await publish_elsewhere()
            async with asyncio.timeout(RESYNC + SOON):
                assert await poll == message
        await asyncio.sleep(4 * TIMEOUT + RESYNC)
        assert running.statistics() == NOTHING


async def test_closing_is_bounded_by_one_timeout(layer):
    """Whatever number of groups cannot be left."""
    async with serving(SCRIPTED) as running:
        for number in range(200):
            await Reader(running, key=("default", f"{number}")).poll(timeout=0)
        layer.script["group_discard"] = hang
        started = running.hub.loop.time()
        await running.close()
        assert running.hub.loop.time() - started < 1.5 * TIMEOUT
        assert running.statistics() == NOTHING


async def test_closing_before_anything_began(layer):
    """A hub that never got an inbox has nothing to leave."""
    layer.script["new_channel"] = hang
    async with serving(SCRIPTED) as running:
        await running.close()
        assert hub_of(running.hub.loop) is None


async def test_joins_do_not_all_come_at_once(layer):
    """A layer that is back after an outage is not met by thousands of calls."""
    most = now = 0

    async def count() -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1

    layer.script["group_add"] = count
    async with serving(SCRIPTED) as running:
        keys = [("default", f"{number}") for number in range(500)]
        await asyncio.gather(*(Reader(running, key=k).poll(timeout=0.1) for k in keys))
        assert layer.calls["group_add"] == 500
        assert most <= 50


async def test_joins_that_wait_for_a_layer_that_is_down_are_given_up(layer):
    """Those behind the first few do not each wait for it: they join when it is back."""
    layer.script |= {"group_add": hang, "group_send": hang}
    async with serving(SCRIPTED) as running:
        keys = [("default", f"{number}") for number in range(100)]
        for key in keys:
            with Subscription(running, key, None) as reader:
                running.hub.rejoin(reader._live.membership)
        await asyncio.sleep(3 * TIMEOUT)
        assert layer.calls["group_add"] < 50
        layer.script.clear()
        layer.calls.clear()
        await Reader(running, key=keys[-1]).poll(timeout=2 * RESYNC)
        assert layer.calls["group_add"] >= 1


async def test_an_outage_of_the_inbox_is_said_once(layer, caplog):
    """Not once a second, though it fails once a second."""
    async with serving(SCRIPTED) as running:
        layer.script["receive"] = OSError("no route")
        await asyncio.sleep(0.1)
        await Reader(running).poll(timeout=0.1)
        # The receive that is under way ends with this wake-up.
        await publish_elsewhere()
        await asyncio.sleep(20)
        assert layer.calls["receive"] > 10
        layer.script.clear()
        await asyncio.sleep(2)
        await publish_elsewhere()
        await asyncio.sleep(1)
    assert len(errors(caplog)) <= 1


async def test_a_full_inbox_loses_wake_ups_and_no_message():
    """A capacity of 1 is enough for every message to come."""
    layer = "channels.layers.InMemoryChannelLayer"
    async with serving(layer, layer_options={"capacity": 1}) as running:
        keys = [("default", f"{number}") for number in range(20)]
        readers = [Reader(running, key=key) for key in keys]
        hearing = [asyncio.create_task(r.hear(10, 10 * RESYNC)) for r in readers]
        await asyncio.sleep(0.1)
        for _ in range(10):
            await asyncio.gather(*(publish_elsewhere(key=key) for key in keys))
        await asyncio.gather(*hearing)
        assert sum(reader.gaps for reader in readers) == 0


async def test_strange_messages_do_not_end_the_inbox():
    """Whatever else may come to it, wake-ups still do."""
    layer = "channels.layers.InMemoryChannelLayer"
    async with serving(layer) as running:
        reader = Reader(running)
        async with reader.holding() as poll:
            inbox = await running.hub._inbox
            for strange in ({}, {"type": "x"}, {"store": "default", "channel": "?"}):
                await running.hub._layer.send(inbox, strange)
            await asyncio.sleep(0.1)
            message = await publish_elsewhere()
            async with asyncio.timeout(SOON):
                assert await poll == message


async def test_our_own_wake_ups_are_old_news():
    """They come back to us, too, and cost no read."""
    layer = "tests.faults.DoublingLayer"
    async with serving(layer, store="RemoteStore") as running:
        store = get_store()
        assert isinstance(store, RemoteStore)
        reader = Reader(running, (await publish()).id)
        async with reader.holding() as poll:
            reads = store.reads
            message = await publish()
            assert await poll == message
            await asyncio.sleep(SOON)
            assert store.reads == reads
            await publish_elsewhere()
            await asyncio.sleep(SOON)
            assert store.reads > reads


# What is asked of a hub.


async def test_what_it_tells_of_a_channel():
    """Readers that are parked, and when one last came."""
    async with serving() as running:
        hub = running.hub
        assert (hub.held(KEY), hub.requested_ago(KEY)) == (0, None)
        reader = Reader(running)
        async with reader.holding(timeout=3):
            assert hub.statistics() == HubStatistics(channels=1, readers=1, held=1)
            await asyncio.sleep(2)
            assert hub.requested_ago(KEY) == pytest.approx(2, abs=0.1)
        assert hub.held(KEY) == 0
        await reader.poll(timeout=1)
        assert hub.requested_ago(KEY) == pytest.approx(1, abs=0.1)


async def test_hubs_are_found_by_their_loop():
    """Registered as long as they run; a second one of a loop takes its place."""
    hub = Hub(get_config())
    assert hub_of(hub.loop) is hub
    assert running_hubs() == [hub]
    other = Hub(get_config())
    await hub.close()
    assert hub_of(hub.loop) is other
    await other.close()
    assert hub_of(hub.loop) is None
    assert running_hubs() == []


async def test_telling_a_hub_whose_loop_has_ended():
    """Whoever found it a moment ago is not disturbed."""
    hubs: list[Hub] = []

    async def main() -> None:
        hubs.append(Hub(get_config()))

    await asyncio.to_thread(asyncio.run, main())
    hubs[0].tell(KEY)


async def test_waking_a_channel_without_readers():
    """A wake-up that comes after the last one left is nothing."""
    async with serving() as running:
        running.hub.wake(("default", "nobody"))
        assert running.statistics() == NOTHING


async def test_a_hub_task_begins_in_an_empty_context():
    """What the first poll's request put into context variables is not the hub's."""
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable")
    variable.set("of a request")
    hub = Hub(get_config())

    async def look() -> str:
        return variable.get("nothing")

    assert await hub.spawn(look()) == "nothing"
    await hub.close()


async def test_forgetting_is_told_with_the_membership():
    """Whoever owns the hub hears which channel went, once."""
    hub = Hub(get_config())
    gone: list[Membership] = []
    membership = hub.enter(KEY, lambda _: None)
    await hub.join(membership)
    hub.leave(membership)
    hub.maintain(gone.append)
    await asyncio.sleep(get_config().linger + 1)
    assert gone == []
    hub.maintain(gone.append)
    hub.maintain(gone.append)  # while it is being left
    await asyncio.sleep(0.1)
    assert gone == [membership]
    assert hub.statistics() == NOTHING
    await hub.close()


async def test_closing_cancels_until_a_task_has_ended():
    """A library that takes the first cancellation for its own holds nobody up."""
    hub = Hub(get_config())

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)
        await asyncio.sleep(1000)

    task = hub.spawn(stubborn())
    await asyncio.sleep(0)  # let it begin
    await hub.close()
    assert task.cancelled()


async def test_a_layer_that_was_idle_for_long_is_not_down(layer, caplog):
    """redis-py's time-out while it waits for a wake-up is received again."""
    async with serving(SCRIPTED) as running:
        layer.script["receive"] = TimeoutError()
        await asyncio.sleep(0.1)
        # The receive that is under way ends with this wake-up.
        await Reader(running).poll(timeout=0.1)
        await publish_elsewhere()
        await asyncio.sleep(1)
        assert 5 < layer.calls["receive"] < 50
    assert errors(caplog) == []


class SwallowingLayer(InMemoryChannelLayer):
    """A layer that takes a cancellation for a time-out of its own."""

    async def receive(self, channel: str) -> Any:
        try:
            return await super().receive(channel)
        except asyncio.CancelledError:
            raise TimeoutError from None


async def test_closing_ends_the_inbox_of_a_layer_that_swallows_cancellation():
    """The inbox sees by itself that the hub is closed."""
    async with serving(f"{__name__}.SwallowingLayer") as running:
        await Reader(running).poll(timeout=0.1)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others
