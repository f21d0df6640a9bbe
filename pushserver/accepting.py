"""Which transport a request asks for, by its Accept. Pure."""

from collections.abc import Mapping

from pushserver.locations import Location

__all__ = ["transport_of"]

_STREAM = "text/event-stream"


def transport_of(headers: Mapping[bytes, bytes], location: Location) -> str | None:
    """Return "event-stream" or "long-poll", None where neither is offered.

    An event stream has to be asked for by name: ``*/*`` alone is a long poll.
    """
    accept = headers.get(b"accept", b"")
    if b"event-stream" not in accept.lower():  # as nearly all polls
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
