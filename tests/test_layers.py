"""Both layers of channels-redis: at once when all is well, within resync when not.

A plain process publishes, so that nothing but the layer and the store tells a reader's
process of it. Each test stands beside a busy ordinary consumer of the same layer.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, ClassVar

import pytest
from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from pushserver.conf import get_config
from pushserver.engine import subscriptions
from pushserver.engine.waiters import Delivery
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor
from pushserver.names import group_name
from tests.redis_server import PERSISTENTLY, RedisServer, TlsServer, eventually
from tests.sharing import CORE, PUBSUB, Process, Reader, processes, settings

pytestmark = [pytest.mark.real_time, pytest.mark.once]

BOTH = pytest.mark.parametrize("backend", ["Core", "PubSub"])
NEVER = 600.0  # seconds of resync: nothing is found by verification
AT_ONCE = 2.0  # seconds, on a busy machine
RESYNC = 1.0
REDIS_TIMEOUT = 1.0
HEALED = 5.0  # seconds after Redis is back
READERS = "readers"  # as Redis knows the connections of this process


class Watched:
    """Notes of which ids the readers' process is told; may lose or double wake-ups."""

    copies = 1
    told: ClassVar[list[str]] = []
    group_expiry: int

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._pending: list[dict[str, Any]] = []

    async def receive(self, channel: str) -> dict[str, Any]:
        while not self._pending:
            message = await self._receive(channel)
            if message["type"] != "pushserver.wakeup":
                return message
            self._pending += [message] * self.copies
        self.told.append(self._pending[0]["id"])
        return self._pending.pop()

    async def _receive(self, channel: str) -> dict[str, Any]:
        raise NotImplementedError


class Core(Watched, RedisChannelLayer):
    async def _receive(self, channel: str) -> dict[str, Any]:
        return await RedisChannelLayer.receive(self, channel)


class PubSub(Watched, RedisPubSubChannelLayer):
    async def _receive(self, channel: str) -> dict[str, Any]:
        return await self._get_layer().receive(channel)


class DroppingCore(Core):
    copies = 0


class DroppingPubSub(PubSub):
    copies = 0


class DoublingCore(Core):
    copies = 2


class DoublingPubSub(PubSub):
    copies = 2


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis for one test, to do with it what it likes."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module")
def plain(server: RedisServer) -> Iterator[Process]:
    """The process that publishes."""
    with processes(1, settings(server, PUBSUB)) as [process]:
        yield process


class Project:
    """Who publishes, elsewhere; the readers are here."""

    def __init__(self, plain: Process) -> None:
        self._plain = plain

    def start(self, channel_id: str, body: str) -> int:
        """Begin to send: this loop may stand still meanwhile."""
        return self._plain.start("send", channel_id, body)

    def sent(self, number: int) -> tuple[str, str]:
        """Return what became of it, and the message's id."""
        result, message_id = self._plain.answer(number)
        return result, message_id

    async def send(self, channel_id: str, body: str) -> tuple[str, str]:
        return await asyncio.to_thread(self.sent, self.start(channel_id, body))

    async def keep_sending(self, channel_id: str, body: str) -> None:
        """Publish until it is accepted: perhaps more than once."""

        async def accepted() -> bool:
            return (await self.send(channel_id, body))[0] == "accepted"

        await eventually(accepted, deadline=HEALED)

    async def delivered(self, channel_id: str, *, within: float) -> bool:
        """Hold a reader, publish, and return whether it came by its wake-up."""
        body = str(time.monotonic())
        async with Reader(channel_id) as reader:
            assert reader.held
            number = self.start(channel_id, body)
            assert await reader.bodies(deadline=within) == [body.encode()]
            result, message_id = await asyncio.to_thread(self.sent, number)
            assert result == "accepted"
        return message_id in Watched.told

    async def heals(self, channel_id: str) -> None:
        """From now on readers get everything, and soon by wake-ups again."""

        async def told() -> bool:
            return await self.delivered(channel_id, within=RESYNC + AT_ONCE)

        await eventually(told, deadline=HEALED + AT_ONCE)


