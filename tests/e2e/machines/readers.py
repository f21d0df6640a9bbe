"""Long-poll readers that follow their cursor through whatever happens.

Many of them run in the test's own loop, so they parse no more than they need.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable

# A poll is held for 25 s at most, and a process that hangs costs nginx 35 s.
ANSWER_DEADLINE = 45.0

_NAMES = rb"connection|content-length|etag|last-modified|retry-after|x-pid|x-push-gap"
_FIELD = re.compile(rb"\r\n(" + _NAMES + rb"): ([^\r]*)", re.IGNORECASE)


class Lost(ConnectionError):
    """The connection has ended and the answer did not come."""


class Answer:
    """Status, the headers that a reader needs by lower-case name, body."""

    __slots__ = ("body", "fields", "status")

    def __init__(self, head: bytes) -> None:
        self.status = int(head[9:12])
        self.fields = {name.lower(): value for name, value in _FIELD.findall(head)}
        self.body = b""


class _Connection(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived = b""
        self._answer: asyncio.Future[Answer] | None = None
        self.is_open = True
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._arrived += data
        end = self._arrived.find(b"\r\n\r\n")
        if end < 0:
            return
        answer = Answer(self._arrived[: end + 2])
        length = int(answer.fields.get(b"content-length", b"0"))
        if len(self._arrived) < end + 4 + length:
            return
        answer.body = self._arrived[end + 4 : end + 4 + length]
        self._arrived = self._arrived[end + 4 + length :]
        if answer.fields.get(b"connection", b"") == b"close":
            self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(Lost())

    async def request(self, data: bytes) -> Answer:
        self._answer = self._loop.create_future()
        if not self.is_open:
            raise Lost
        self.transport.write(data)
        async with asyncio.timeout(ANSWER_DEADLINE):
            return await self._answer


class Reader:
    """Reads one channel from its beginning, and keeps a record of what it met.

    It expects what `deploy/` promises: news, nothing new, or 503 with the seconds to
    stay away; whoever dies, it is nginx that has to find another process.
    """

    def __init__(self, channel: str, on_message: Callable[["Reader"], None]) -> None:
        self.channel = channel
        self.ids: list[tuple[int, int]] = []
        self.texts: list[str] = []
        self.pids: set[int] = set()
        self.statuses: Counter[int] = Counter()
        self.gaps = 0
        self._on_message = on_message
        self._cursor = b""
        self._connection: _Connection | None = None

    async def follow(self, port: int) -> None:
        """Poll until cancelled."""
        line = f"GET /updates/{self.channel} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        try:
            while True:
                await self._poll(port, line.encode())
        finally:
            if self._connection is not None:
                self._connection.transport.abort()

    async def _poll(self, port: int, line: bytes) -> None:
        if self._connection is None or not self._connection.is_open:
            loop = asyncio.get_running_loop()
            _, self._connection = await loop.create_connection(
                _Connection, "127.0.0.1", port
            )
        answer = await self._connection.request(line + self._cursor + b"\r\n")
        self.statuses[answer.status] += 1
        fields = answer.fields
        if b"x-pid" in fields:
            self.pids.add(int(fields[b"x-pid"]))
        self.gaps += b"x-push-gap" in fields
        if answer.status == 503:
            await asyncio.sleep(float(fields[b"retry-after"]))
            return
        assert answer.status in (200, 304), (answer.status, answer.body)
        tag = fields[b"etag"]
        self._cursor = b"If-None-Match: %s\r\nIf-Modified-Since: %s\r\n" % (
            tag,
            fields[b"last-modified"],
        )
        if answer.status == 200:
            milliseconds, number = tag.strip(b'"').split(b"-")
            self.ids.append((int(milliseconds), int(number)))
            self.texts.append(json.loads(answer.body)["text"])
            self._on_message(self)
