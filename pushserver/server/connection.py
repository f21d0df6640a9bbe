"""One HTTP connection: refuses bodies before they are read, closes in a drain.

Twisted gives a request to Daphne, and Daphne to the application, when the whole
body has arrived; so the limit has to be here, below both.
"""

# mypy: disable-error-code="no-untyped-call, misc, override"
# Twisted has types for some of it only.

import asyncio
import re
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote

from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from pushserver.consumers.writing import DRAIN

__all__ = ["Channel", "extensions_of"]

# A client that is still sending its body must get to read why it was refused: a
# full close while bytes come in resets the connection and takes the answer away.
REFUSAL_LINGER = 5.0


# The head of a request without a body, as most are; stricter than Twisted and Daphne,
# who judge all others: a name with "_", a control character, a line that goes on.
HEAD = re.compile(
    rb"(GET|HEAD|DELETE|OPTIONS) ([!-~]+) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^`|~0-9a-zA-Z]+:[^\0\r\n\x0b\x0c\x1c-\x1e\x85]*\r\n)+)\r\n"
)
# What would make it something else than a request, an answer and the next request.
SPECIAL = re.compile(
    rb"^(?:content-length|transfer-encoding|expect|upgrade|daphne-root-path"
    rb"|connection(?!: *keep-alive *\r)):",
    re.IGNORECASE | re.MULTILINE,
)


class Owner(Protocol):
    """What a connection needs of its server."""

    draining: bool
    max_body: Callable[[str], int | None]

    def connection_opened(self, connection: "Channel") -> None: ...
    def connection_closed(self, connection: "Channel") -> None: ...


class Channel(HTTPChannel):
    """One connection, as long as it speaks HTTP."""

    # Set by the factory.
    owner: Owner

    transport: Any
    requests: list[Any]
    _buffer: bytes
    _command: bytes
    _lingering: IDelayedCall | None = None
    _path: Any
    _refused = False
    _version: bytes
    _waitingForTransport: bool
    _room: asyncio.Future[None] | None = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.owner.connection_opened(self)

    def connectionLost(self, reason: Failure) -> None:
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        super().connectionLost(reason)
        self.owner.connection_closed(self)

    def dataReceived(self, data: bytes) -> None:
        busy = self.requests or self._buffer or self._refused
        if busy or not self._received_whole(data):
            super().dataReceived(data)

    def _received_whole(self, data: bytes) -> bool:
        """Take a plain request that came in one piece; False if this is none.

        That is 20 us where Twisted's parser and Daphne take 100.
        """
        if len(data) > self.totalHeadersSize or not (found := HEAD.fullmatch(data)):
            return False
        method, uri, block = found.groups()
        lines = block.splitlines()
        if SPECIAL.search(block) or len(lines) > self.maxHeaders:
            return False
        request: Any = self.requestFactory(self)
        fields = [line.partition(b":") for line in lines]
        request.headers = [
            (name.lower(), value.strip(b" \t")) for name, _, value in fields
        ]
        self.requests.append(request)
        self._command, self._path, self._version = method, uri, b"HTTP/1.1"
        self.allContentReceived()
        return True

    def headerReceived(self, line: bytes) -> bool:
        try:
            return bool(super().headerReceived(line))
        except ValueError:
            # Python converts no Content-Length of more than 4,300 digits.
            self._respondToBadRequestAndDisconnect()
            return False

    def allHeadersReceived(self) -> None:
        path, _, _ = self._path.partition(b"?")
        limit = self.owner.max_body(unquote(path.decode("ascii")))
        request = self.requests[-1]
        request.limit = limit
        too_big = limit is not None and self.length is not None and self.length > limit
        if too_big:
            # The client shall not be told to go on and send it.
            request.requestHeaders.removeHeader(b"Expect")
        super().allHeadersReceived()
        if too_big:
            self.refuse(request)

    def refuse(self, request: Any) -> None:
        """Answer a request whose body will not be read, and close."""
        self._refused = True
        self.persistent = False
        request.method, request.uri = self._command, self._path
        request.clientproto = self._version
        request.refuse()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        # A chunked body can end in the same packet that made it too big.
        if not self._refused:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        if self.owner.draining:
            self.persistent = False
        super().requestDone(request)

    def resumeProducing(self) -> None:
        super().resumeProducing()
        self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def drain(self) -> None:
        """Return when the client has taken all but 64 KiB of what was written.

        For one caller at a time. It is not told when the client goes.
        """
        while self._waitingForTransport:
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    def close_when_idle(self) -> None:
        """Close, unless an answer is due: `requestDone` closes after it."""
        if not self.requests:
            self.loseConnection()

    def loseConnection(self) -> None:
        # The transport tells us no more when there is room.
        self._waitingForTransport = False
        self._make_room()
        if self._refused:
            self._networkProducer.unregisterProducer()
            self.setTimeout(None)
            self.transport.loseWriteConnection()
            abort = self.transport.abortConnection
            self._lingering = self.callLater(REFUSAL_LINGER, abort)
        else:
            super().loseConnection()


def extensions_of(protocol: Any) -> dict[str, Any]:
    """Return what a scope offers for a request, or for the WebSocket it became."""
    # The transport of a WebSocket goes on telling the channel when it is full.
    channel = getattr(protocol, "channel", None) or protocol.transport.producer
    return {DRAIN: channel.drain}
