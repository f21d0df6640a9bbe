"""Redis dies, forgets, stands still, hangs up: nothing hangs, nothing gets lost.

A view of a push process and a plain worker publish all the time, readers follow.
"""

import asyncio
import itertools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.machines.fleet import SETTINGS, exec_start
from tests.e2e.machines.publishers import Ledger, Send, view, worker
from tests.e2e.machines.readers import Reader
from tests.e2e.protocol.client import connect
from tests.e2e.servers import ROOT, Server, free_port
from tests.redis_server import PERSISTENTLY, RedisServer, eventually

LAYERS = (
    "channels_redis.pubsub.RedisPubSubChannelLayer",
    pytest.param("channels_redis.core.RedisChannelLayer", marks=pytest.mark.long),
)

REDIS_TIMEOUT = 2.0  # of the settings
MARGIN = 1.5  # a busy machine may be late by so much
HEALED = 5.0  # seconds after Redis has come back
LONGEST_RETRY = 3.0  # what Retry-After says at most
AWAY = 4.0
STANDSTILL = 10.0

During = Callable[[], Awaitable[None]]


async def killed(redis: RedisServer, during: During) -> None:
    redis.kill()
    await asyncio.gather(during(), asyncio.sleep(AWAY))
    await asyncio.to_thread(redis.start)


async def paused(redis: RedisServer, during: During) -> None:
    redis.pause()
    await asyncio.gather(during(), asyncio.sleep(STANDSTILL))
    redis.resume()


async def cut(redis: RedisServer, during: During) -> None:
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            await asyncio.to_thread(redis.command, "CLIENT", "KILL", "TYPE", kind)
        await asyncio.sleep(0.2)


class Site:
    """One push process and those who publish and read."""

    def __init__(self, server: Server, senders: dict[str, Send]) -> None:
        self.server = server
        self.ledger = Ledger()
        self.slowest = 0.0  # seconds that a send took
        channels = ["news", "news", "news", "quiet"]
        self.readers = [Reader(name, lambda _: None) for name in channels]
        self.senders = senders
        self.stopped = False
        self.forgotten: set[str] = set()
        self._accepted_at = dict.fromkeys(senders, 0.0)

    async def publish(self, name: str) -> None:
        """Send one message after the other, none twice, until told to stop."""
        for number in itertools.count():
            if self.stopped:
                return
            await self.send(name, "news", number)
            await asyncio.sleep(0.02)

    async def send(self, name: str, channel: str, number: int) -> None:
        started = time.monotonic()
        text = f"{name} {number}"
        result = await self.senders[name](channel, text)
        self.slowest = max(self.slowest, time.monotonic() - started)
        self.ledger.note(channel, text, result)
        if result == "accepted":
            self._accepted_at[name] = started

    async def poll(self, channel: str) -> int | None:
        """Poll a channel that nobody knows; None where the poll is held."""
        async with connect("127.0.0.1", self.server.port) as connection:
            await connection.send("GET", f"/updates/{channel}")
            try:
                answer = await connection.answer(within=REDIS_TIMEOUT + MARGIN)
            except TimeoutError:
                return None
            assert answer["Retry-After"] in ("1", "2", "3")
            return answer.status

    async def refuses(self) -> None:
        """Redis is away: new polls are told so in time, and come back later."""
        # The first ones may still be waiting for what was asked before.
        for batch in range(2):
            polls = [self.poll(f"unknown-{batch}-{i}") for i in range(10)]
            assert await asyncio.gather(*polls) == [503] * 10

    async def heals(self) -> None:
        """Redis is back: soon everybody sends, and a new poll is held."""
        back = time.monotonic()

        async def accepted() -> bool:
            return all(at > back for at in self._accepted_at.values())

        async def held() -> bool:
            return await self.poll(f"after-{time.monotonic()}") is None

        async with asyncio.timeout(HEALED + REDIS_TIMEOUT + MARGIN):
            await eventually(accepted, deadline=HEALED)
            await eventually(held)

    async def all_read(self) -> bool:
        return not any(self.lacking(reader) for reader in self.readers)

    def lacking(self, reader: Reader) -> set[str]:
        accepted = {*self.ledger.accepted(reader.channel)}
        return accepted - self.forgotten - {*reader.texts}

    async def forgets(self) -> None:
        """Redis is away, and with it what it had accepted."""
        await self.refuses()
        self.forgotten = {*self.ledger.accepted("news")}


