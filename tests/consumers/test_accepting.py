"""Which transport an Accept asks for."""

from dataclasses import replace

import pytest

from pushserver.conf import get_config
from pushserver.consumers.accepting import transport_of

EVERYTHING = ("long-poll", "event-stream", "websocket")


def chosen(accept: str | None, **options: object) -> str | None:
    location = replace(get_config().locations[0], **options)  # type: ignore[arg-type]
    headers = {} if accept is None else {b"accept": accept.encode()}
    return transport_of(headers, location)


@pytest.mark.parametrize(
    ("accept", "transport"),
    [
        (None, "long-poll"),
        ("*/*", "long-poll"),
        ("text/*", "long-poll"),
        ("application/json", "long-poll"),
        ("text/event-stream", "event-stream"),
        ("Text/Event-Stream", "event-stream"),
        ("application/json, text/event-stream;q=0.1", "event-stream"),
        ("text/event-stream; charset=utf-8", "event-stream"),
        ("text/event-stream;q=0, */*", "long-poll"),
        ("text/event-stream; q=0.000, */*", "long-poll"),
        ("text/event-streams", "long-poll"),
    ],
)
def test_an_event_stream_is_asked_for_by_name(accept: str | None, transport: str):
    """And not refused by a quality of zero."""
    assert chosen(accept) == transport


@pytest.mark.parametrize(
    ("options", "accept", "transport"),
    [
        ({"transports": ("long-poll",)}, "text/event-stream", None),
        ({"transports": ("long-poll",)}, "text/event-stream, */*", "long-poll"),
        ({"transports": ("event-stream",)}, "text/event-stream", "event-stream"),
        ({"transports": ("event-stream",)}, "*/*", None),
        ({"transports": ("websocket",)}, None, None),
        ({"polling": "interval"}, "text/event-stream", None),
        ({"polling": "interval"}, "*/*", "long-poll"),
    ],
)
def test_what_is_not_offered_is_not_chosen(
    options: dict[str, object], accept: str | None, transport: str | None
):
    """A client that takes something else gets that; else there is nothing for it."""
    assert chosen(accept, **options) == transport
