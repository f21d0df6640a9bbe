import asyncio
import socket
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITCPTransport, ITransport
from zope.interface.verify import verifyClass

from pushserver.server.transport import Transport


class Recorder:
    """A protocol of Twisted's kind that notes what it is told."""

    transport: Transport
    lost: Any = None

    def __init__(self) -> None:
        self.received = b""
        self.told = asyncio.Event()
        self.calls: list[str] = []

    def makeConnection(self, transport: Transport) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.told.set()

    def connectionLost(self, reason: Any) -> None:
        self.lost = reason.value
        self.told.set()

    def pauseProducing(self) -> None:
        self.calls.append("pause")
        self.told.set()

    def resumeProducing(self) -> None:
        self.calls.append("resume")
        self.told.set()

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await self.told.wait()
                self.told.clear()


class Pair:
    """A connection: the protocol of one side, the socket of the other."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.protocol = host, Recorder()

    async def __aenter__(self) -> "Pair":
        loop = asyncio.get_running_loop()
        made = loop.create_future()

        def build(address: Any) -> Recorder:
            made.set_result(address)
            return self.protocol

        self.server = await loop.create_server(
            lambda: Transport(build), host=self.host, port=0
        )
        self.address = self.server.sockets[0].getsockname()
        self.socket = socket.create_connection(self.address[:2])
        self.socket.setblocking(False)
        self.peer = await made
        self.transport = self.protocol.transport
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.socket.close()
        self.server.close()
        await self.protocol.until(lambda: self.protocol.lost is not None)

    async def read(self, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(5):
            while len(data) < size and (more := await self._some()):
                data += more
        return data

    async def _some(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, 2**20)


def test_is_what_twisted_expects():
    """All methods of Twisted's transports are there that its protocols call."""
    assert verifyClass(ITransport, Transport)
    assert ITCPTransport.implementedBy(Transport)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_addresses(host):
    """Both ends are known, before the first byte comes."""
    async with Pair(host) as pair:
        own, other = pair.transport.getHost(), pair.transport.getPeer()
        assert (own.host, own.port) == pair.address[:2]
        assert (other.host, other.port) == pair.socket.getsockname()[:2]
        assert pair.peer == other


async def test_bytes_go_both_ways():
    """What is written arrives, whole or in pieces."""
    async with Pair() as pair:
        pair.socket.send(b"question")
        await pair.protocol.until(lambda: pair.protocol.received == b"question")
        pair.transport.setTcpNoDelay(True)
        pair.transport.write(b"one ")
        pair.transport.writeSequence([b"two ", b"three"])
        assert await pair.read(13) == b"one two three"


async def test_another_protocol_takes_over():
    """What comes next goes to the protocol that is there now."""
    async with Pair() as pair:
        first, pair.protocol = pair.protocol, Recorder()
        pair.transport.protocol = pair.protocol
        pair.socket.send(b"more")
        await pair.protocol.until(lambda: pair.protocol.received == b"more")
        assert first.received == b""
    assert first.lost is None


async def test_producer_is_told_of_a_client_that_does_not_read():
    """It is paused when the buffers are full, and resumed when there is room."""
    async with Pair() as pair:
        pair.transport.write(bytes(2**24))
        await pair.read(2**24)
        pair.transport.registerProducer(pair.protocol, True)
        pair.transport.write(bytes(2**24))
        assert pair.protocol.calls == ["pause"]
        await pair.read(2**24)
        await pair.protocol.until(lambda: pair.protocol.calls == ["pause", "resume"])
        pair.transport.unregisterProducer()
        pair.transport.write(bytes(2**24))
        assert pair.protocol.calls == ["pause", "resume"]


async def test_reading_can_be_paused():
    """What comes meanwhile waits in the kernel."""
    async with Pair() as pair:
        pair.transport.pauseProducing()
        pair.socket.send(b"later")
        for _ in range(10):
            await asyncio.sleep(0)  # turns of the loop, in which it could be read
        assert pair.protocol.received == b""
        pair.transport.resumeProducing()
        await pair.protocol.until(lambda: pair.protocol.received == b"later")


async def test_close_waits_for_what_was_written():
    """The client gets everything, then the end."""
    async with Pair() as pair:
        pair.transport.write(bytes(2**24))
        pair.transport.loseConnection()
        assert pair.transport.disconnecting
        assert len(await pair.read(2**24 + 1)) == 2**24
    assert isinstance(pair.protocol.lost, ConnectionDone)


async def test_half_close():
    """The client sees the end and can go on sending."""
    async with Pair() as pair:
        pair.transport.loseWriteConnection()
        assert await pair.read(1) == b""
        pair.socket.send(b"still here")
        await pair.protocol.until(lambda: pair.protocol.received == b"still here")


async def test_abort():
    """What has not been sent is dropped."""
    async with Pair() as pair:
        pair.transport.write(bytes(2**24))
        pair.transport.abortConnection()
        await pair.protocol.until(lambda: pair.protocol.lost is not None)
        assert len(await pair.read(2**24)) < 2**24


async def test_client_that_goes():
    """The end of a connection is told once, and what is written then goes nowhere."""
    async with Pair() as pair:
        pair.socket.close()
        await pair.protocol.until(lambda: pair.protocol.lost is not None)
        assert isinstance(pair.protocol.lost, ConnectionDone)
        pair.transport.write(b"too late")


async def test_connection_that_breaks():
    """A reset is told apart from a close."""
    async with Pair() as pair:
        linger = b"\1\0\0\0\0\0\0\0"
        pair.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        pair.socket.close()
        await pair.protocol.until(lambda: pair.protocol.lost is not None)
        assert isinstance(pair.protocol.lost, ConnectionLost)


async def test_what_is_written_after_a_half_close_goes_nowhere():
    """As with Twisted's own, where it is no error."""
    async with Pair() as pair:
        pair.transport.loseWriteConnection()
        pair.transport.write(b"too late")
        assert await pair.read(1) == b""


async def test_client_that_half_closes_and_does_not_read():
    """It is gone: the rest is not waited for."""
    async with Pair() as pair:
        pair.transport.write(bytes(2**24))
        pair.socket.shutdown(socket.SHUT_WR)
        await pair.protocol.until(lambda: pair.protocol.lost is not None)


def test_client_that_is_gone_before_it_is_accepted():
    """As uvloop tells it: there is no peer any more, and nothing to build."""
    told: list[str] = []

    class Gone:
        def get_extra_info(self, name: str) -> None:
            told.append(name)

        def abort(self) -> None:
            told.append("abort")

    transport = Transport(lambda address: pytest.fail("for nobody"))
    transport.connection_made(Gone())
    transport.connection_lost(None)
    assert told == ["peername", "abort"]