@asynccontextmanager
async def site(folder: Path, redis: RedisServer, layer: str) -> AsyncIterator[Site]:
    env = {
        "DJANGO_SETTINGS_MODULE": SETTINGS,
        "MACHINES_REDIS": redis.url,
        "MACHINES_LAYER": layer,
    }
    port = free_port()
    async with AsyncExitStack() as stack:
        server = Server(exec_start(port), cwd=ROOT, port=port, env=env)
        stack.enter_context(server)
        await asyncio.to_thread(server.wait_listening)
        senders = {
            "view": await stack.enter_async_context(view(port)),
            "worker": await stack.enter_async_context(
                worker(folder / "worker.log", env)
            ),
        }
        yield Site(server, senders)


async def run(
    redis: RedisServer,
    here: Site,
    outage: Callable[..., Awaitable[None]],
    *,
    during: During | None = None,
):
    """Publish and read before, during and after the outage."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        await here.send("view", "quiet", 0)
        port = here.server.port
        following = [group.create_task(r.follow(port)) for r in here.readers]
        sending = [group.create_task(here.publish(name)) for name in here.senders]
        await eventually(lambda: read_something(here))
        await outage(redis, during or here.refuses)
        await here.heals()
        here.stopped = True
        await asyncio.gather(*sending)
        await here.send("worker", "quiet", 1)
        await eventually(here.all_read, deadline=HEALED + LONGEST_RETRY)
        for task in following:
            task.cancel()


async def read_something(here: Site) -> bool:
    return all(len(r.texts) >= 20 for r in here.readers if r.channel == "news")


def check(here: Site, folder: Path, *, gaps: int) -> None:
    """Hold what was read against what was sent, and the log against both."""
    assert here.slowest < REDIS_TIMEOUT + MARGIN
    for reader in here.readers:
        assert all(one < other for one, other in itertools.pairwise(reader.ids))
        assert max(Counter(reader.texts).values()) == 1
        sent = here.ledger.accepted(reader.channel) + here.ledger.maybe(reader.channel)
        assert {*reader.texts} <= {*sent}
        assert reader.gaps <= gaps
    quiet = here.readers[-1]
    assert quiet.texts == ["view 0", "worker 1"]
    for log in (here.server.stderr, (folder / "worker.log").read_text()):
        began = Counter(re.findall(r"WARNING \S+ (.*) is down", log))
        ended = Counter(re.findall(r"WARNING \S+ (.*) is back", log))
        assert began == ended
        assert set(began.values()) <= {1}
        # What the layers leave behind is theirs, and what they repeat is said once.
        errors = re.findall(r"^ERROR .+\n.+", log, re.MULTILINE)
        assert [error for error in errors if "channels_redis" not in error] == []
        assert log.count("ERROR channels_redis.pubsub") <= 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_is_killed_and_comes_back_with_what_it_had(tmp_path, layer):
    """No message that was accepted is lost or doubled; polls and sends do not hang."""
    with RedisServer(*PERSISTENTLY) as redis:
        async with site(tmp_path, redis, layer) as here:
            await run(redis, here, killed)
            check(here, tmp_path, gaps=0)
            assert here.server.stderr.count("The store 'default' is down") == 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_is_killed_and_comes_back_empty(tmp_path, layer):
    """Readers go on with what is published next."""
    with RedisServer() as redis:
        async with site(tmp_path, redis, layer) as here:
            await run(redis, here, killed, during=here.forgets)
            check(here, tmp_path, gaps=1)


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_stands_still(tmp_path, layer):
    """What it does not answer in time is told so, and nothing waits any longer."""
    with RedisServer() as redis:
        async with site(tmp_path, redis, layer) as here:
            await run(redis, here, paused)
            check(here, tmp_path, gaps=0)
            assert here.server.stderr.count("The store 'default' is down") == 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_hangs_up(tmp_path, layer):
    """Connections that are cut are opened again; what was accepted arrives once."""
    with RedisServer() as redis:
        async with site(tmp_path, redis, layer) as here:
            await run(redis, here, cut)
            check(here, tmp_path, gaps=0)
