"""One HTTP exchange: a request of Daphne's, with its limit and its line in the log.

Nearly all requests of a push server are a head and nothing else, and nearly all of
its answers come whole. For these two there is a short road here, a third as long as
what Daphne and Twisted do for all; whatever is special in any way takes theirs.
"""

# mypy: disable-error-code="no-untyped-call, misc"
# Twisted has types for some of it only.

import logging
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from daphne.http_protocol import WebRequest
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES as NO_BODY
from twisted.web.http import RESPONSES
from twisted.web.http_headers import Headers

__all__ = ["Request"]

logger = logging.getLogger(__name__)

Header = tuple[bytes, bytes]


class Request(WebRequest):
    """One request; hands its connection over when it becomes a WebSocket."""

    # By identity, and without a detour through Python.
    __hash__ = object.__hash__
    __eq__ = object.__eq__

    # Set by the channel for a request that is short of everything special.
    headers: list[Header] | None = None
    # Begins an answer; nothing of it would be written before its body comes.
    _start: dict[str, Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would read forms into memory, for arguments that nobody uses.
        self._parsePOSTFormSubmission = False

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self.headers is None:
            super().requestReceived(command, path, version)
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query_string = path.partition(b"?")
        self.client_addr = [self.client.host, self.client.port]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": command.decode("ascii"),
            "path": unquote(self.path.decode("ascii")),
            "raw_path": self.path,
            "root_path": self.server.root_path,
            "scheme": "http",
            "query_string": self.query_string,
            "headers": self.headers,
            "client": self.client_addr,
            "server": [self.host.host, self.host.port],
        }
        try:
            self.application_queue = self.server.create_application(self, scope)
        except Exception as error:
            logger.exception("The application refuses a request.")
            self.handle_exception(error)
            return
        event = {"type": "http.request", "body": b"", "more_body": False}
        self.application_queue.put_nowait(event)

    def handleContentChunk(self, data: bytes) -> None:
        if self.finished:
            return
        if self.limit is not None and self.content.tell() + len(data) > self.limit:
            self.channel.refuse(self)
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        channel = self.channel
        # Daphne would take root_path from anybody who sends this.
        self.requestHeaders.removeHeader(b"Daphne-Root-Path")
        super().process()
        if self.transport is None:  # a WebSocket has it now
            self.server.connection_closed(channel)

    def refuse(self) -> None:
        self.request_start = time.time()
        self.client_addr = [self.client.host, self.client.port]
        body = b"The body is too big, at most %d bytes are accepted here.\n"
        headers = [(b"Content-Type", b"text/plain"), (b"Connection", b"close")]
        start = {"type": "http.response.start", "status": 413, "headers": headers}
        self.handle_reply(start)
        self.handle_reply({"type": "http.response.body", "body": body % self.limit})

    def handle_reply(self, message: dict[str, Any]) -> None:
        start, self._start = self._start, None
        if start is not None:
            if self._answered(start, message):
                return
            if self.server.draining:
                self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
            super().handle_reply(start)
        elif (
            message.get("type") == "http.response.start" and not self._response_started
        ):
            self._start = message
            return
        super().handle_reply(message)

    def _answered(self, start: dict[str, Any], event: dict[str, Any]) -> bool:
        """Write an answer that is whole, with one write; False if this is none."""
        if (
            self.headers is None  # of any other the connection may have to be closed
            or self.server.draining
            or self.method == b"HEAD"
            or start.get("status") in NO_BODY
            or event.get("type") != "http.response.body"
            or event.get("more_body")
        ):
            return False
        status = start["status"]
        head = _head(status, start.get("headers", ()), self.server.server_name)
        if head is None:
            return False
        body = event.get("body", b"")
        self._response_started, self.startedWriting = True, 1
        self.code, self.sentLength = status, len(body)
        self.channel.write(head + body)
        self.finish()
        return True

    def handle_exception(self, exception: Exception) -> None:
        if self._response_started:
            # What has begun cannot become an error, only end. (Daphne would raise.)
            self.loseConnection()
            return
        self._start = None
        super().handle_exception(exception)

    def finish(self) -> None:
        super().finish()
        self._log(self.code, self.sentLength)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        if self.application_queue is not None:
            self._log(None, 0)

    def _log(self, status: int | None, size: int) -> None:
        line = b" ".join([self.method, self.uri, self.clientproto]).decode("ascii")
        self.server.access_log(line, status, size)


def _head(status: int, headers: Iterable[Header], server: str) -> bytes | None:
    """Spell the head of an answer, as Twisted would; None if there is more to it."""
    lines = [b"HTTP/1.1 %d %b" % (status, RESPONSES.get(status, b"Unknown Status"))]
    names = set()
    for name, value in headers:
        spelled = _spelling(name)
        names.add(spelled)
        lines.append(b"%b: %b" % (spelled, value))
    # Without a length a body is sent in chunks.
    if b"Content-Length" not in names or b"Server" in names:
        return None
    lines += b"Server: %b" % server.encode(), b"", b""
    head = b"\r\n".join(lines)
    # Of a line break in a value Twisted makes a space.
    ends = len(lines) - 1
    return head if head.count(b"\r") == head.count(b"\n") == ends else None


@lru_cache(1000)
def _spelling(name: bytes) -> bytes:
    """Spell a header's name as Twisted does, which raises where it is none."""
    headers = Headers()
    headers.addRawHeader(name, b"")
    [(spelled, _)] = headers.getAllRawHeaders()
    return spelled
