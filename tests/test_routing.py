"""Which consumer a path leads to, by ourselves and below Channels' URLRouter."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from channels.routing import URLRouter
from django.test import override_settings
from django.urls import re_path

from pushserver import reach
from pushserver.routing import (
    http_urlpatterns,
    resolve,
    resolve_socket,
    websocket_urlpatterns,
)
from tests.asgi_client import Client, scope_of

Locate = Callable[..., None]
READER = {"type": "subscriber", "prefix": "/updates/", "polling": "interval"}
WRITER = {"type": "publisher", "prefix": "/send-update/"}


@pytest.fixture
def locate() -> Iterator[Locate]:
    """Have these locations for the length of a test."""
    with ExitStack() as stack:

        def locate(*locations: dict[str, Any], **settings: Any) -> None:
            push_server = {"locations": locations or (READER, WRITER)}
            changed = override_settings(DEBUG=True, PUSH_SERVER=push_server, **settings)
            stack.enter_context(changed)

        yield locate


def channel_of(path: str, **scope: Any) -> str | None:
    """The channel id that a request for the path is routed with."""
    found = resolve(scope_of("GET", path, **scope))
    return None if found is None else found.channel_id


# By ourselves


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/updates/room", "room"),
        ("/updates/r%C3%B6m%2Fa/b", "röm/a/b"),
        ("/updates//", "/"),
        ("/send-update/room", "room"),
        ("/updates/", None),
        ("/updates", None),
        ("/", None),
        ("", None),
        ("/UPDATES/room", None),
        ("/x/updates/room", None),
        ("updates/room", None),
        ("//updates/room", None),
    ],
)
def test_paths_of_the_default_locations(
    locate: Locate, path: str, channel: str | None
) -> None:
    """What follows the prefix is the channel id, decoded; all else is not ours."""
    locate()
    assert channel_of(path) == channel


def test_the_first_location_that_matches_wins(locate: Locate) -> None:
    """As in a list of URL patterns."""
    first = {"type": "publisher", "url": "/updates/([0-9]+)"}
    locate(first, READER)
    for path, method in (("/updates/5", "PUT"), ("/updates/five", "GET")):
        consumer = resolve(scope_of("GET", path))
        assert consumer is not None
        assert method in consumer.methods


def test_paths_are_found_as_the_settings_are(locate: Locate) -> None:
    """What was found by earlier settings, or is too long to remember, too."""
    for path in ("/updates/room", f"/updates/{'x' * 2000}"):
        locate()
        assert channel_of(path) == path.removeprefix("/updates/")
        locate(WRITER)
        assert channel_of(path) is None


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/app/updates/room", "room"),
        ("/app/updates/app", "app"),
        ("/updates/room", "room"),
        ("/app/app/updates/room", None),
        ("/application/updates/room", None),
        ("/appupdates/room", None),
        ("/app", None),
    ],
)
@pytest.mark.parametrize("prefix", ["/app", "/app/"])
@pytest.mark.parametrize("by", ["server", "setting"])
def test_a_site_below_a_prefix(
    locate: Locate, path: str, channel: str | None, prefix: str, by: str
) -> None:
    """root_path and FORCE_SCRIPT_NAME, whether the path still has it or not."""
    if by == "server":
        locate()
        assert channel_of(path, root_path=prefix) == channel
    else:
        locate(FORCE_SCRIPT_NAME=prefix)
        assert channel_of(path) == channel
        assert channel_of(path, root_path="/other") == channel


# Below Channels' URLRouter


async def status(router: Any, path: str, method: str = "GET", **scope: Any) -> int:
    return (await Client(router).ask(method, path, **scope)).status


async def test_patterns_for_a_router(locate: Locate) -> None:
    """Each location has a pattern, in the order of the settings."""
    locate()
    router = URLRouter(http_urlpatterns())
    assert await status(router, "/send-update/r%C3%B6m", "PUT") == 200
    assert await status(router, "/updates/r%C3%B6m") == 304
    assert await status(router, "/updates/%ZZ") == 400
    with pytest.raises(ValueError, match="No route found"):
        await status(router, "/elsewhere")


def test_a_pattern_shows_itself(locate: Locate) -> None:
    """What Django's messages about a URL pattern print is the pattern."""
    locate()
    assert [str(pattern.pattern) for pattern in http_urlpatterns()] == [
        "/updates/(.+)",
        "/send\\-update/(.+)",
    ]


async def test_a_router_below_a_prefix(locate: Locate) -> None:
    """The router takes root_path off, and we what FORCE_SCRIPT_NAME says."""
    locate()
    router = URLRouter(http_urlpatterns())
    for path in ("/app/updates/room", "/app/updates/app"):
        assert await status(router, path, root_path="/app") == 304
    locate(FORCE_SCRIPT_NAME="/app")
    router = URLRouter(http_urlpatterns())
    for root_path in ("", "/app"):
        assert await status(router, "/app/updates/room", root_path=root_path) == 304


async def test_a_router_below_a_router(locate: Locate) -> None:
    """The channel id is ours, whatever groups the routers around have matched."""
    locate(READER, {**WRITER, "create_on_post": False})
    router = URLRouter(
        [
            re_path(r"^plain/", URLRouter(http_urlpatterns())),
            re_path(r"^tenant/(\w+)/", URLRouter(http_urlpatterns())),
            re_path(r"^named/(?P<who>\w+)/", URLRouter(http_urlpatterns())),
        ]
    )
    assert await status(router, "/plain/send-update/one", "PUT") == 200
    assert await status(router, "/tenant/one/send-update/two", "POST") == 404
    assert await status(router, "/named/x/send-update/one", "POST") == 202
    assert await status(router, "/tenant/two/updates/one") == 200
    mounted = {"root_path": "/app"}
    assert await status(router, "/app/tenant/x/updates/one", **mounted) == 200


def test_patterns_for_a_router_of_ones_own_make_the_process_serve(monkeypatch):
    """A send before the first push request stays in the process that will serve."""
    process = reach._Process()
    monkeypatch.setattr(reach, "_process", process)
    http_urlpatterns()
    assert process.serves


# WebSockets


@pytest.mark.parametrize(
    ("path", "channel"),
    [
        ("/updates/room", "room"),
        ("/updates", ""),
        ("/send-update/a", None),
        ("/", None),
    ],
)
def test_sockets_are_where_readers_are(
    locate: Locate, path: str, channel: str | None
) -> None:
    """Of one channel or of many; nobody publishes by a socket."""
    locate(READER, WRITER, {"type": "multiplex"})
    found = resolve_socket(scope_of("GET", path, type="websocket"))
    assert (found and found[1]["url_route"]["args"]) == (
        None if channel is None else (channel,)
    )
    assert len(websocket_urlpatterns()) == 2
    assert len(http_urlpatterns()) == 3
