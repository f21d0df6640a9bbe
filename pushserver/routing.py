"""The locations of the settings as URL patterns for Channels' URLRouter."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.urls import URLPattern

from pushserver.conf import get_config
from pushserver.conf.locations import Location
from pushserver.consumers import (
    LocationConsumer,
    PublisherConsumer,
    SubscriberConsumer,
)
from pushserver.consumers.endpoints import Scope, below
from pushserver.consumers.multiplex import MultiplexConsumer
from pushserver.consumers.sockets import MultiplexSocket, SubscriberSocket
from pushserver.reach import serve_here

__all__ = ["http_urlpatterns", "resolve", "resolve_socket", "websocket_urlpatterns"]

ASGIApplication = Callable[..., Any]

_LONGEST = 1000  # characters of a path that is worth remembering

_CONSUMERS: dict[str, type[LocationConsumer]] = {
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


def resolve(scope: Scope) -> LocationConsumer | None:
    """Return the consumer to call with an http scope.

    Return None where the path is no location of ours.
    """
    found = _find(scope)
    if found is None:
        return None
    location, channel_id = found
    # An instance, not as_asgi(): what that wraps anew for each request costs 5 us. And
    # it is told the channel: a scope of its own would be a tenth of what a held poll
    # weighs.
    return _CONSUMERS[location.type](location=location, channel_id=channel_id)


def resolve_socket(scope: Scope) -> tuple[ASGIApplication, Scope] | None:
    """Return what serves a websocket scope, and the scope to call it with."""
    found = _find(scope)
    if found is None or found[0].type not in _SOCKETS:
        return None
    location, channel_id = found
    return _SOCKETS[location.type](location=location), {
        **scope,
        "url_route": {"args": (channel_id,), "kwargs": {}},
    }


def _find(scope: Scope) -> tuple[Location, str] | None:
    path = scope["path"]
    find = _match if len(path) <= _LONGEST else _match.__wrapped__
    try:
        return find(scope.get("root_path", ""), path)
    except LookupError:
        return None


# The same few paths come again and again, and the way below is 2 us. What is no
# location is not remembered: it would push out the others.
@lru_cache(maxsize=1024)
def _match(root_path: str, path: str) -> tuple[Location, str]:
    prefix = get_script_prefix({"root_path": root_path})
    found = get_config().match(below(prefix, path))
    if found is None:
        raise LookupError(path)
    return found


@receiver(setting_changed, dispatch_uid="pushserver.routing")
def _forget(**kwargs: Any) -> None:
    _match.cache_clear()
