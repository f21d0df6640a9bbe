"""Which pages may read an answer: the headers of cross-origin requests. Pure."""

from pushserver.locations import Location

__all__ = ["PREFLIGHT", "permission", "vary"]

_EXPOSED = b"ETag, Last-Modified, Cache-Control, X-Push-Gap, Retry-After"

PREFLIGHT = [
    (b"access-control-allow-methods", b"GET"),
    (
        b"access-control-allow-headers",
        b"If-Modified-Since, If-None-Match, Last-Event-ID, X-Cookie, X-Push-Gap",
    ),
    (b"access-control-max-age", b"86400"),  # seconds; browsers cap it at less
]
"""What a preflight that is allowed answers beside the permission itself."""


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
