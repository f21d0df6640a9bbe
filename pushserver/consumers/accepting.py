"""What a reader asks for: by which transport, and from where on. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import parse_qs

from pushserver.conf.locations import Location
from pushserver.consumers.endpoints import Scope
from pushserver.messages import Cursor, read_cursor

__all__ = ["cursor_of", "transport_of"]

# The URL of a page may say where it starts; coming back, a client adds where it was.
_CURSOR_PARAMETERS = ("last_event_id", "lastEventId", "since")

_LONGEST = 200  # bytes of a cursor that is worth remembering

_STREAM = "text/event-stream"


def transport_of(headers: Mapping[bytes, bytes], location: Location) -> str | None:
    """Return "event-stream" or "long-poll", None where neither is offered.

    An event stream has to be asked for by name: ``*/*`` alone is a long poll.
    """
    accept = headers.get(b"accept")
    if not accept or b"event-stream" not in accept.lower():  # as nearly all polls
        return "long-poll" if location.offers("long-poll") else None
    ranges = _acceptable(accept.decode("latin-1").lower())
    if _STREAM in ranges and location.offers("event-stream"):
        return "event-stream"
    if ranges != {_STREAM} and location.offers("long-poll"):
        return "long-poll"
    return None


def _acceptable(accept: str) -> set[str]:
    """Return the media ranges that the client takes at all."""
    found = set()
    for item in accept.split(","):
        name, *parameters = [part.strip() for part in item.split(";")]
        if not any(_is_zero(parameter) for parameter in parameters):
            found.add(name)
    return found


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().strip("0.") == ""


def cursor_of(scope: Scope, headers: Mapping[bytes, bytes]) -> Cursor | None:
    """Return the cursor that a request carries, if any. Raises InvalidCursor."""
    if tag := headers.get(b"if-none-match"):  # all that our own clients send
        date = headers.get(b"if-modified-since", b"")
        short = len(tag) + len(date) <= _LONGEST
        return (_tagged if short else _tagged.__wrapped__)(tag, date)
    query = scope.get("query_string", b"")
    asked = parse_qs(query.decode("latin-1")) if query else {}
    return read_cursor(
        if_modified_since=headers.get(b"if-modified-since", b"").decode("latin-1"),
        others=(
            headers.get(b"last-event-id", b"").decode("latin-1"),
            *(asked.get(name, [None])[0] for name in _CURSOR_PARAMETERS),
        ),
    )


# All readers of a channel come back with the same, and reading it takes 2 us.
@lru_cache(maxsize=1024)
def _tagged(tag: bytes, date: bytes) -> Cursor | None:
    return read_cursor(
        if_none_match=tag.decode("latin-1"),
        if_modified_since=date.decode("latin-1"),
    )
