"""The locations of the settings as URL patterns for Channels' URLRouter."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.urls import URLPattern

from pushserver.conf import get_config
from pushserver.consumers import PublisherConsumer, SubscriberConsumer
from pushserver.endpoints import Scope, below
from pushserver.locations import Location
from pushserver.multiplex import MultiplexConsumer
from pushserver.reach import serve_here
from pushserver.sockets import MultiplexSocket, SubscriberSocket

__all__ = ["http_urlpatterns", "resolve", "resolve_socket", "websocket_urlpatterns"]

ASGIApplication = Callable[..., Any]

_CONSUMERS = {
    "subscriber": SubscriberConsumer,
    "publisher": PublisherConsumer,
    "multiplex": MultiplexConsumer,
}
_SOCKETS = {"subscriber": SubscriberSocket, "multiplex": MultiplexSocket}


class LocationPattern:
    """The pattern of a location, as URLRouter asks for it."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __str__(self) -> str:
        return self.location.pattern.pattern

    def match(self, path: str) -> tuple[str, tuple[str], dict[str, str]] | None:
        # The router has taken the leading slash and root_path off.
        path = below(settings.FORCE_SCRIPT_NAME, f"/{path}")
        channel_id = self.location.channel_id(path)
        return None if channel_id is None else ("", (channel_id,), {})


def http_urlpatterns() -> list[URLPattern]:
    """Return a pattern for each location, in the order of the settings.

    For a project that has a URLRouter of its own for http; `push_application` needs
    none. From now on this process serves push.
    """
    serve_here()
    return [
        URLPattern(
            LocationPattern(location),  # type: ignore[arg-type]
            _CONSUMERS[location.type].as_asgi(location=location),
        )
        for location in get_config().locations
    ]


def websocket_urlpatterns() -> list[URLPattern]:
    """Return a pattern for each location that readers may open a WebSocket to.

    For a project that has a URLRouter of its own for websocket. From now on this
    process serves push.
    """
    serve_here()
    return [
        URLPattern(
            LocationPattern(location),  # type: ignore[arg-type]
            _SOCKETS[location.type].as_asgi(location=location),
        )
        for location in get_config().locations
        if location.type in _SOCKETS
    ]


def resolve(scope: Scope) -> tuple[ASGIApplication, Scope] | None:
    """Return the consumer for an http scope and the scope to call it with.

    Return None where the path is no location of ours.
    """
    found = get_config().match(below(get_script_prefix(scope), scope["path"]))
    if found is None:
        return None
    location, channel_id = found
    # An instance, not as_asgi(): what that wraps anew for each request costs 5 us.
    return _CONSUMERS[location.type](location=location), {
        **scope,
        "url_route": {"args": (channel_id,), "kwargs": {}},
    }


def resolve_socket(scope: Scope) -> tuple[ASGIApplication, Scope] | None:
    """Return, as `resolve` does, what serves a websocket scope."""
    found = get_config().match(below(get_script_prefix(scope), scope["path"]))
    if found is None or found[0].type not in _SOCKETS:
        return None
    location, channel_id = found
    return _SOCKETS[location.type](location=location), {
        **scope,
        "url_route": {"args": (channel_id,), "kwargs": {}},
    }
