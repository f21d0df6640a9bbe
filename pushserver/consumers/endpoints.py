"""The edges that all our ASGI endpoints share: headers, body, reply, wait, errors."""

import asyncio
import logging
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation

from pushserver.engine import deadlines
from pushserver.engine.waiters import Ending, Outcome, Waiter
from pushserver.exceptions import (
    InvalidChannelId,
    InvalidCursor,
    MessageTooBig,
    StoreUnavailable,
)
from pushserver.messages import check_labels

__all__ = [
    "ClientGone",
    "Headers",
    "Outgoing",
    "Receive",
    "Reply",
    "Scope",
    "Send",
    "below",
    "check_path",
    "headers_of",
    "labels_of",
    "line",
    "measured",
    "not_allowed",
    "read_body",
    "reply",
    "reply_at",
    "reply_to",
    "retry_after",
    "wait",
]

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
Reply = tuple[int, Headers, bytes]
"""Status, headers without Content-Length, body."""

_ENDINGS = {
    Ending.DELETED: (410, "The channel was deleted."),
    Ending.CONFLICT: (409, "Another request is held on this channel."),
    Ending.SHUTDOWN: (503, "The server is going down."),
}
_GONE = ("http.disconnect", "websocket.disconnect")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class ClientGone(Exception):
    """The client has left before it was answered: nobody to answer any more."""


