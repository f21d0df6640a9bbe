"""Both layers of channels-redis: at once when all is well, within resync when not.

Each test stands beside a busy ordinary consumer of the same layer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from pushserver import publisher, publishing, subscriptions
from pushserver.conf import get_config
from pushserver.exceptions import StoreUnavailable
from pushserver.names import group_name
from tests.redis_server import RedisServer, eventually
from tests.sharing import CORE, PUBSUB, Reader, settings

pytestmark = pytest.mark.real_time

BOTH = pytest.mark.parametrize("backend", [CORE, PUBSUB], ids=["core", "pubsub"])
NEVER = 600.0  # seconds of resync: nothing is found by verification
AT_ONCE = 2.0  # seconds, on a busy machine
RESYNC = 1.0
REDIS_TIMEOUT = 1.0
HEALED = 5.0  # seconds after Redis is back


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis for one test, to do with it what it likes."""
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def project(
    server: RedisServer, backend: str, **options: Any
) -> AsyncIterator[None]:
    """Serve here, publish from the publisher's loop, and keep the layer busy."""
    server.command("FLUSHALL")
    options = {"redis_timeout": REDIS_TIMEOUT, "resync": RESYNC} | options
    with override_settings(**settings(server, backend, **options)):
        consumer = asyncio.create_task(be_busy())
        try:
            yield
        finally:
            while not consumer.done():  # the layer may swallow a cancellation
                consumer.cancel()
                await asyncio.wait([consumer], timeout=0.1)
            await subscriptions.current().close()
            await asyncio.to_thread(publisher.close)
            layer = get_channel_layer()
            close = getattr(layer, "close_pools", None) or layer.flush
            await close()


async def be_busy() -> None:
    """An ordinary consumer of the default layer that always has something to do."""
    layer = get_channel_layer()
    while True:
        try:
            inbox = await layer.new_channel()
            await layer.group_add("chat", inbox)
            while True:
                await layer.group_send("chat", {"type": "chat.message"})
                async with asyncio.timeout(1):
                    await layer.receive(inbox)
                await asyncio.sleep(0.002)
        except Exception:
            await asyncio.sleep(0.05)


def publish_on_publisher(channel_id: str, body: bytes) -> publishing.Published:
    """Publish as a plain process does: on a loop that has no hub."""
    publish = publishing.publish(("default", channel_id), body=body, max_body=1000)
    loop = publisher.publisher_loop()
    return asyncio.run_coroutine_threadsafe(publish, loop).result(20)


async def send(channel_id: str, body: bytes) -> publishing.Published:
    return await asyncio.to_thread(publish_on_publisher, channel_id, body)


async def delivered(channel_id: str, *, within: float) -> float:
    """Hold a reader, publish, and return how long the message took."""
    body = str(time.monotonic()).encode()
    async with Reader(channel_id) as reader:
        assert reader.held
        await send(channel_id, body)
        started = time.monotonic()
        assert await reader.bodies(deadline=within) == [body]
        return time.monotonic() - started


# As it should be


@BOTH
@pytest.mark.asyncio
async def test_a_message_is_delivered_at_once(server: RedisServer, backend) -> None:
    """By its wake-up: with no verification to find it."""
    async with project(server, backend, resync=NEVER):
        for channel_id in ("news", "news", "other"):
            await delivered(channel_id, within=AT_ONCE)


@BOTH
@pytest.mark.asyncio
async def test_a_burst_is_delivered_in_order_and_once(
    server: RedisServer, backend
) -> None:
    """Wake-ups become fewer than messages, and lose none of them."""
    async with project(server, backend, resync=NEVER):
        got: list[bytes] = []
        async with Reader("news") as reader:
            sending = asyncio.gather(*(send("news", b"%d" % i) for i in range(50)))
            messages = list((await reader.outcome()).messages)
        while True:
            got += [message.body for message in messages]
            if len(got) == 50:
                break
            async with Reader("news", messages[-1].id) as reader:
                messages = list((await reader.outcome(deadline=AT_ONCE)).messages)
        sent = [published.message for published in await sending]
        assert got == [m.body for m in sorted(sent, key=lambda m: m.id)]


@BOTH
@pytest.mark.asyncio
async def test_many_channels_are_joined_together(server: RedisServer, backend) -> None:
    """More channels than the layer has connections come alive at the same time."""
    async with project(server, backend, resync=NEVER, redis_timeout=10):
        readers = [Reader(f"c{i}") for i in range(300)]
        await asyncio.gather(*(reader.__aenter__() for reader in readers))
        hub = subscriptions.current().hub
        assert all(m.joined_at is not None for m in hub.memberships())
        await send("c299", b"hello")
        assert await readers[-1].bodies() == [b"hello"]
        for reader in readers:
            await reader.__aexit__()