@asynccontextmanager
async def project(
    plain: Process,
    server: RedisServer,
    backend: str,
    *,
    busy: bool = True,
    **options: Any,
) -> AsyncIterator[Project]:
    """Serve here, publish there, and keep the layer busy."""
    server.command("FLUSHALL")
    Watched.told.clear()
    options = {"redis_timeout": REDIS_TIMEOUT, "resync": RESYNC} | options
    theirs = settings(server, CORE if "Core" in backend else PUBSUB, **options)
    await asyncio.to_thread(plain.ask, "configure", theirs)
    ours = settings(server, f"{__name__}.{backend}", **options, name=READERS)
    with override_settings(**ours):
        consumer = asyncio.create_task(be_busy() if busy else asyncio.sleep(0))
        try:
            yield Project(plain)
        finally:
            while not consumer.done():  # the layer may swallow a cancellation
                consumer.cancel()
                await asyncio.wait([consumer], timeout=0.1)
            await subscriptions.current().close()
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


# As it should be


@BOTH
async def test_a_message_is_delivered_at_once(plain, server, backend):
    """By its wake-up: with no verification to find it."""
    async with project(plain, server, backend, resync=NEVER) as here:
        for channel_id in ("news", "news", "other"):
            assert await here.delivered(channel_id, within=AT_ONCE)


@pytest.mark.parametrize("backend", ["DroppingCore", "DroppingPubSub"])
async def test_nothing_but_the_layer_tells(plain, server, backend):
    """Without wake-ups and without verification a message is not delivered."""
    async with project(plain, server, backend, resync=NEVER) as here:
        async with Reader("news") as reader:
            assert (await here.send("news", "stored"))[0] == "accepted"
            with pytest.raises(TimeoutError):
                await reader.bodies(deadline=0.5)
        # For what the tail cannot answer the store is asked.
        async with Reader("news", Cursor(1, 1)) as reader:
            assert await reader.bodies() == [b"stored"]


@BOTH
async def test_a_burst_is_delivered_in_order_and_once(plain, server, backend):
    """Wake-ups become fewer than messages, and lose none of them."""
    async with project(plain, server, backend, resync=NEVER) as here:
        got: list[bytes] = []
        async with Reader("news") as reader:
            numbers = [here.start("news", f"{i}") for i in range(50)]
            messages = list((await reader.outcome()).messages)
        while True:
            got += [message.body for message in messages]
            if len(got) == 50:
                break
            async with Reader("news", messages[-1].id) as reader:
                messages = list((await reader.outcome(deadline=AT_ONCE)).messages)
        ids = [Cursor.parse(here.sent(number)[1]) for number in numbers]
        assert got == [b"%d" % i for i in sorted(range(50), key=ids.__getitem__)]


@BOTH
async def test_many_channels_are_joined_together(plain, server, backend):
    """More channels than the layer has connections come alive at the same time."""
    options: dict[str, Any] = {"resync": NEVER, "redis_timeout": 10}
    async with project(plain, server, backend, **options) as here:
        readers = [Reader(f"c{i}") for i in range(300)]
        await asyncio.gather(*(reader.__aenter__() for reader in readers))
        hub = subscriptions.current().hub
        assert all(m.joined_at is not None for m in hub.memberships())
        await here.send("c299", "hello")
        assert await readers[-1].bodies() == [b"hello"]
        for reader in readers:
            await reader.__aexit__()


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


@contextmanager
def monitored(server: RedisServer) -> Iterator[list[str]]:
    """Write down the commands of this process, without those of its scripts."""
    commands: list[str] = []
    with server.client() as client, client.monitor() as monitor:
        yield commands
        server.command("ECHO", "the end")
        with server.client() as other:
            clients = other.client_list()
        ours = {each["addr"] for each in clients if each["name"] == READERS}
        while (seen := monitor.next_command())["command"] != "ECHO the end":
            address = f"{seen['client_address']}:{seen['client_port']}"
            if address in ours:  # scripts have no address
                commands.append(seen["command"])