class Outgoing:
    """The server's ``send`` for one request, which gets one answer.

    ``complete`` makes its headers of those that it is given. ``started`` says that
    there is no way back, ``server_send`` is the server's own. Raises ClientGone.
    """

    __slots__ = ("_complete", "server_send", "started")

    def __init__(self, send: Send, complete: Callable[[Headers], Headers]) -> None:
        self.started = False
        self.server_send = send
        self._complete = complete

    async def __call__(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.started = True
            event = {**event, "headers": self._complete(event["headers"])}
        try:
            await self.server_send(event)
        except OSError as error:  # as ASGI has it where the client is gone
            raise ClientGone from error

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer, whose headers are complete already."""
        self.started = True
        start = {"type": "http.response.start", "status": status, "headers": headers}
        try:
            await self.server_send(start)
            await self.server_send({"type": "http.response.body", "body": body})
        except OSError as error:
            raise ClientGone from error


def headers_of(scope: Scope) -> dict[bytes, bytes]:
    """Return the request's headers by lower-case name, repeated ones joined."""
    pairs = scope["headers"]
    headers: dict[bytes, bytes] = dict(pairs)
    if len(headers) < len(pairs):
        headers.clear()
        for name, value in pairs:
            headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def check_path(scope: Scope) -> None:
    """Raise InvalidChannelId for bad percent-encoding, which decoding hides."""
    raw_path = scope.get("raw_path")
    if not raw_path or (b"%" not in raw_path and raw_path.isascii()):
        return
    raw_path = raw_path.partition(b"?")[0]  # some servers leave the query there
    try:
        unquote_to_bytes(raw_path).decode()
    except UnicodeDecodeError:
        pass
    else:
        if not _BAD_ESCAPE.search(raw_path):
            return
    raise InvalidChannelId(
        "The path is not percent-encoded UTF-8; accepted: %XX for each byte."
    )


def below(prefix: str | None, path: str) -> str:
    """Return the path below the script prefix (``root_path``, FORCE_SCRIPT_NAME).

    As in Django, a path without it is all right: a proxy has taken it off.
    """
    return path.removeprefix((prefix or "").rstrip("/"))


async def read_body(
    receive: Receive, headers: Mapping[bytes, bytes], limit: int
) -> bytes:
    """Read the request's body, at most ``limit`` bytes of it into memory.

    Raises MessageTooBig, by Content-Length before anything is read, and ClientGone
    when the body stops halfway.
    """
    # Twenty digits are enough to tell, and int() refuses thousands of them.
    length = headers.get(b"content-length", b"")[:20]
    if length.isdigit() and int(length) > limit:
        raise _too_big(limit)
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        body += event.get("body", b"")
        if len(body) > limit:
            raise _too_big(limit)
        if not event.get("more_body", False):
            return bytes(body)


def _too_big(limit: int) -> MessageTooBig:
    return MessageTooBig(f"The body is too big; accepted: {limit} bytes.")


def labels_of(headers: Mapping[bytes, bytes]) -> tuple[str | None, str | None]:
    """Return the Content-Type and the event name to publish with, None without one.

    Raises BadRequest for a text that no answer could carry.
    """
    header, name = headers.get(b"content-type"), headers.get(b"x-eventsource-event")
    content_type = None if header is None else header.decode("latin-1")
    try:
        event = None if name is None else name.decode()
        check_labels(content_type, event)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    return content_type, event


def measured(status: int, headers: Headers, body: bytes) -> Headers:
    """Return an answer's headers with its Content-Length where it may have a body."""
    if status in (204, 304):
        return headers
    return [*headers, (b"content-length", b"%d" % len(body))]


async def reply(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole answer, with its Content-Length."""
    headers = measured(status, headers, body)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def line(status: int, text: str, headers: Headers | None = None) -> Reply:
    """Return an answer of one plain line."""
    plain = (b"content-type", b"text/plain; charset=utf-8")
    return status, [plain, *(headers or [])], f"{text}\n".encode()


def retry_after() -> tuple[bytes, bytes]:
    """Return a Retry-After of 1 to 3 s: clients shall not come back together."""
    return b"retry-after", b"%d" % random.randint(1, 3)


def reply_at(ending: Ending) -> Reply:
    """Return the answer to a reader whose wait has ended thus, DEADLINE excepted."""
    status, text = _ENDINGS[ending]
    return line(status, text, [retry_after()] if status == 503 else [])


def reply_to(error: Exception) -> Reply:
    """Return the answer to an exception: the one table for all endpoints."""
    match error:
        case InvalidChannelId() | InvalidCursor() | BadRequest():
            return line(400, str(error))
        case SuspiciousOperation():
            return line(400, "This Host is not allowed here (ALLOWED_HOSTS).")
        case PermissionDenied():
            return line(403, str(error))
        case MessageTooBig():
            # What the client still sends is not read: the connection is of no use.
            return line(413, str(error), [(b"connection", b"close")])
        case StoreUnavailable():
            return line(503, "The store does not answer.", [retry_after()])
        case _:
            logger.error("A push endpoint failed", exc_info=error)
            return line(500, "The push server failed; its log says why.")


async def wait(
    waiter: Waiter,
    receive: Receive,
    timeout: float,
    on_event: Callable[[MutableMapping[str, Any]], None] | None = None,
) -> Outcome | None:
    """Wait for the four ends of a held request, in its own task.

    Returns the outcome, DEADLINE ``timeout`` seconds later, None when the client is
    gone; ``on_event`` gets whatever else it says. Cancellation passes through.
    ``receive`` is waited for directly, and a message cancels that wait as a deadline
    does: racing a second task makes a bare poll on uvicorn dearer by 40 %, and having
    the waker write the answer makes it cheaper by 2 %, on granian and daphne by nothing
    (bench/README.md).
    """
    if (outcome := waiter.outcome) is not None:
        return outcome
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (ASGI servers run applications in tasks)
    cancelled_before = task.cancelling()
    wake = waiter.on_end = _Wake(task)
    due = deadlines.call_in(task.get_loop(), timeout, wake)
    try:
        while (event := await receive())["type"] not in _GONE:
            if on_event is not None:
                on_event(event)
    except asyncio.CancelledError:
        # The server may have cancelled as well, and then that counts.
        if not wake.called or task.cancelling() - 1 > cancelled_before:
            raise
        return waiter.outcome or Ending.DEADLINE
    finally:
        due.pop(wake, None)
        # Who still finds it parked would cancel a task that does something else.
        waiter.on_end = None
        if wake.called:
            task.uncancel()
    return None


class _Wake:
    """Ends a task's wait by cancelling it, once: asyncio.timeout's way costs 10 us."""

    __slots__ = ("_task", "called")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.called = False
        self._task = task

    def __call__(self) -> None:
        if not self.called:
            self.called = True
            self._task.cancel()


def not_allowed(methods: Iterable[str]) -> Reply:
    """Return the answer to another method than these."""
    allow = (b"allow", ", ".join(methods).encode())
    return line(405, "This method is not allowed here.", [allow])
