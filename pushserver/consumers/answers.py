"""The headers of the answer to a poll. Pure."""

from functools import lru_cache

from pushserver.consumers.endpoints import Headers
from pushserver.consumers.memo import remember_last
from pushserver.messages import Cursor, Message

__all__ = ["delivered", "position"]

_GAP = ((b"x-push-gap", b"1"),)


@lru_cache(maxsize=1024)
def position(cursor: Cursor, *, gap: bool) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that tell a reader where it is, the same for all of them."""
    etag = cursor.etag.encode()
    headers = (
        (b"etag", etag),
        (b"last-modified", cursor.last_modified.encode()),
        # The clients of the predecessor read the tag here where a browser hides
        # the header itself.
        (b"cache-control", b"no-store, etag=" + etag),
    )
    return headers + _GAP if gap else headers


def delivered(message: Message, *, gap: bool) -> Headers:
    """Return the headers of a message as the whole answer to a poll."""
    return [*_whole(message), *_GAP] if gap else [*_whole(message)]


@remember_last
def _whole(message: Message) -> Headers:
    headers = [
        *position(message.id, gap=False),
        (b"content-length", b"%d" % len(message.body)),
    ]
    if message.content_type is not None:
        headers.append((b"content-type", message.content_type.encode()))
    return headers
