"""A server that is told to stop answers those who wait."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import nullcontext, suppress

from websockets.asyncio.client import connect

from tests.e2e.listeners import HTTP, Broken
from tests.e2e.protocol import starting
from tests.e2e.servers import Server

# Far below `drain_timeout` (10 s): held polls are answered, not waited for.
PROMPTLY = 4.0


async def test_held_polls_are_answered(mortal: Server, channel: str) -> None:
    """SIGTERM: every held poll gets 503 with a Retry-After, and the process ends."""
    target = starting.target(mortal)
    async with target.holding("long", channel, 20) as readers:
        started = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(mortal.stop))
        answers = [await reader.answer() for reader in readers]
        assert time.monotonic() - started < PROMPTLY
        for reader in readers:
            reader.close()
        code = await stopping
    assert {answer.status for answer in answers} == {503}
    retries = [int(answer["Retry-After"]) for answer in answers]
    assert all(0 < seconds <= 10 for seconds in retries)
    assert len(set(retries)) > 1, "all would come back at the same moment"
    if "runpushserver" in str(mortal.process.args):
        assert code == 0
    assert "Traceback" not in mortal.output


async def test_the_503_can_be_read_and_is_not_stored(
    mortal: Server, channel: str
) -> None:
    """It carries CORS and `no-store` like every other answer."""
    target = starting.target(mortal)
    fields = [("Origin", "https://two.example")]
    async with target.holding("origins", channel, headers=fields) as [reader]:
        stopping = asyncio.create_task(asyncio.to_thread(mortal.stop))
        answer = await reader.answer(within=PROMPTLY)
        reader.close()
        await stopping
    assert answer.status == 503
    assert answer.all("Access-Control-Allow-Origin") == ["https://two.example"]
    assert "no-store" in answer.tokens("Cache-Control")


async def test_idle_connections_do_not_keep_it(mortal: Server, channel: str) -> None:
    """Connections that wait for nothing do not delay the end."""
    target = starting.target(mortal)
    async with target.connect() as idle, target.connect() as untouched:
        await idle.request("GET", target.path("interval", channel))
        started = time.monotonic()
        await asyncio.to_thread(mortal.stop)
        assert time.monotonic() - started < PROMPTLY
        assert await idle.at_end()
        assert await untouched.at_end()


async def test_streams_and_sockets_end_at_once(mortal: Server, channel: str) -> None:
    """Complete, or with a code that says: come back. Nobody is waited for."""
    target = starting.target(mortal)
    plain = "daphne" in str(mortal.process.args)
    cut = suppress(Broken, asyncio.IncompleteReadError) if plain else nullcontext()
    url = f"ws://{target.host}:{target.port}"
    many = json.dumps({"channels": {channel: {}}}).encode()
    accept = {"Accept": "text/event-stream"}
    async with (
        HTTP.open(target.port) as one,
        HTTP.open(target.port) as several,
        connect(url + target.path("long", channel)) as socket,
        connect(f"{url}/many") as many_socket,
    ):
        await one.ask("GET", target.path("long", channel), accept)
        await several.ask("POST", "/many", accept, many)
        await many_socket.send(json.dumps({"subscribe": json.loads(many)}))
        await target.until_held(channel, 4)
        started = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(mortal.stop))
        async with asyncio.timeout(PROMPTLY):
            for http in (one, several):
                # Daphne trips over requests that became WebSockets, and cuts.
                with cut:
                    async for _ in http.pieces():
                        pass
            for each in (socket, many_socket):
                await each.wait_closed()
        codes = {socket.close_code, many_socket.close_code}
        assert codes <= {4000, 1001} or (plain and codes == {1006})
        await stopping
    assert time.monotonic() - started < PROMPTLY
    assert "Traceback" not in mortal.output
