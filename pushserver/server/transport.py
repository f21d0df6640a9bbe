"""A connection's socket: asyncio's transport, as Twisted's protocols expect theirs.

Twisted's own writes when its reactor next hears that the socket may be written to,
after asking the kernel to be told and before asking it to stop; asyncio's writes at
once. That halves what an event of a stream costs, and where the loop is uvloop's all
of it is C.
"""

# mypy: disable-error-code="no-untyped-call, misc"
# Twisted has types for some of it only.

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Transport"]

Address = IPv4Address | IPv6Address


@implementer(ITCPTransport, IPushProducer)
class Transport(asyncio.Protocol):
    """One TCP connection; `build` makes its protocol.

    The protocol is an attribute, so that another one can take the connection over.
    So is the producer, which is told when the client does not keep up.
    """

    __slots__ = ("_build", "_ended", "_host", "_peer", "_transport", "producer",
                 "protocol")  # fmt: skip

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._ended = False  # nothing is written any more
        self.producer: Any = None
        self.protocol: Any = None

    # What asyncio calls.

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if peer is None:  # gone while it waited to be accepted
            transport.abort()
            return
        self._peer = _address(peer)
        self._host = _address(transport.get_extra_info("sockname"))
        self.protocol = self._build(self._peer)
        self.protocol.makeConnection(self)

    def data_received(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def eof_received(self) -> None:
        """Take a half-close for the end, as Twisted does: nobody reads the rest."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def pause_writing(self) -> None:
        if self.producer is not None:
            self.producer.pauseProducing()

    def resume_writing(self) -> None:
        if self.producer is not None:
            self.producer.resumeProducing()

    def connection_lost(self, error: Exception | None) -> None:
        reason = ConnectionDone() if error is None else ConnectionLost(str(error))
        protocol, self.protocol, self.producer = self.protocol, None, None
        if protocol is not None:
            protocol.connectionLost(Failure(reason))

    # What the protocol calls.

    def getPeer(self) -> Address:
        return self._peer

    def getHost(self) -> Address:
        return self._host

    def write(self, data: bytes) -> None:
        # These raise where the connection is lost or half closed, Twisted's never did.
        if self.protocol is not None and not self._ended:
            self._transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    @property
    def disconnecting(self) -> bool:
        return bool(self._transport.is_closing())

    def loseConnection(self) -> None:
        """Close, after what has been written."""
        self._transport.close()

    def loseWriteConnection(self) -> None:
        self._ended = True
        self._transport.write_eof()

    def abortConnection(self) -> None:
        self._transport.abort()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        """Read no more for now."""
        self._transport.pause_reading()

    def resumeProducing(self) -> None:
        self._transport.resume_reading()

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Do nothing: asyncio has set it."""


def _address(name: tuple[Any, ...]) -> Address:
    return IPv6Address("TCP", *name) if len(name) == 4 else IPv4Address("TCP", *name)
