"""Which pages may read an answer: the headers of cross-origin requests. Pure."""

from collections.abc import Iterable

from pushserver.conf.locations import Location

__all__ = ["permission", "preflight", "vary"]

_EXPOSED = (
    b"ETag, Last-Modified, Cache-Control, X-Push-Gap, X-Push-Multiplex, Retry-After"
)


def preflight(methods: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Return what a preflight that is allowed answers beside the permission itself."""
    return [
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (
            b"access-control-allow-headers",
            b"If-Modified-Since, If-None-Match, Last-Event-ID, X-Cookie, X-Push-Gap, "
            b"Content-Type",
        ),
        (b"access-control-max-age", b"86400"),  # seconds; browsers cap it at less
    ]


def permission(location: Location, origin: bytes) -> list[tuple[bytes, bytes]]:
    """Return what lets a page of that origin read the answer; nothing if it may not."""
    allowed = location.allow_origin
    if not allowed:
        return []
    if allowed == ("*",):
        origin = b"*"
    elif origin.decode("latin-1") not in allowed:
        return []
    headers = [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", _EXPOSED),
    ]
    if location.allow_credentials:
        headers.append((b"access-control-allow-credentials", b"true"))
    return headers


def vary(location: Location) -> bytes:
    """Return what to add to the Vary of an answer, with its comma."""
    return b", Origin" if location.allow_origin not in ((), ("*",)) else b""
