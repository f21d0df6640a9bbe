"""One callable for ``project/asgi.py``: push and Django from one process.

application = push_application(get_asgi_application())
"""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any

from pushserver import subscriptions
from pushserver.conf import get_config
from pushserver.endpoints import Receive, Scope, Send, line, reply
from pushserver.reach import serve_here
from pushserver.requests import settled
from pushserver.routing import resolve

__all__ = ["PushApplication", "push_application"]

Application = Callable[[Any, Any, Any], Awaitable[Any]]


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
        if scope["type"] == "http" and (found := resolve(scope)):
            consumer, scope = found
            await consumer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        elif self.application is not None:
            await self.application(scope, receive, send)
        elif scope["type"] == "http":
            await reply(send, *line(404, "There is nothing here."))
        else:
            await send({"type": "websocket.close"})

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take part in the lifespan, beside the application or in its place.

        Servers with lifespan say ``shutdown`` only after the clients have left, and
        ours stay: so the signal itself ends the held polls.
        """
        events: list[str] = []

        async def watched_receive() -> Any:
            event = await receive()
            events.append(event["type"])
            if event["type"] == "lifespan.startup":
                _drain_on_signals()
            else:
                await _stop()
            return event

        async def watched_send(message: dict[str, Any]) -> None:
            events.append(message["type"])
            await send(message)

        if self.application is not None:
            try:
                await self.application(scope, watched_receive, watched_send)
            except Exception:
                # Django, for one, refuses lifespan; then we answer in its place.
                if any(event.startswith("lifespan.startup.") for event in events):
                    raise
            else:
                return
        if not events:
            await watched_receive()
        await send({"type": "lifespan.startup.complete"})
        await watched_receive()
        await send({"type": "lifespan.shutdown.complete"})


def _drain_on_signals() -> None:
    """End the held polls of this loop on SIGTERM and SIGINT, then go on as before."""
    if threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _chained(loop, signal.getsignal(number)))


def _chained(loop: asyncio.AbstractEventLoop, previous: Any) -> Any:
    def handle(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(subscriptions.drain)
        if callable(previous):
            previous(number, frame)
        elif previous is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    return handle


async def _stop() -> None:
    await settled()
    await subscriptions.current().close()
