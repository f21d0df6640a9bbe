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
MARGIN = 3.0  # a busy machine may be late by so much
HEALED = 5.0  # seconds after Redis has come back
LONGEST_RETRY = 3.0  # what Retry-After says at most
STANDSTILL = 10.0

Outage = Callable[[RedisServer, "Site"], Awaitable[None]]


async def killed(redis: RedisServer, here: "Site") -> None:
    redis.kill()
    await here.meets_the_outage()
    await asyncio.to_thread(redis.start)


async def killed_for_good(redis: RedisServer, here: "Site") -> None:
    """What it had accepted is gone with it."""
    redis.kill()
    await here.meets_the_outage()
    here.forget()
    await asyncio.to_thread(redis.start)


async def paused(redis: RedisServer, here: "Site") -> None:
    redis.pause()
    await asyncio.gather(here.meets_the_outage(), asyncio.sleep(STANDSTILL))
    redis.resume()


async def cut(redis: RedisServer, here: "Site") -> None:
    for _ in range(10):
        for kind in ("normal", "pubsub"):
            await asyncio.to_thread(redis.command, "CLIENT", "KILL", "TYPE", kind)
        await asyncio.sleep(0.2)


class Site:
    """One push process and those who publish and read."""

    def __init__(self, server: Server, senders: dict[str, Send], log: Path) -> None:
        self.server = server
        self._worker_log = log
        self.ledger = Ledger()
        self.slowest = 0.0  # seconds that a send took
        channels = ["news", "news", "news", "quiet"]
        self.readers = [Reader(name, lambda _: None) for name in channels]
        self.senders = senders
        self.stopped = False
        self._forgotten: dict[str, set[str]] = {}
        self._answered_at = dict.fromkeys(senders, 0.0)
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
        self._answered_at[name] = started
        if result == "accepted":
            self._accepted_at[name] = started

    async def poll(self, channel: str) -> int:
        """Poll a channel that has no message yet, and return the status."""
        async with connect("127.0.0.1", self.server.port) as connection:
            await connection.send("GET", f"/updates/{channel}")
            answer = await connection.answer(within=REDIS_TIMEOUT + MARGIN)
            assert answer.status == 200 or answer["Retry-After"] in ("1", "2", "3")
            return answer.status

    async def meets_the_outage(self) -> None:
        """Redis is away: everybody is told so in time, and polls come back later."""
        gone = time.monotonic()

        async def known() -> bool:
            # Verification has looked, and nobody waits for an answer from before.
            said = "The store 'default' is down" in self.server.stderr
            return said and all(at > gone for at in self._answered_at.values())

        # The first ones may still be waiting for what was asked before.
        for batch in range(2):
            polls = [self.poll(f"unknown-{batch}-{i}") for i in range(10)]
            assert await asyncio.gather(*polls) == [503] * 10
        await eventually(known)

    async def heals(self) -> None:
        """Redis is back: soon everybody sends, and a new poll gets what is sent."""
        back = time.monotonic()

        async def accepted() -> bool:
            return all(at > back for at in self._accepted_at.values())

        async def served() -> bool:
            channel = f"after-{time.monotonic()}"
            poll = asyncio.create_task(self.poll(channel))
            async with view(self.server.port) as send:
                await send(channel, "hello")
            return await poll == 200

        async with asyncio.timeout(HEALED):
            await eventually(accepted)
            await eventually(served)

    async def all_read(self) -> bool:
        return not any(self.lacking(reader) for reader in self.readers)

    def lacking(self, reader: Reader) -> set[str]:
        """Return what was accepted on the channel and the reader does not have."""
        accepted = {*self.ledger.accepted(reader.channel)}
        return accepted - self._forgotten.get(reader.channel, set()) - {*reader.texts}

    def forget(self) -> None:
        """Expect nobody to get any more what has been accepted so far."""
        channels = {reader.channel for reader in self.readers}
        self._forgotten = {name: {*self.ledger.accepted(name)} for name in channels}

    @property
    def logs(self) -> list[str]:
        return [self.server.stderr, self._worker_log.read_text()]

    async def said_it_is_back(self) -> bool:
        return all(began(log) == ended(log) for log in self.logs)


def began(log: str) -> Counter[str]:
    return Counter(re.findall(r"WARNING \S+ (.*) is down", log))


def ended(log: str) -> Counter[str]:
    return Counter(re.findall(r"WARNING \S+ (.*) is back", log))


async def survive(
    folder: Path, layer: str, outage: Outage, *options: str, gaps: int = 0
) -> str:
    """Let it happen to a Redis with these options; return the server's log."""
    with RedisServer(*options) as redis:
        async with site(folder, redis, layer) as here:
            await run(redis, here, outage)
            check(here, gaps=gaps)
            return here.server.stderr


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
        log = folder / "worker.log"
        senders = {
            "view": await stack.enter_async_context(view(port)),
            "worker": await stack.enter_async_context(worker(log, env)),
        }
        yield Site(server, senders, log)


async def run(redis: RedisServer, here: Site, outage: Outage) -> None:
    """Publish and read before, during and after the outage."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        await here.send("view", "quiet", 0)
        port = here.server.port
        following = [group.create_task(r.follow(port)) for r in here.readers]
        sending = [group.create_task(here.publish(name)) for name in here.senders]
        await eventually(lambda: read_something(here))
        await outage(redis, here)
        await here.heals()
        here.stopped = True
        await asyncio.gather(*sending)
        await here.send("worker", "quiet", 1)
        await eventually(here.all_read, deadline=HEALED + LONGEST_RETRY)
        await eventually(here.said_it_is_back, deadline=HEALED)
        for task in following:
            task.cancel()


async def read_something(here: Site) -> bool:
    return all(len(r.texts) >= 20 for r in here.readers if r.channel == "news")


def check(here: Site, *, gaps: int) -> None:
    """Hold what was read against what was sent, and the log against both."""
    assert here.slowest < REDIS_TIMEOUT + MARGIN
    for reader in here.readers:
        assert all(one < other for one, other in itertools.pairwise(reader.ids))
        assert max(Counter(reader.texts).values()) == 1
        sent = here.ledger.accepted(reader.channel) + here.ledger.maybe(reader.channel)
        assert {*reader.texts} <= {*sent}
        assert reader.gaps == gaps
    quiet = here.readers[-1]
    assert quiet.texts == ["view 0", "worker 1"]
    for log in here.logs:
        assert began(log) == ended(log)
        assert set(began(log).values()) <= {1}
        # What the layers leave behind is theirs, and what they repeat is said once.
        errors = re.findall(r"^ERROR .+\n.+", log, re.MULTILINE)
        assert [error for error in errors if "channels_redis" not in error] == []
        assert log.count("ERROR channels_redis.pubsub") <= 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_is_killed_and_comes_back_with_what_it_had(tmp_path, layer):
    """No message that was accepted is lost or doubled; polls and sends do not hang."""
    log = await survive(tmp_path, layer, killed, *PERSISTENTLY)
    assert log.count("The store 'default' is down") == 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_is_killed_and_comes_back_empty(tmp_path, layer):
    """Readers are told, once, and go on with what is published next."""
    await survive(tmp_path, layer, killed_for_good, gaps=1)


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_stands_still(tmp_path, layer):
    """What it does not answer in time is told so, and nothing waits any longer."""
    log = await survive(tmp_path, layer, paused)
    assert log.count("The store 'default' is down") == 1


@pytest.mark.parametrize("layer", LAYERS)
async def test_redis_hangs_up(tmp_path, layer):
    """Connections that are cut are opened again; what was accepted arrives once."""
    await survive(tmp_path, layer, cut)
