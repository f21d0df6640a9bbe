"""Once, in order, nothing lost: by every way to listen, through cuts and restarts.

All six follow the same 20 channels at the same time, each through a proxy of its own
that cuts all their connections at random moments, while the messages are published and
the server is stopped and started. The history is in Redis.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import servers
from tests.e2e.listeners import WAYS, Listener
from tests.e2e.machines import publishers
from tests.e2e.machines.fleet import SETTINGS
from tests.e2e.servers import ROOT, Server, free_port
from tests.redis_server import Proxy, RedisServer

CHANNELS = [f"channel-{n}" for n in range(20)]
MESSAGES = 1000
CUTS = 50
RESTARTS = 2
APPLICATION = "tests.e2e.machines.asgi:application"
# A server that is stopped takes its time, and a lost wake-up costs `resync`.
DEADLINE = 60.0


@dataclass
class Run:
    """What was published, by channel, and who heard what."""

    sent: dict[str, list[str]]
    listeners: dict[str, Listener]
    cut: dict[str, int]
    ended_with: list[int]
    output: str


def start(name: str, port: int, env: dict[str, str]) -> Server:
    if name == "daphne":
        return servers.start_daphne(ROOT, APPLICATION, port=port, env=env)
    if name == "runpushserver":
        return servers.start_runpushserver(
            ROOT, "--allrequests", settings=SETTINGS, port=port, env=env
        )
    quiet = ("--log-level", "warning")
    return servers.start_uvicorn(ROOT, APPLICATION, *quiet, port=port, env=env)


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[dict[str, tuple[Proxy, Listener]]]:
    """A listener of each way, each behind a proxy of its own."""
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, tuple[Proxy, Listener]] = {}
        tasks: list[asyncio.Task[None]] = []
        for way, kind in WAYS.items():
            proxy = await stack.enter_async_context(Proxy(port))
            listener = kind(proxy.port, CHANNELS)
            found[way] = proxy, listener
            tasks.append(asyncio.create_task(listener.run()))
        try:
            yield found
        finally:
            for task in tasks:
                task.cancel()
            ends: list[Any] = await asyncio.gather(*tasks, return_exceptions=True)
            errors = [e for e in ends if not isinstance(e, asyncio.CancelledError)]
            assert errors == [], errors


async def until(condition: Any, what: str) -> None:
    try:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 (other processes fulfil it)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(what) from None


async def play(name: str, folder: Path, redis: RedisServer) -> Run:
    port = free_port()
    env = {"MACHINES_REDIS": redis.url, "DJANGO_SETTINGS_MODULE": SETTINGS}
    sent: dict[str, list[str]] = {channel: [] for channel in CHANNELS}
    cut = dict.fromkeys(WAYS, 0)
    codes: list[int] = []
    output = ""
    server = await asyncio.to_thread(start, name, port, env)
    count = 0

    async def publish_all(send: publishers.Send) -> None:
        nonlocal count
        for n in range(MESSAGES):
            channel = CHANNELS[n % len(CHANNELS)]
            assert await send(channel, f"text {n}") == "accepted"
            sent[channel].append(f"text {n}")
            count += 1
            await asyncio.sleep(0.003)

    async def cut_at_random(proxy: Proxy, way: str) -> None:
        seen = 0
        while cut[way] < CUTS:
            await asyncio.sleep(random.uniform(0, 0.12))
            # A cut of nothing new, while a server starts, does not count.
            if proxy.accepted > seen and proxy.cut():
                seen = proxy.accepted
                cut[way] += 1

    async with listening(port) as found:
        async with publishers.worker(folder / "worker.log", env) as send:
            publishing = asyncio.create_task(publish_all(send))
            cutting = [
                asyncio.create_task(cut_at_random(proxy, way))
                for way, (proxy, _) in found.items()
            ]
            for n in range(1, RESTARTS + 1):
                reached = MESSAGES * n // (RESTARTS + 1)
                await until(lambda reached=reached: count >= reached, "published")
                codes.append(await asyncio.to_thread(server.stop))
                output += finish(server)
                server = await asyncio.to_thread(start, name, port, env)
            await publishing
            await asyncio.gather(*cutting)

        def complete() -> bool:
            return all(
                len(listener.texts[channel]) >= len(sent[channel])
                for _, listener in found.values()
                for channel in CHANNELS
            )

        with contextlib.suppress(AssertionError):  # each way tells what it lacks
            await until(complete, "heard")
        listeners = {way: listener for way, (_, listener) in found.items()}
    await asyncio.to_thread(server.stop)
    return Run(sent, listeners, cut, codes, output + finish(server))


def finish(server: Server) -> str:
    """Close the files of a server that has ended, and return what was in them."""
    with server:
        return server.output


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="module", params=["runpushserver", "uvicorn"])
def run(
    request: pytest.FixtureRequest,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """One performance under this server, judged by all the tests."""
    redis.command("FLUSHALL")
    name: str = request.param
    return asyncio.run(play(name, tmp_path_factory.mktemp(name), redis))


@pytest.mark.parametrize("way", WAYS)
def test_each_message_comes_once_and_in_order(run: Run, way: str):
    """Whatever was cut, and whoever was stopped."""
    listener = run.listeners[way]
    for channel in CHANNELS:
        assert listener.texts[channel] == run.sent[channel], (way, channel)
    assert sum(map(len, run.sent.values())) == MESSAGES


@pytest.mark.parametrize("way", WAYS)
def test_nobody_is_told_of_a_loss_that_was_none(run: Run, way: str):
    """No gap and no end."""
    listener = run.listeners[way]
    assert sum(listener.gaps.values()) == 0
    assert listener.ended == {}
    assert run.cut[way] >= CUTS
    assert listener.connections > CUTS


def test_no_server_had_anything_to_complain_of(run: Run):
    """Clients that vanish and a stop are everyday."""
    _, _, complaint = run.output.partition("Traceback")
    assert complaint == ""
    assert len(run.ended_with) == RESTARTS
