"""Writing to a client that may not read: one write at a time, from anywhere.

A server whose buffer is full keeps the ``await send(...)`` of its application until
there is room. Most writes find room, and then ``send`` ends without having suspended:
so it is driven by hand up to that point, without a task. Where it suspends, the rest
is an awaitable that a task of the connection finishes.
"""

import types
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from functools import partial
from typing import Any

from pushserver.endpoints import ClientGone, Scope, Send

__all__ = ["DRAIN", "Writer"]

DRAIN = "pushserver.drain"
"""The ASGI extension by which `server` offers to wait for a client."""


_SENT = object()


class Writer:
    """The server's ``send`` for one stream.

    ``limit`` is how many bytes a stream may have where the server never waits: what
    it was given cannot be told from what was sent. ``full``: it has had them.
    """

    def __init__(self, scope: Scope, send: Send, *, limit: int) -> None:
        extensions = scope.get("extensions") or {}
        drain: Callable[[], Awaitable[None]] | None = extensions.get(DRAIN)
        # Daphne's scopes are the only ones that do not say which ASGI they speak.
        waits = "spec_version" in scope.get("asgi", {}) or drain is not None
        self.full = False
        self._send = send if drain is None else _draining(send, drain)
        self._left = None if waits else limit

    def start(self, event: Mapping[str, Any]) -> Awaitable[None] | None:
        """Begin to send; None when that is done, else what ends it.

        Raises ClientGone, and whatever the server raises.
        """
        if self._left is not None:
            self._count(event, self._left)
        try:
            steps = self._send(event).__await__()
            # With a default, no exception is made for the usual end.
            waited_for = next(steps, _SENT)
        except OSError as error:
            raise ClientGone from error
        return None if waited_for is _SENT else _rest(steps, waited_for)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send, and return when there is room for more. Raises ClientGone."""
        if self._left is not None:
            self._count(event, self._left)
        try:
            await self._send(event)
        except OSError as error:
            raise ClientGone from error

    def _count(self, event: Mapping[str, Any], left: int) -> None:
        self._left = left - len(event.get("body") or event.get("text") or b"")
        self.full = self._left <= 0


def _draining(send: Send, drain: Callable[[], Awaitable[None]]) -> Send:
    async def send_and_drain(event: Mapping[str, Any]) -> None:
        await send(event)
        await drain()

    return send_and_drain


@types.coroutine
def _rest(steps: Iterator[Any], waited_for: Any) -> Generator[Any, Any, None]:
    """Go on with what was driven up to the first thing that it waits for."""
    while True:
        try:
            yield waited_for
        except BaseException as error:
            # Our task is cancelled, and what it waits for shall know.
            if not hasattr(steps, "throw"):
                raise
            go_on = partial(steps.throw, error)
        else:
            go_on = partial(next, steps)
        try:
            waited_for = go_on()
        except StopIteration:
            return
        except OSError as error:
            raise ClientGone from error
