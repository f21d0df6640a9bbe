"""Clients of every way to listen, which come back with their cursors whatever happens.

Each follows some channels from their beginning and keeps a record of what it heard, by
channel. None of them shares code with the project.
"""

import asyncio
import contextlib
import json
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from tests.event_stream import Parser

# A server that starts needs longer than one try; nobody shall wait for nothing.
PAUSE = 0.05
ANSWER_DEADLINE = 45.0


class Broken(ConnectionError):
    """The connection has ended before the answer has."""


class Listener(ABC):
    """Follows channels on one connection, or on one each, until it is cancelled."""

    many: bool

    def __init__(self, port: int, channels: Iterable[str]) -> None:
        self.port = port
        self.channels = list(channels)
        self.texts: defaultdict[str, list[str]] = defaultdict(list)
        self.gaps: defaultdict[str, int] = defaultdict(int)
        self.ended: dict[str, int] = {}
        self.connections = 0
        self.cursors: dict[str, str] = {}

    async def run(self) -> None:
        if self.many:
            await self._follow(self.channels)
        else:
            await asyncio.gather(*(self._follow([name]) for name in self.channels))

    async def _follow(self, channels: list[str]) -> None:
        while True:
            self.connections += 1
            with contextlib.suppress(
                OSError, WebSocketException, asyncio.IncompleteReadError, TimeoutError
            ):
                await self.listen(channels)
            await asyncio.sleep(PAUSE * random.random())

    @abstractmethod
    async def listen(self, channels: list[str]) -> None:
        """Listen on one connection until it ends, one way or another."""

    def hear(self, channel: str, entry: Mapping[str, Any]) -> None:
        """Note an entry or a frame of a channel."""
        if "error" in entry:
            self.ended[channel] = entry["error"]
            return
        self.cursors[channel] = entry["id"]
        self.gaps[channel] += entry.get("gap", False)
        if "text" in entry:
            self.texts[channel].append(entry["text"])
        elif "data" in entry:
            self.texts[channel].append(entry["data"]["text"])

    def wanted(self, channels: list[str]) -> dict[str, Any]:
        return {
            name: {"since": self.cursors[name]} if name in self.cursors else {}
            for name in channels
        }

    def url(self, channel: str, scheme: str = "http") -> str:
        since = self.cursors.get(channel)
        query = f"?since={since}" if since else ""
        return f"{scheme}://127.0.0.1:{self.port}/updates/{channel}{query}"


class Poll(Listener):
    many = False

    async def listen(self, channels: list[str]) -> None:
        [channel] = channels
        async with HTTP.open(self.port) as http:
            while True:
                cursor = self.cursors.get(channel)
                fields = {"If-None-Match": f'"{cursor}"'} if cursor else {}
                status, headers = await http.ask("GET", f"/updates/{channel}", fields)
                body = await http.body(status, headers)
                if status == 503:
                    raise Broken
                assert status in (200, 304), (status, body)
                entry: dict[str, Any] = {"id": headers["etag"].strip('"')}
                entry |= {"gap": True} if "x-push-gap" in headers else {}
                entry |= {"data": json.loads(body)} if status == 200 else {}
                self.hear(channel, entry)


class EventStream(Listener):
    many = False

    async def listen(self, channels: list[str]) -> None:
        [channel] = channels
        cursor = self.cursors.get(channel)
        fields = {"Accept": "text/event-stream"}
        fields |= {"Last-Event-ID": cursor} if cursor else {}
        async with HTTP.open(self.port) as http:
            status, headers = await http.ask("GET", f"/updates/{channel}", fields)
            if status == 503:
                raise Broken
            assert headers["content-type"].startswith("text/event-stream"), status
            parser = Parser()
            gap = False
            async for piece in http.pieces():
                for event in parser.feed(piece):
                    if event.event == "pushserver.gap":
                        gap = True
                        continue
                    if event.event == "pushserver.deleted":
                        self.hear(channel, {"error": int(event.data)})
                        continue
                    data = json.loads(event.data)
                    self.hear(channel, {"id": event.id, "data": data, "gap": gap})
                    gap = False


class Socket(Listener):
    many = False

    async def listen(self, channels: list[str]) -> None:
        [channel] = channels
        async with connect(self.url(channel, "ws"), open_timeout=5) as socket:
            async for frame in socket:
                self.hear(channel, json.loads(frame))


class ManyPoll(Listener):
    many = True

    async def listen(self, channels: list[str]) -> None:
        async with HTTP.open(self.port) as http:
            while True:
                body = json.dumps({"channels": self.wanted(channels)}).encode()
                status, headers = await http.ask("POST", "/updates", {}, body)
                answer = await http.body(status, headers)
                if status == 503:
                    raise Broken
                assert status == 200, (status, answer)
                for entry in json.loads(answer):
                    self.hear(entry["channel"], entry)


class ManyEvents(Listener):
    many = True

    async def listen(self, channels: list[str]) -> None:
        fields = {"Accept": "text/event-stream"}
        body = json.dumps({"channels": self.wanted(channels)}).encode()
        async with HTTP.open(self.port) as http:
            status, _ = await http.ask("POST", "/updates", fields, body)
            if status == 503:
                raise Broken
            assert status == 200, status
            parser = Parser()
            async for piece in http.pieces():
                for event in parser.feed(piece):
                    for entry in json.loads(event.data):
                        self.hear(entry["channel"], entry)


class ManySocket(Listener):
    many = True

    async def listen(self, channels: list[str]) -> None:
        url = f"ws://127.0.0.1:{self.port}/updates"
        async with connect(url, open_timeout=5) as socket:
            wanted = {"channels": self.wanted(channels)}
            await socket.send(json.dumps({"subscribe": wanted}))
            async for frame in socket:
                for entry in json.loads(frame):
                    self.hear(entry["channel"], entry)


WAYS: dict[str, type[Listener]] = {
    "long poll": Poll,
    "event stream": EventStream,
    "websocket": Socket,
    "multiplexed long poll": ManyPoll,
    "multiplexed event stream": ManyEvents,
    "multiplexed websocket": ManySocket,
}


class HTTP:
    """One connection that speaks as much HTTP as the listeners need."""

    def __init__(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._port, self._reader, self._writer = port, reader, writer

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator["HTTP"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(port, reader, writer)
        finally:
            writer.transport.abort()

    async def ask(
        self, method: str, path: str, fields: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        """Send a request, and return the status and the headers of the answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self._writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        async with asyncio.timeout(ANSWER_DEADLINE):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *rest = head.split("\r\n")
        pairs = [line.partition(":") for line in rest if line]
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        return int(first.split()[1]), headers

    async def body(self, status: int, headers: Mapping[str, str]) -> bytes:
        if status in (204, 304):
            return b""
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the chunks of a body as they come."""
        while size := int(await self._line(), 16):
            yield await self._reader.readexactly(size)
            await self._line()
        await self._line()

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise Broken
        return line.strip()
