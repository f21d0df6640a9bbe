"""Writing to clients that may not read: one write at a time, from anywhere.

A server whose buffer is full keeps the ``await send(...)`` of its application until
there is room. Most writes find room, and then ``send`` ends without having suspended:
so it is driven by hand up to that point, without a task. Where it suspends, the rest
is finished by a task of the connection.
"""

import asyncio
import types
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Any

from pushserver.consumers.endpoints import Scope, Send

__all__ = ["DRAIN", "Writer", "write_to_all"]

DRAIN = "pushserver.drain"
"""The ASGI extension by which `runpushserver` offers to wait for a client."""


_SENT = object()


class Writer:
    """The server's ``send`` for one stream, which has to ``open`` it.

    ``limit`` is how many bytes a stream may have where the server never waits: what
    it was given cannot be told from what was sent. ``on_wait`` is called where a write
    has to be waited for: somebody has to ``settle`` it. ``on_end`` is called with the
    error of a write, and with None after so many bytes.
    """

    __slots__ = ("_left", "_open", "_rest", "_send", "_server_send",
                 "on_end", "on_wait", "ready")  # fmt: skip

    def __init__(self, scope: Scope, send: Send, *, limit: int) -> None:
        extensions = scope.get("extensions") or {}
        drain: Callable[[], Awaitable[None]] | None = extensions.get(DRAIN)
        # Daphne's scopes are the only ones that do not say which ASGI they speak.
        waits = "spec_version" in scope.get("asgi", {}) or drain is not None
        self.ready: Send | None = None  # what begins a write, while there may be one
        self.let_go()
        self._server_send = send if drain is None else _draining(send, drain)
        self._send = self._server_send if waits else self._count
        self._left = limit
        self._open = False
        self._rest: tuple[Any, Any] | None = None

    def open(self) -> None:
        """Let whoever has news write, from now on."""
        self._open = True
        if self._rest is None:
            self.ready = self._send

    def close(self) -> None:
        """Let nobody but `send` write."""
        self._open = False
        self.ready = None

    def let_go(self) -> None:
        """Call nobody: a stream and its writer would be a circle for the collector."""
        self.on_wait: Callable[[], None] = _nothing
        self.on_end: Callable[[Exception | None], None] = _nothing

    def look(self) -> Send | None:
        """Return what is ``ready`` if the write under way has ended by itself.

        As granian's may: it returns a future, and steps it in threads of its own. To
        be told when it is done would cost more than the write.
        """
        if not self._open or self._rest is None:
            return None
        steps, waited_for = self._rest
        if steps is not waited_for or not steps.done():
            return None
        self._rest = None
        try:
            steps.result()
        except asyncio.CancelledError:  # the server's, and no end of the fan-out
            self.close()
            self.on_end(None)
        except Exception as error:
            self.close()
            self.on_end(error)
        else:
            self.ready = self._send
        return self.ready

    def hold(self, steps: Any, waited_for: Any) -> None:
        """Keep what was driven up to the first thing that it waits for."""
        self.ready = None
        self._rest = steps, waited_for
        if steps is not waited_for:
            self.on_wait()

    async def settle(self) -> None:
        """Return when the write under way, if any, has ended."""
        if self._rest is not None:
            rest, self._rest = self._rest, None
            await _go_on(*rest)

    async def send(self, event: Mapping[str, Any]) -> None:
        """Send, and return when there is room for more. For one task at a time."""
        await self.settle()
        await self._send(event)

    def _count(self, event: Mapping[str, Any]) -> Awaitable[None]:
        self._left -= len(event.get("body") or event.get("text") or b"")
        if self._left <= 0:
            self.on_end(None)
        return self._server_send(event)


def write_to_all(writers: Iterable[Writer], event: dict[str, Any]) -> list[Writer]:
    """Begin to write the event to each; return those that are busy.

    What a send raises goes to its own writer. This is most of what a delivery to a
    stream costs beside the server's send: 0.2 us.
    """
    busy = []
    for writer in writers:
        if (send := writer.ready or writer.look()) is None:
            busy.append(writer)
            continue
        try:
            # A copy each: whoever wraps `send` may change it. With a default for the
            # usual end of the steps, no exception is made.
            steps = send(event.copy()).__await__()
            waited_for = next(steps, _SENT)
        except Exception as error:
            writer.close()
            writer.on_end(error)
        else:
            if waited_for is not _SENT:
                writer.hold(steps, waited_for)
    return busy


def _nothing(*args: object) -> None:
    pass


def _draining(send: Send, drain: Callable[[], Awaitable[None]]) -> Send:
    async def send_and_drain(event: Mapping[str, Any]) -> None:
        await send(event)
        await drain()

    return send_and_drain


@types.coroutine
def _go_on(steps: Any, waited_for: Any) -> Generator[Any, Any, None]:
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
