"""A small HTTP/1.x client that sends the very bytes it is told to send.

Ordinary clients repair what a test wants to see broken: they normalise paths, order
headers, refuse to pipeline and close half-finished bodies politely. This one keeps the
answer as it came (header order, raw bytes) and gives up on everything after `DEADLINE`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Self

DEADLINE = 10.0

Headers = Iterable[tuple[str, str]]


class Closed(ConnectionError):
    """The server closed the connection instead of answering (further)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer as it came over the wire."""

    version: str
    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The header's value; several lines of it are joined as RFC 9110 allows."""
        values = self.all(name)
        return ", ".join(values) if values else None

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self}"
        return value

    def tokens(self, name: str) -> set[str]:
        """The comma-separated parts of a header, lower-cased."""
        parts = (self.get(name) or "").split(",")
        return {part.strip().lower() for part in parts if part.strip()}

    @property
    def cursor(self) -> list[tuple[str, str]]:
        """The request headers with which the next poll goes on after this answer."""
        return [
            ("If-None-Match", self["ETag"]),
            ("If-Modified-Since", self["Last-Modified"]),
        ]

    @property
    def message_id(self) -> str:
        return self["ETag"].strip('"')

    def without_date(self) -> bytes:
        """The raw bytes, Date line apart."""
        head, separator, rest = self.raw.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        kept = [line for line in lines if not line.lower().startswith(b"date:")]
        return b"\r\n".join(kept) + separator + rest


class Connection:
    """One connection; answers are read in the order of the requests."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        async with asyncio.timeout(DEADLINE):
            return cls(*await asyncio.open_connection(host, port))

    @property
    def host(self) -> str:
        host, port = self._writer.get_extra_info("peername")[:2]
        return f"{host}:{port}"

    def head(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        *,
        version: str = "1.1",
    ) -> bytes:
        """A request head; Host is added unless given or the version is 1.0."""
        fields = list(headers)
        named = {name.lower() for name, _ in fields}
        if version == "1.1" and "host" not in named:
            fields.insert(0, ("Host", self.host))
        lines = [f"{method} {path} HTTP/{version}"]
        lines += [f"{name}: {value}" for name, value in fields]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    async def write(self, data: bytes) -> None:
        """Send bytes; a server that has hung up shows when its answer is read."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            async with asyncio.timeout(DEADLINE):
                await self._writer.drain()

    async def send(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        version: str = "1.1",
    ) -> None:
        fields = list(headers)
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        head = self.head(method, path, fields, version=version)
        await self.write(head + (body or b""))

    async def request(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        version: str = "1.1",
    ) -> Answer:
        await self.send(method, path, headers, body, version=version)
        return await self.answer(method)

    async def answer(self, method: str = "GET", *, within: float = DEADLINE) -> Answer:
        """Read the next answer, which belongs to a request of that method."""
        try:
            async with asyncio.timeout(within):
                return await self._read_answer(method)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise Closed(f"connection closed: {error}") from error

    async def _read_answer(self, method: str) -> Answer:
        while True:
            head = await self._reader.readuntil(b"\r\n\r\n")
            status_line, *lines = head[:-4].decode("latin-1").split("\r\n")
            version, status, *_ = status_line.split(" ", 2)
            if int(status) >= 200:
                break
        fields = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, f"not a header line: {line!r}"
            assert name == name.strip(), f"space around a header's name: {line!r}"
            fields.append((name, value.strip()))
        known = {name.lower(): value for name, value in fields}
        body, raw = b"", b""
        if method == "HEAD" or int(status) in (204, 304):
            pass
        elif known.get("transfer-encoding", "").lower() == "chunked":
            body, raw = await self._read_chunks()
        elif "content-length" in known:
            raw = body = await self._reader.readexactly(int(known["content-length"]))
        else:
            raw = body = await self._reader.read()
        return Answer(version, int(status), tuple(fields), body, head + raw)

    async def _read_chunks(self) -> tuple[bytes, bytes]:
        body, raw = b"", b""
        while True:
            line = await self._reader.readuntil(b"\r\n")
            chunk = await self._reader.readexactly(int(line.split(b";")[0], 16) + 2)
            raw += line + chunk
            if chunk == b"\r\n":
                return body, raw
            body += chunk[:-2]

    async def silent(self, seconds: float) -> bool:
        """Whether nothing comes within that time (a proof of absence needs one)."""
        try:
            async with asyncio.timeout(seconds):
                data = await self._reader.read(1)
        except TimeoutError:
            return True
        raise AssertionError(f"expected silence, got {data!r} ...")

    async def at_end(self) -> bool:
        """Whether the server closes the connection, with nothing more to read."""
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._reader.read(1) == b""
        except ConnectionError:
            return True

    def vanish(self) -> None:
        """Go away without a word: the peer gets a reset."""
        sock = self._writer.get_extra_info("socket")
        # A linger of zero seconds makes close() send RST instead of FIN.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE):
                await self._writer.wait_closed()


@contextlib.asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    connection = await Connection.open(host, port)
    try:
        yield connection
    finally:
        await connection.close()
