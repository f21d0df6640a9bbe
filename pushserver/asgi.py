"""One callable for ``project/asgi.py``: push and Django from one process.

application = push_application(get_asgi_application())
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from pushserver.conf import get_config
from pushserver.consumers.endpoints import Receive, Scope, Send, line, reply
from pushserver.engine import subscriptions
from pushserver.heap import freeze_once
from pushserver.reach import serve_here
from pushserver.requests import settled
from pushserver.routing import resolve, resolve_socket

__all__ = ["PushApplication", "push_application"]

Application = Callable[[Any, Any, Any], Awaitable[Any]]
Handler = Callable[[int, FrameType | None], Any]

_PHASES = ("lifespan.startup", "lifespan.shutdown")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def push_application(application: Application | None = None) -> "PushApplication":
    """Return an ASGI application that serves the locations, and else the given one.

    Any ASGI application will do, a ProtocolTypeRouter too; without one, what is no
    location is 404. What is wrapped already is returned as it is. Raises
    ImproperlyConfigured.
    """
    if isinstance(application, PushApplication):
        return application
    return PushApplication(application)


class PushApplication:
    """Serves our locations; every other scope goes through untouched."""

    def __init__(self, application: Application | None) -> None:
        self.application = application
        get_config()  # what is wrong is said when the server starts
        serve_here()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (consumer := resolve(scope)):
            await consumer(scope, receive, send)
        elif scope["type"] == "websocket" and (found := resolve_socket(scope)):
            socket, scope = found
            await socket(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self.application is not None:
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await reply(send, *line(404, "There is nothing here."))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            raise ValueError(f"Nobody serves {scope['type']!r} here.")

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take part in the lifespan, beside the application or in its place.

        Servers with lifespan say ``shutdown`` only after the clients have left, and
        ours stay: so the signal itself ends the held polls.
        """
        seen: set[str] = set()

        def answered(phase: str) -> bool:
            return not seen.isdisjoint({f"{phase}.complete", f"{phase}.failed"})

        async def watched_receive() -> Any:
            event = await receive()
            seen.add(event["type"])
            if event["type"] == "lifespan.startup":
                freeze_once()  # now, and not while the first poll waits for it
                signals.enter_context(_draining_on_signals())
            else:
                await stop()
            return event

        async def watched_send(message: dict[str, Any]) -> None:
            seen.add(message["type"])
            await send(message)

        with ExitStack() as signals:
            if self.application is not None:
                try:
                    await self.application(scope, watched_receive, watched_send)
                except Exception:
                    # Django, for one, refuses lifespan; others fail to start.
                    if any(map(answered, _PHASES)):
                        raise
            if "lifespan.startup.failed" in seen:
                return
            # What the application has left out is done in its place.
            for phase in _PHASES:
                if phase not in seen:
                    await watched_receive()
                if not answered(phase):
                    await send({"type": f"{phase}.complete"})


@contextmanager
def _draining_on_signals() -> Iterator[None]:
    """End the held polls of this loop on SIGTERM and SIGINT, then go on as before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    ours = {}
    for number in _SIGNALS:
        previous = signal.getsignal(number)
        # Others would end the process at once, or do not end it at all.
        if callable(previous):
            ours[number] = _chained(loop, previous), previous
            signal.signal(number, ours[number][0])
    try:
        yield
    finally:
        for number, (handler, previous) in ours.items():
            # Whoever came after us stays, and hands over to us.
            if signal.getsignal(number) is handler:
                signal.signal(number, previous)


def _chained(loop: asyncio.AbstractEventLoop, previous: Handler) -> Handler:
    def handle(number: int, frame: FrameType | None) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(subscriptions.drain)
        previous(number, frame)

    return handle


async def stop() -> None:
    """End what the running loop serves: readers, rounds of receivers, the hub."""
    subscriptions.drain()
    await settled()
    await subscriptions.current().close()
