"""Who publishes: views of a WSGI process and a plain worker, one message at a time."""

import asyncio
import contextlib
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from pathlib import Path

from tests.e2e.protocol.client import connect
from tests.e2e.servers import DEADLINE, ROOT, environment

# Longer than a send may take (`redis_timeout`, 2 s): nothing hangs.
ANSWER_DEADLINE = 8.0

Send = Callable[[str, str], Awaitable[str]]
"""Publishes a text on a channel and returns how that went (see `urls.publish`)."""


class Ledger:
    """What became of each message, by channel."""

    def __init__(self) -> None:
        self.count = 0
        self._texts: dict[str, defaultdict[str, list[str]]] = {
            result: defaultdict(list) for result in ("accepted", "maybe", "refused")
        }

    def note(self, channel: str, text: str, result: str) -> None:
        self._texts[result][channel].append(text)
        self.count += 1

    def accepted(self, channel: str) -> list[str]:
        return self._texts["accepted"][channel]

    def maybe(self, channel: str) -> list[str]:
        return self._texts["maybe"][channel]

    def total(self, result: str) -> int:
        return sum(map(len, self._texts[result].values()))


async def publish(
    name: str,
    send: Send,
    turns: Iterable[tuple[int, str]],
    *,
    ledger: Ledger,
    room: Callable[[str], Awaitable[None]],
) -> None:
    """Send what has its turn, until all publishers together have sent everything."""
    for number, channel in turns:
        await room(channel)
        text = f"{name} {number}"
        async with asyncio.timeout(ANSWER_DEADLINE):
            result = await send(channel, text)
        ledger.note(channel, text, result)


@contextlib.asynccontextmanager
async def view(port: int) -> AsyncIterator[Send]:
    """A view that sends, asked over one connection."""
    async with connect("127.0.0.1", port) as connection:

        async def send(channel: str, text: str) -> str:
            body = f"{channel} {text}".encode()
            answer = await connection.request("POST", "/send/", body=body)
            assert answer.status == 200, answer
            return answer.body.decode()

        yield send


@contextlib.asynccontextmanager
async def worker(log: Path, env: Mapping[str, str]) -> AsyncIterator[Send]:
    """A process without a server; what it has to say is in the log."""
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.e2e.machines.worker"),
            cwd=ROOT,
            env=environment(ROOT, env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout

    async def said() -> str:
        word = (await stdout.readline()).decode().strip()
        assert word, f"it ended: see {log}"
        return word

    async def send(channel: str, text: str) -> str:
        stdin.write(f"{channel} {text}\n".encode())
        return await said()

    try:
        async with asyncio.timeout(DEADLINE):
            assert await said() == "ready"
        yield send
        stdin.close()
        async with asyncio.timeout(ANSWER_DEADLINE):
            assert await process.wait() == 0, f"see {log}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
