"""One host for the whole site: requests for any other are redirected to it."""

from collections.abc import Awaitable, Callable, MutableMapping
from io import BytesIO
from typing import Any

from django.core.handlers.asgi import ASGIRequest

__all__ = ["ForceHost"]

Scope = MutableMapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Any, Any, Any], Awaitable[None]]


class ForceHost:
    """An ASGI application that only sees requests for one host.

    A host given without port stands for all ports. WebSockets go through: a
    browser follows no redirect when it opens one.
    """

    def __init__(self, application: ASGIApplication, host: str) -> None:
        self.application = application
        self.host = host

    async def __call__(self, scope: Scope, receive: Any, send: Send) -> None:
        if scope["type"] != "http" or self._is_asked_for(scope):
            await self.application(scope, receive, send)
            return
        request = ASGIRequest(scope, BytesIO())
        location = f"{request.scheme}://{self.host}{request.get_full_path()}"
        # Only 308 keeps the method and the body of a POST.
        status = 301 if request.method in ("GET", "HEAD") else 308
        headers = [
            (b"location", location.encode("ascii")),
            (b"content-length", b"0"),
        ]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body"})

    def _is_asked_for(self, scope: Scope) -> bool:
        asked = next((v for name, v in scope["headers"] if name == b"host"), b"")
        host = asked.decode("latin-1").lower()
        if not _has_port(self.host) and _has_port(host):
            host = host.rpartition(":")[0]
        return host == self.host.lower()


def _has_port(host: str) -> bool:
    return ":" in host and not host.endswith("]")