@pytest.mark.asyncio
async def test_an_idle_layer_is_no_outage(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """redis-py gives up waiting just as the core layer does; nobody hears of it."""
    both = {
        name: settings(server, name)["CHANNEL_LAYERS"]["default"]
        for name in (CORE, PUBSUB)
    }
    push = {"store": {"type": "redis", "url": server.url}}
    hubs = []
    with override_settings(CHANNEL_LAYERS=both):
        for name in both:
            with override_settings(PUSH_SERVER={**push, "layer": name}):
                hubs.append(subscriptions.Subscriptions(get_config()).hub)
        await asyncio.sleep(12)  # what is tested is that nothing happens
        assert [hub.statistics().channels for hub in hubs] == [0, 0]
        for hub in hubs:
            await hub.close()
    assert caplog.messages == []


# As it may be


class DroppingCore(RedisChannelLayer):
    """Loses every wake-up."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"] != "pushserver.wakeup":
            await super().group_send(group, message)


class DroppingPubSub(RedisPubSubChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["type"] != "pushserver.wakeup":
            await self._get_layer().group_send(group, message)


class DoublingCore(RedisChannelLayer):
    """Delivers everything twice."""

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await super().group_send(group, message)
        await super().group_send(group, message)


class DoublingPubSub(RedisPubSubChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await self._get_layer().group_send(group, message)
        await self._get_layer().group_send(group, message)


@pytest.mark.parametrize("layer", [DroppingCore, DroppingPubSub])
@pytest.mark.asyncio
async def test_a_dropped_wakeup_costs_resync(server: RedisServer, layer) -> None:
    """Verification finds the message, for as long as no wake-up arrives."""
    async with project(server, f"{__name__}.{layer.__name__}"):
        for _ in range(2):
            await delivered("news", within=RESYNC + AT_ONCE)


@pytest.mark.parametrize("layer", [DoublingCore, DoublingPubSub])
@pytest.mark.asyncio
async def test_a_doubled_wakeup_doubles_nothing(server: RedisServer, layer) -> None:
    """A reader who comes back gets each message once."""
    async with project(server, f"{__name__}.{layer.__name__}", resync=NEVER):
        cursor = None
        for i in range(5):
            async with Reader("news", cursor) as reader:
                assert reader.held
                await send("news", b"%d" % i)
                [message] = (await reader.outcome(deadline=AT_ONCE)).messages
                assert message.body == b"%d" % i
            cursor = message.id


@BOTH
@pytest.mark.asyncio
async def test_an_inbox_that_overflows_costs_resync(
    server: RedisServer, backend
) -> None:
    """More wake-ups than the layer keeps, while this process is busy otherwise."""
    layer = {"capacity": 2} if backend == CORE else {}
    async with project(server, backend, layer=layer):
        readers = [Reader(f"c{i}") for i in range(20)]
        for reader in readers:
            await reader.__aenter__()
        for i in range(20):
            publish_on_publisher(f"c{i}", b"hello")  # this loop stands still
        for reader in readers:
            assert await reader.bodies(deadline=RESYNC + AT_ONCE) == [b"hello"]
            await reader.__aexit__()


Loss = Callable[[RedisServer], object]


def lose_groups(server: RedisServer) -> None:
    """As when they expire; Redis keeps those of pub/sub in its connections."""
    groups = server.command("KEYS", f"asgi:group:{group_name('default', 'news')}")
    if groups:
        server.command("DEL", *groups)
    else:
        lose_inbox(server)


def lose_inbox(server: RedisServer) -> None:
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@BOTH
@pytest.mark.parametrize("lose", [lose_groups, lose_inbox])
@pytest.mark.asyncio
async def test_a_loss_in_the_layer_heals(
    server: RedisServer, backend: str, lose: Loss
) -> None:
    """A held reader hears within resync, and afterwards at once again."""
    async with project(server, backend):
        await delivered("news", within=AT_ONCE)
        async with Reader("news") as reader:
            await asyncio.to_thread(lose, server)
            await keep_sending("news", b"hello", deadline=HEALED)
            assert await reader.bodies(deadline=RESYNC + AT_ONCE) == [b"hello"]
        hub = subscriptions.current().hub
        [membership] = hub.memberships()

        async def joined() -> bool:
            return membership.joined_at is not None and membership.changing is None

        await eventually(joined, deadline=HEALED)
        best = min([await delivered("news", within=HEALED) for _ in range(3)])
        assert best < RESYNC / 2


async def keep_sending(channel_id: str, body: bytes, *, deadline: float) -> None:
    """Publish once: a send that surely did not arrive is done again."""

    async def accepted() -> bool:
        try:
            await send(channel_id, body)
        except StoreUnavailable as error:
            if error.maybe_sent:
                raise
            return False
        return True

    await eventually(accepted, deadline=deadline)


# Outages


def said(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    return [message for message in caplog.messages if what in message]


@BOTH
@pytest.mark.parametrize("persistent", [False, True], ids=["forgets", "remembers"])
@pytest.mark.asyncio
async def test_redis_is_killed_and_restarted(
    backend: str, persistent: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Who is held stays held and hears the next message; the log is brief."""
    options = ("--appendonly", "yes", "--appendfsync", "always") if persistent else ()
    with RedisServer(*options) as server:
        async with project(server, backend):
            async with Reader("news") as reader:
                await send("other", b"before")
                server.kill()
                await down("news", log=caplog)
                assert reader.held
                await asyncio.to_thread(server.start)
                await keep_sending("news", b"after", deadline=HEALED)
                assert await reader.bodies(deadline=HEALED) == [b"after"]
            await back(caplog)
            assert await delivered("news", within=HEALED) < HEALED
            best = min([await delivered("news", within=HEALED) for _ in range(3)])
            assert best < RESYNC / 2
            async with Reader("other", first_message="oldest") as reader:
                if persistent:
                    assert await reader.bodies() == [b"before"]
                else:
                    assert reader.held
    assert len(said(caplog, "The store 'default' is down")) == 1
    assert len(said(caplog, "The store 'default' is back")) == 1
    assert len(said(caplog, "Unexpected exception in receive task")) <= 1


@BOTH
@pytest.mark.asyncio
async def test_redis_stands_still(
    own_server: RedisServer, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing hangs longer than redis_timeout while Redis accepts and is silent."""
    async with project(own_server, backend):
        async with Reader("news") as reader:
            own_server.pause()
            await down("news", log=caplog)
            assert reader.held
            own_server.resume()
            await keep_sending("news", b"after", deadline=HEALED)
            bodies = await reader.bodies(deadline=HEALED)
            assert bodies in ([b"after"], [b"lost"], [b"lost", b"after"])
        await back(caplog)
        await delivered("news", within=HEALED)


async def down(channel_id: str, *, log: pytest.LogCaptureFixture) -> None:
    """Meet the outage as publishers and new readers do, until the log knows it."""

    async def known() -> bool:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await send("another", b"lost")
        with pytest.raises(StoreUnavailable):
            await Reader(f"new {started}").__aenter__()
        took = time.monotonic() - started
        assert took < 2 * REDIS_TIMEOUT + AT_ONCE
        return bool(said(log, "The store 'default' is down"))

    await eventually(known, deadline=10)


async def back(log: pytest.LogCaptureFixture) -> None:
    """Wait until the log says so of whatever it had said to be down."""

    async def known() -> bool:
        # The publisher's layer and this loop's are two here, in one process.
        return len(said(log, "is back")) == len(said(log, "is down"))

    await eventually(known, deadline=HEALED + AT_ONCE)


@BOTH
@pytest.mark.asyncio
async def test_a_process_that_starts_before_redis(
    own_server: RedisServer, backend: str
) -> None:
    """It serves as soon as Redis is there."""
    async with project(own_server, backend):
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await Reader("news").__aenter__()
        await asyncio.to_thread(own_server.start)
        await keep_sending("news", b"x", deadline=HEALED)

        async def held() -> bool:
            try:
                async with Reader("news") as reader:
                    return reader.held
            except StoreUnavailable:
                return False

        await eventually(held, deadline=HEALED)
        await delivered("news", within=HEALED)


@pytest.mark.asyncio
async def test_the_layers_own_logger_is_held_back(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """channels_redis.pubsub has a traceback for each second; a minute has one."""
    caplog.set_level(logging.ERROR, "channels_redis.pubsub")
    async with project(own_server, PUBSUB), Reader("news"):
        own_server.kill()
        await asyncio.sleep(3.5)  # of three tracebacks
        await asyncio.to_thread(own_server.start)
    assert len(said(caplog, "Unexpected exception in receive task")) <= 1
