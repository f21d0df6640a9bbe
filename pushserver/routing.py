"""The locations of the settings as URL patterns for Channels' URLRouter."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import get_script_prefix
from django.urls import URLPattern

from pushserver.conf import get_config
from pushserver.consumers import PublisherConsumer, SubscriberConsumer
from pushserver.endpoints import Scope
from pushserver.locations import Location

__all__ = ["http_urlpatterns", "resolve"]

ASGIApplication = Callable[..., Any]

_CONSUMERS = {"subscriber": SubscriberConsumer, "publisher": PublisherConsumer}


class LocationPattern:
    """The pattern of a location, as URLRouter asks for it."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __str__(self) -> str:
        return self.location.pattern.pattern

    def match(self, path: str) -> tuple[str, tuple[str], dict[str, str]] | None:
        # The router has taken the leading slash and root_path off.
        path = _below(settings.FORCE_SCRIPT_NAME, f"/{path}")
        channel_id = self.location.channel_id(path)
        return None if channel_id is None else ("", (channel_id,), {})


def http_urlpatterns() -> list[URLPattern]:
    """Return a pattern for each location, in the order of the settings.

    For a project that has a URLRouter of its own for http; `push_application` needs
    none.
    """
    return [
        URLPattern(LocationPattern(location), _consumer(location))  # type: ignore[arg-type]
        for location in get_config().locations
    ]


def resolve(scope: Scope) -> tuple[ASGIApplication, Scope] | None:
    """Return the consumer for an http scope and the scope to call it with.

    Return None where the path is no location of ours.
    """
    found = get_config().match(_below(get_script_prefix(scope), scope["path"]))
    if found is None:
        return None
    location, channel_id = found
    return _consumer(location), {
        **scope,
        "url_route": {"args": (channel_id,), "kwargs": {}},
    }


def _below(prefix: str | None, path: str) -> str:
    """Return the path below the script prefix (``root_path``, FORCE_SCRIPT_NAME).

    As in Django, a path without it is all right: a proxy has taken it off.
    """
    return path.removeprefix((prefix or "").rstrip("/"))


def _consumer(location: Location) -> ASGIApplication:
    return _CONSUMERS[location.type].as_asgi(location=location)  # type: ignore[no-any-return]
