"""One HTTP exchange: a request of Daphne's, with its limit and its line in the log."""

# mypy: disable-error-code="no-untyped-call, misc"
# Twisted has types for some of it only.

import time
from typing import Any

from daphne.http_protocol import WebRequest
from twisted.python.failure import Failure

__all__ = ["Request"]


class Request(WebRequest):
    """One request; hands its connection over when it becomes a WebSocket."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would read forms into memory, for arguments that nobody uses.
        self._parsePOSTFormSubmission = False

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
        if self.server.draining and message["type"] == "http.response.start":
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        super().handle_reply(message)

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