@pytest.mark.parametrize(("backend", "most"), [("Core", 6), ("PubSub", 2)])
async def test_what_a_process_asks_of_redis(plain, server, backend, most):
    """Few commands for a message, however many readers it has; none for a poll."""
    async with project(plain, server, backend, busy=False, resync=NEVER) as here:
        cursor = Cursor.parse((await here.send("news", "first"))[1])
        async with Reader("news", cursor) as reader:
            assert reader.held
        with monitored(server) as commands:
            for _ in range(20):
                async with AsyncExitStack() as stack:
                    readers = [Reader("news", cursor) for _ in range(10)]
                    for reader in readers:
                        await stack.enter_async_context(reader)
                    await here.send("news", "hello")
                    for reader in readers:
                        outcome = await reader.outcome(deadline=AT_ONCE)
                    cursor = outcome.messages[-1].id
        assert 20 <= len(commands) <= 20 * most
        with monitored(server) as commands:
            for _ in range(1000):
                async with Reader("news", cursor) as reader:
                    assert reader.held
        # Once a second a process tells the others how many it holds.
        assert len(commands) <= 10


@BOTH
async def test_over_tls(plain, backend):
    """Layer and store, in either direction."""
    options: dict[str, Any] = {"resync": NEVER, "redis_timeout": 10}  # two handshakes
    with TlsServer() as server:
        async with project(plain, server, backend, **options) as here:
            assert await here.delivered("news", within=10)


# As it may be


@pytest.mark.parametrize("backend", ["DroppingCore", "DroppingPubSub"])
async def test_a_dropped_wakeup_costs_resync(plain, server, backend):
    """Verification finds the message, for as long as no wake-up arrives."""
    async with project(plain, server, backend) as here:
        for _ in range(2):
            assert not await here.delivered("news", within=RESYNC + AT_ONCE)


@pytest.mark.parametrize("backend", ["DoublingCore", "DoublingPubSub"])
async def test_a_doubled_wakeup_doubles_nothing(plain, server, backend):
    """A reader who comes back gets each message once."""
    async with project(plain, server, backend, resync=NEVER) as here:
        cursor, ids = None, []
        for i in range(5):
            async with Reader("news", cursor) as reader:
                assert reader.held
                ids.append((await here.send("news", f"{i}"))[1])
                [message] = (await reader.outcome(deadline=AT_ONCE)).messages
                assert message.body == b"%d" % i
            cursor = message.id
        assert Watched.told[: 2 * 4] == [each for each in ids[:4] for _ in range(2)]


@BOTH
async def test_an_inbox_that_overflows_costs_resync(plain, server, backend):
    """More wake-ups than the layer keeps, while this process is busy otherwise."""
    layer = {"capacity": 2} if backend == "Core" else {}  # pub/sub has none
    async with project(plain, server, backend, layer=layer) as here:
        readers = [Reader(f"c{i}") for i in range(20)]
        for reader in readers:
            await reader.__aenter__()
        numbers = [here.start(f"c{i}", "hello") for i in range(20)]
        for number in numbers:  # this loop stands still meanwhile
            assert here.sent(number)[0] == "accepted"
        time.sleep(0.1)  # noqa: ASYNC251 - and until the wake-ups are out
        for reader in readers:
            assert await reader.bodies(deadline=RESYNC + AT_ONCE) == [b"hello"]
            await reader.__aexit__()
        assert (len(Watched.told) == 20) is (backend == "PubSub")


def lose_group(server: RedisServer) -> None:
    """Only the core layer keeps its groups among the keys."""
    assert server.command("DEL", f"asgi:group:{group_name('default', 'news')}")


