"""What a project's own asgi.py looks like, with a witness in each process.

Every answer names the process in `X-Pid`, and `/witness/` tells what it has seen.
"""

import json
import os
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from pushserver.asgi import PushApplication
from pushserver.consumers.endpoints import Receive, Scope, Send, reply
from pushserver.engine import subscriptions
from pushserver.engine.live import LiveChannel
from pushserver.messages import Cursor
from pushserver.stores.base import Head, History
from tests.e2e.machines.layers import announced

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.e2e.machines.settings")

PID = str(os.getpid()).encode()

verified: dict[str, str] = {}
"""By channel: the last id that verification found and nobody had told us of."""


class Witnessed(LiveChannel):
    """Notes what verification finds."""

    def compare(self, head: Head, *, started: float) -> bool:
        found = super().compare(head, started=started)
        if found:
            verified[self.membership.key[1]] = str(head.newest)
        return found


class Credulous(LiveChannel):
    """The fault: each wake-up is believed to arrive.

    So nothing is verified, and a tail that was read once is read again only when a
    wake-up says so: not after some seconds, and not when a reader's cursor proves
    that there is more.
    """

    def compare(self, head: Head, *, started: float) -> bool:
        return False

    def trusted(self, resync: float) -> bool:
        return True

    async def _read(self, after: Cursor) -> History:
        if self.known is None:
            return await super()._read(after)
        return await self._store.read(self._channel_id, after=after)


class Site(PushApplication):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signed_send(event: Any) -> None:
            if event["type"] == "http.response.start":
                event = {**event, "headers": [*event["headers"], (b"x-pid", PID)]}
            await send(event)

        if scope["type"] == "http" and scope["path"] == "/witness/":
            held = subscriptions.current().statistics().held
            seen = {"held": held, "announced": announced, "verified": verified}
            await reply(signed_send, 200, [], json.dumps(seen).encode())
        else:
            await super().__call__(scope, receive, signed_send)


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Accept a WebSocket and send back the first text."""
    await receive()
    await send({"type": "websocket.accept"})
    event = await receive()
    await send({"type": "websocket.send", "text": event["text"]})
    await send({"type": "websocket.close"})


faulty = os.environ.get("MACHINES_FAULT") == "credulous"
subscriptions.LiveChannel = (  # type: ignore[attr-defined]
    Credulous if faulty else Witnessed
)

application = Site(
    ProtocolTypeRouter({"http": get_asgi_application(), "websocket": echo})
)
