"""Serving locations in process, and publishing to them, for tests of readers."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import override_settings

from pushserver.asgi import push_application
from tests.asgi_client import Client

STREAM = {"accept": "text/event-stream"}


@contextmanager
def site(
    *,
    subscriber: dict[str, Any] | None = None,
    multiplex: dict[str, Any] | None = None,
    middleware: tuple[str, ...] = (),
    locations: tuple[dict[str, Any], ...] = (),
    **push_server: Any,
) -> Iterator[Client]:
    """Serve one location of each type; ``locations`` come before them."""
    own = [
        {"type": "subscriber", "prefix": "/updates/", **(subscriber or {})},
        {"type": "publisher", "prefix": "/send-update/"},
        {"type": "multiplex", **(multiplex or {})},
    ]
    push_server = {"locations": [*locations, *own], **push_server}
    with override_settings(
        DEBUG=True, MIDDLEWARE=list(middleware), PUSH_SERVER=push_server
    ):
        yield Client(push_application())


async def publish(
    client: Client, body: bytes | str, channel: str = "room", **headers: str
) -> str:
    """Publish and return the id."""
    data = body.encode() if isinstance(body, str) else body
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await client.ask("POST", f"/send-update/{channel}", data, headers=given)
    assert answer.status in (201, 202), answer
    return (answer["etag"] or "").strip('"')


async def held(client: Client, channel: str = "room") -> int:
    """Return how many readers are held on the channel."""
    accept = {"accept": "application/json"}
    answer = await client.ask("GET", f"/send-update/{channel}", headers=accept)
    if answer.status == 404:
        return 0
    return int(json.loads(answer.body)["subscribers"])