def lose_everything_of_the_layer(server: RedisServer) -> None:
    """Groups and inboxes; Redis keeps those of pub/sub in its connections."""
    keys = server.command("KEYS", "asgi*")
    assert server.command("DEL", *keys) > 0
    lose_connections(server)


def lose_connections(server: RedisServer) -> None:
    server.command("CLIENT", "KILL", "TYPE", "pubsub")
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


# The pub/sub layer's receiver and our joining again may both have redis-py connect one
# connection anew, and then it drops the socket of the first.
@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")
@pytest.mark.parametrize(
    ("backend", "lose"),
    [
        ("Core", lose_group),
        ("Core", lose_everything_of_the_layer),
        ("Core", lose_connections),
        ("PubSub", lose_connections),
    ],
)
async def test_a_loss_in_the_layer_heals(
    plain, server, backend, lose: Callable[[RedisServer], None]
):
    """A held reader hears within resync, and afterwards at once again."""
    async with project(plain, server, backend) as here:
        assert await here.delivered("news", within=AT_ONCE)
        async with Reader("news") as reader:
            await asyncio.to_thread(lose, server)
            await here.keep_sending("news", "hello")
            assert {*await reader.bodies(deadline=RESYNC + AT_ONCE)} == {b"hello"}
        await here.heals("news")


async def test_a_group_that_expires_heals(plain, server):
    """The core layer forgets who joined long ago, however alive it is."""
    layer, resync = {"group_expiry": 1}, 2.0
    async with project(plain, server, "Core", layer=layer, resync=resync) as here:
        async with Reader("news") as reader:
            # Before the first verification, which renews the membership.
            await asyncio.sleep(1.1)
            _, message_id = await here.send("news", "hello")
            assert await reader.bodies(deadline=resync + AT_ONCE) == [b"hello"]
            assert message_id not in Watched.told
        assert await here.delivered("news", within=AT_ONCE)


# Redis itself


def forget(server: RedisServer) -> None:
    server.command("FLUSHALL")


def restart(server: RedisServer) -> None:
    """Without persistence."""
    server.kill()
    server.start()


@pytest.mark.parametrize(
    ("backend", "lose"), [("Core", forget), ("PubSub", forget), ("PubSub", restart)]
)
async def test_who_is_held_is_told_what_redis_forgot(plain, own_server, backend, lose):
    """Also where verification looks before the next message comes, and once."""
    async with project(plain, own_server, backend) as here:
        await here.send("news", "seen")
        async with Reader("news") as reader, Reader("empty") as other:
            await asyncio.to_thread(lose, own_server)
            await noticed(reader, other)
            for channel_id, each in (("news", reader), ("empty", other)):
                await here.keep_sending(channel_id, "next")
                outcome = await each.outcome(deadline=RESYNC + AT_ONCE)
                assert {message.body for message in outcome.messages} == {b"next"}
                assert outcome.gap
            await go_on(here, "empty", outcome)


@pytest.mark.parametrize("look", [True, False], ids=["verified", "published"])
async def test_who_is_held_is_told_of_an_older_redis(plain, own_server, look):
    """Restored from a dump its ids go back below what readers have seen."""
    async with project(plain, own_server, "PubSub") as here:
        await here.send("news", "kept")
        own_server.command("SAVE")
        await here.send("news", "lost")
        async with Reader("news") as reader:
            await asyncio.to_thread(restart, own_server)
            if look:
                await noticed(reader)
            await here.keep_sending("news", "next")
            outcome = await reader.outcome(deadline=RESYNC + AT_ONCE)
            assert {message.body for message in outcome.messages} == {b"next"}
            assert outcome.gap
        await go_on(here, "news", outcome)


async def noticed(*readers: Reader) -> None:
    """Wait until verification has seen that something is missing."""

    async def told() -> bool:
        return all(reader.subscription.gap for reader in readers)

    await eventually(told, deadline=HEALED)
    assert all(reader.held for reader in readers)


