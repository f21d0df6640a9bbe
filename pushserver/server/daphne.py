"""Daphne, with what a push server needs from it.

Bodies are refused before they are read, a taken port is an error, and a stop
answers everybody instead of cutting them off: the listener is closed, `on_drain`
answers held polls, idle connections are closed at once and the others after the
answer they wait for. The reactor stops when nobody is left, or after a while.

Importing this module installs Daphne's Twisted reactor; only the command does it.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any

# Before Daphne, which would install a reactor of its own.
from pushserver.server.reactor import loop, reactor  # isort: skip

from daphne.http_protocol import HTTPFactory
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IAddress
from twisted.logger import STDLibLogObserver, globalLogBeginner

from pushserver.server.connection import Channel, extensions_of
from pushserver.server.events import Events
from pushserver.server.exchange import Request
from pushserver.server.listening import BACKLOG, listen, raise_file_limit
from pushserver.server.transport import Transport

__all__ = ["serve"]

logger = logging.getLogger(__name__)

ASGIApplication = Callable[..., Awaitable[None]]
AccessLog = Callable[[str, int | None, int], None]

# How long a cancelled application may take to end.
CANCEL_GRACE = 1.0
# Connections that asyncio accepts in one turn of the loop. Where there are no
# descriptors left it logs an error for each of so many, once a second.
_AT_ONCE = 20
# Seconds for the request of who was accepted when the drain began.
_LATE = 0.5


def serve(
    application: ASGIApplication,
    *,
    address: str,
    port: int,
    ipv6: bool = False,
    root_path: str = "",
    drain_timeout: float,
    max_body: Callable[[str], int | None],
    on_drain: Callable[[], None],
    on_stop: Callable[[], Awaitable[None]],
    on_listening: Callable[[str, int], None],
    access_log: AccessLog,
    signal_handlers: bool = True,
    server_name: str = "pushserver",
) -> bool:
    """Serve until a signal says stop; False if it had to cut somebody off.

    `max_body` gets a decoded path and returns the most bytes a body may have
    there, None for no limit. `on_drain` is called once, in the loop, when a stop
    begins, `on_stop` awaited when all connections are closed. `on_listening` gets
    the real address and port, after the bind and before the first request.
    `access_log` gets the request line, the status (None when the client was gone
    before the answer) and the size of the answer's body.

    With `signal_handlers`, which needs the main thread, SIGTERM and SIGINT drain,
    and a second one cuts. Raises OSError when it cannot listen. A process can
    serve only once.
    """
    listener = listen(address, port, ipv6=ipv6)
    raise_file_limit()
    server = Server(
        application,
        listener=listener,
        drain_timeout=drain_timeout,
        max_body=max_body,
        on_drain=on_drain,
        on_stop=on_stop,
        access_log=access_log,
        root_path=root_path,
        server_name=server_name,
    )
    server.start()
    if signal_handlers:
        call_soon = loop.call_soon_threadsafe
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: call_soon(server.drain_or_stop))
    on_listening(*listener.getsockname()[:2])
    return server.run()


def _stop() -> None:
    # It is not running when it is about to end already.
    with contextlib.suppress(ReactorNotRunning):
        reactor.stop()


class Server(DaphneServer):
    """Daphne's server on one socket that is bound already."""

    def __init__(
        self,
        application: ASGIApplication,
        *,
        listener: socket.socket,
        drain_timeout: float,
        max_body: Callable[[str], int | None],
        on_drain: Callable[[], None],
        on_stop: Callable[[], Awaitable[None]],
        access_log: AccessLog,
        **options: Any,
    ) -> None:
        super().__init__(application, endpoints=[repr(listener)], **options)
        self.listener, self.drain_timeout = listener, drain_timeout
        self.max_body, self.access_log = max_body, access_log
        self.on_drain, self.on_stop = on_drain, on_stop
        self.draining = self._cut = False
        self._open: set[Channel | WebSocketProtocol] = set()
        self._running: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept connections, which are served once it runs."""
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = Factory(self)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )
        # Now, when no signal has a handler yet: what they call needs all of this.
        self._accepting = loop.run_until_complete(self._accept())

    async def _accept(self) -> asyncio.Server:
        build = self.http_factory.buildProtocol
        accepting = await asyncio.get_running_loop().create_server(
            lambda: Transport(build), sock=self.listener, backlog=_AT_ONCE
        )
        self.listener.listen(BACKLOG)  # the kernel's, which that has made as short
        return accepting

    def run(self) -> bool:
        """Serve until stopped; False if somebody had to be cut off."""
        log: Any = [STDLibLogObserver(__name__)]
        globalLogBeginner.beginLoggingTo(log, redirectStandardIO=False)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        reactor.run(installSignalHandlers=False)
        loop.run_until_complete(self._end())
        return not self._cut

    def connection_opened(self, connection: "Channel | WebSocketProtocol") -> None:
        self._open.add(connection)
        if self.draining and isinstance(connection, Channel):
            loop.call_later(_LATE, connection.close_when_idle)

    def connection_closed(self, connection: "Channel | WebSocketProtocol") -> None:
        self._open.discard(connection)
        self._stop_when_empty()

    def protocol_connected(self, protocol: "Request | WebSocketProtocol") -> None:
        super().protocol_connected(protocol)
        if isinstance(protocol, WebSocketProtocol):
            self.connection_opened(protocol)

    def protocol_disconnected(self, protocol: "Request | WebSocketProtocol") -> None:
        super().protocol_disconnected(protocol)
        if isinstance(protocol, WebSocketProtocol):
            self.connection_closed(protocol)

    def create_application(
        self, protocol: "Request | WebSocketProtocol", scope: dict[str, Any]
    ) -> Events:
        """Run the application; return the events that it receives."""
        scope["asgi"] = {"version": "3.0"}
        scope["extensions"] = extensions_of(protocol)
        events = Events()
        send = partial(self.handle_reply, protocol)
        task = asyncio.ensure_future(
            self.application(scope, events.get, send), loop=loop
        )
        self.connections[protocol]["application_instance"] = task
        self._running.add(task)
        task.add_done_callback(partial(self._application_ended, protocol))
        return events

    def _application_ended(
        self, protocol: "Request | WebSocketProtocol", task: asyncio.Task[None]
    ) -> None:
        self._running.discard(task)
        # Daphne would come by within a second or two; until then thousands of them
        # would grow old for the collector. What failed is left to it: it logs that.
        closed = "disconnected" in self.connections.get(protocol, ())
        if closed and not task.cancelled() and task.exception() is None:
            del self.connections[protocol]
        self._stop_when_empty()

    def log_action(self, protocol: str, action: str, details: dict[str, Any]) -> None:
        if protocol == "websocket":  # for the others see Request
            self.access_log(f"WebSocket {action.upper()} {details['path']}", None, 0)

    def drain_or_stop(self) -> None:
        """Begin to drain; stop at once when that is under way."""
        if self.draining:
            _stop()
            return
        self.draining = True
        self._deadline = time.monotonic() + self.drain_timeout
        # In two steps: asyncio's server forgets a connection that it has accepted in
        # this turn when it closes before the next one.
        loop.remove_reader(self.listener)
        loop.call_soon(self._listen_no_more)
        self._out_of_time = loop.call_later(self.drain_timeout, self._cut_off)
        self.on_drain()
        for connection in tuple(self._open):
            if isinstance(connection, Channel):
                connection.close_when_idle()
            elif connection.state == connection.STATE_OPEN:
                connection.sendCloseFrame(code=1001)  # going away
            elif connection.state == connection.STATE_CONNECTING:
                connection.serverReject()

    def _listen_no_more(self) -> None:
        self._accepting.close()
        # After who was accepted in this turn is known.
        loop.call_soon(self._stop_when_empty)

    def _stop_when_empty(self) -> None:
        if self.draining and not self._open and not self._running:
            _stop()

    def _cut_off(self) -> None:
        logger.warning("Cutting %d connections that did not end.", len(self._open))
        _stop()

    def kill_all_applications(self) -> "Deferred[None]":
        # Daphne's raises KeyError when a connection has no application yet, and
        # waits for ever for one that swallows its cancellation.
        self._cut = bool(self._open or self._running)
        return Deferred.fromFuture(asyncio.ensure_future(_bury(self._running)))

    async def _end(self) -> None:
        self._out_of_time.cancel()
        left = 0.0 if self._cut else self._deadline - time.monotonic()
        try:
            await asyncio.wait_for(self.on_stop(), max(left, CANCEL_GRACE))
        except TimeoutError:
            self._cut = True
        await _bury(asyncio.all_tasks() - {asyncio.current_task()})
        for connection in tuple(self._open):
            connection.transport.abortConnection()
        # The turn in which the last are told: asyncio's would fail afterwards.
        await asyncio.sleep(0)


async def _bury(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel the tasks and give them a moment to end."""
    alive = set(tasks)
    for task in alive:
        task.cancel()
    if alive:
        await asyncio.wait(alive, timeout=CANCEL_GRACE)


class Factory(HTTPFactory):
    """Makes a Channel for each connection."""

    protocol = Channel  # without TLS there is no HTTP/2 to negotiate

    def buildProtocol(self, address: IAddress) -> Channel:
        channel: Channel = super().buildProtocol(address)
        channel.owner = self.server
        channel.requestFactory = Request
        return channel

    def log(self, request: Request) -> None:
        """Write nothing: the request has written its line already."""
