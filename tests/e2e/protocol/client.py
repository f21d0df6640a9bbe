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
    """One connection; answers are read in the order of the requests.

    It stands on a bare socket, because asyncio's streams forget what has arrived when
    a write fails: the answer of a server that refuses a body and hangs up.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = sock
        self._peer = sock.getpeername()[:2]
        self._arrived = bytearray()

    @classmethod
    async def open(cls, host: str, port: int) -> Self:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(DEADLINE):
            family, kind, protocol, _, address = (
                await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            )[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                await loop.sock_connect(sock, address)
                return cls(sock)
            except BaseException:
                sock.close()
                raise

    @property
    def host(self) -> str:
        return "{}:{}".format(*self._peer)

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
            async with asyncio.timeout(DEADLINE):
                await self._loop.sock_sendall(self._socket, data)

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

    async def told_to_continue(self) -> bool:
        """Whether the server asks for the body that was announced."""
        async with asyncio.timeout(DEADLINE):
            head = await self._until(b"\r\n\r\n")
        return head.startswith(b"HTTP/1.1 100 ")

    async def answer(self, method: str = "GET", *, within: float = DEADLINE) -> Answer:
        """Read the next answer, which belongs to a request of that method."""
        try:
            async with asyncio.timeout(within):
                return await self._read_answer(method)
        except EOFError as error:
            message = f"closed after {bytes(self._arrived)!r}"
            raise Closed(message) from error

    async def _read_answer(self, method: str) -> Answer:
        while True:
            head = await self._until(b"\r\n\r\n")
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
            raw = body = await self._exactly(int(known["content-length"]))
        else:
            raw = body = await self._rest()
        return Answer(version, int(status), tuple(fields), body, head + raw)

    async def _read_chunks(self) -> tuple[bytes, bytes]:
        body, raw = b"", b""
        while True:
            line = await self._until(b"\r\n")
            chunk = await self._exactly(int(line.split(b";")[0], 16) + 2)
            raw += line + chunk
            if chunk == b"\r\n":
                return body, raw
            body += chunk[:-2]

    async def _more(self) -> None:
        """Wait for more bytes; EOFError when there will be none."""
        try:
            data = await self._loop.sock_recv(self._socket, 1 << 16)
        except ConnectionError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._arrived += data

    async def _until(self, separator: bytes) -> bytes:
        while (end := self._arrived.find(separator)) < 0:
            await self._more()
        return await self._exactly(end + len(separator))

    async def _exactly(self, count: int) -> bytes:
        while len(self._arrived) < count:
            await self._more()
        data = bytes(self._arrived[:count])
        del self._arrived[:count]
        return data

    async def _rest(self) -> bytes:
        with contextlib.suppress(EOFError):
            while True:
                await self._more()
        return await self._exactly(len(self._arrived))

    async def silent(self, seconds: float) -> bool:
        """Whether nothing comes within that time (a proof of absence needs one)."""
        try:
            async with asyncio.timeout(seconds):
                if not self._arrived:
                    await self._more()
        except TimeoutError:
            return True
        raise AssertionError(f"expected silence, got {bytes(self._arrived)!r}")

    async def at_end(self) -> bool:
        """Whether the server closes the connection, with nothing more to read."""
        async with asyncio.timeout(DEADLINE):
            return await self._rest() == b""

    def vanish(self) -> None:
        """Go away without a word: the peer gets a reset."""
        # A linger of zero seconds makes close() send RST instead of FIN.
        linger = struct.pack("ii", 1, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


@contextlib.asynccontextmanager
async def connect(host: str, port: int) -> AsyncIterator[Connection]:
    """A connection that is closed at the end."""
    connection = await Connection.open(host, port)
    try:
        yield connection
    finally:
        connection.close()