async def go_on(here: Project, channel_id: str, outcome: Delivery) -> None:
    """What is lost is told once."""
    async with Reader(channel_id, outcome.messages[-1].id) as reader:
        await here.send(channel_id, "on")
        assert not (await reader.outcome(deadline=RESYNC + AT_ONCE)).gap


def said(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    return [message for message in caplog.messages if what in message]


@BOTH
@pytest.mark.parametrize("persistent", [False, True], ids=["forgets", "remembers"])
async def test_redis_is_killed_and_restarted(plain, backend, persistent, caplog):
    """Who is held stays held and hears the next message; the log is brief."""
    with RedisServer(*PERSISTENTLY if persistent else ()) as server:
        async with project(plain, server, backend) as here:
            async with Reader("news") as reader:
                await here.send("other", "before")
                server.kill()
                await down(here, log=caplog)
                assert reader.held
                await asyncio.to_thread(server.start)
                await here.keep_sending("news", "after")
                outcome = await reader.outcome(deadline=HEALED)
                assert {message.body for message in outcome.messages} == {b"after"}
                assert outcome.gap is not persistent
            await back(caplog)
            await here.heals("news")
            async with Reader("other", first_message="oldest") as reader:
                if persistent:
                    assert await reader.bodies() == [b"before"]
                else:
                    assert reader.held
    assert len(said(caplog, "The store 'default' is down")) == 1
    assert len(said(caplog, "The store 'default' is back")) == 1
    assert len(said(caplog, "Unexpected exception in receive task")) <= 1


@BOTH
async def test_redis_stands_still(plain, own_server, backend, caplog):
    """Nothing hangs longer than redis_timeout while Redis accepts and is silent."""
    async with project(plain, own_server, backend) as here:
        async with Reader("news") as reader:
            own_server.pause()
            await down(here, log=caplog)
            assert reader.held
            own_server.resume()
            await here.keep_sending("news", "after")
            assert {*await reader.bodies(deadline=HEALED)} == {b"after"}
        await back(caplog)
        await here.heals("news")


async def down(here: Project, *, log: pytest.LogCaptureFixture) -> None:
    """Meet the outage as publishers and new readers do, until the log knows it."""

    async def known() -> bool:
        started = time.monotonic()
        assert (await here.send("another", "lost"))[0] != "accepted"
        with pytest.raises(StoreUnavailable):
            await Reader(f"new {started}").__aenter__()
        took = time.monotonic() - started
        assert took < 2 * REDIS_TIMEOUT + AT_ONCE
        return bool(said(log, "The store 'default' is down"))

    await eventually(known, deadline=10)


async def back(log: pytest.LogCaptureFixture) -> None:
    """Wait until the log says so of whatever it had said to be down."""

    async def known() -> bool:
        return len(said(log, "is back")) == len(said(log, "is down"))

    await eventually(known, deadline=HEALED + AT_ONCE)


@BOTH
async def test_a_process_that_starts_before_redis(plain, own_server, backend):
    """It serves as soon as Redis is there."""
    async with project(plain, own_server, backend) as here:
        own_server.kill()
        with pytest.raises(StoreUnavailable):
            await Reader("news").__aenter__()
        await asyncio.to_thread(own_server.start)
        await here.keep_sending("news", "x")

        async def held() -> bool:
            try:
                async with Reader("news") as reader:
                    return reader.held
            except StoreUnavailable:
                return False

        await eventually(held, deadline=HEALED)
        await here.heals("news")


async def test_the_layers_own_logger_is_held_back(plain, own_server, caplog):
    """channels_redis.pubsub has a traceback for each second; a minute has one."""
    caplog.set_level(logging.ERROR, "channels_redis.pubsub")
    async with project(plain, own_server, "PubSub"), Reader("news"):
        own_server.kill()
        await asyncio.sleep(3.5)  # of three tracebacks
        await asyncio.to_thread(own_server.start)
    assert len(said(caplog, "Unexpected exception in receive task")) <= 1
