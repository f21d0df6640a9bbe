"""The site, and at `/open/` how much is open at its locations."""

import json

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

from pushserver.asgi import push_application
from pushserver.consumers.endpoints import Receive, Scope, Send, reply

opened: list[str] = []
"""The kind and path of each request and socket that is under way."""

site = push_application(ASGIStaticFilesHandler(get_asgi_application()))


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope.get("path", "")
    if path == "/open/":
        await reply(send, 200, [], json.dumps(opened).encode())
    elif path.startswith("/updates"):
        kind = f"{scope['type']} {path}"
        opened.append(kind)
        try:
            await site(scope, receive, send)
        finally:
            opened.remove(kind)
    else:
        await site(scope, receive, send)
