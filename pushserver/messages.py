"""Messages and cursors: ordering, header text, stream ids. Pure.

A message id has the form of a Redis stream id, ``<milliseconds>-<n>``
(design, section 7). A cursor is the id of the last message a reader has seen, so
both are the same type.
"""

import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import NamedTuple

from django.utils.http import parse_http_date

from pushserver.exceptions import InvalidCursor

__all__ = [
    "MAX_SEQUENCE",
    "OWN_EVENTS",
    "START",
    "Cursor",
    "Message",
    "check_labels",
    "read_cursor",
]

MAX_SEQUENCE = 2**64 - 1
"""The largest number of either half of an id, as in a Redis stream."""

OWN_EVENTS = "pushserver."
"""What the names of the server's own events begin with: a gap, a deletion, ..."""

_ID = re.compile(r"([0-9]{1,20})-([0-9]{1,20})")
# W/ as caches weaken it, quotes, and the suffix that a compressing proxy adds, inside
# the quotes (Apache, Jetty) or outside (older Apache). An id has at most 41 characters.
_SUFFIX = r"(?:-?[-;](?:gzip|br|zstd|deflate))?"
_TAG = re.compile(rf'(?:W/)?("?)([^"]{{0,41}}?){_SUFFIX}\1{_SUFFIX}')
_CONTENT_TYPE = re.compile(r"[\x20-\x7e\t]{0,255}")
_JSON = re.compile(r"(?:application|text)/(?:[^;\s]*\+)?json\s*(?:;|$)", re.IGNORECASE)
# What a curl user sends without saying what it is (-d) is text to read, too.
_TEXT = re.compile(
    r"text/|application/(?:(?:[^;\s]*\+)?(?:json|xml)|(?:java|ecma)script"
    r"|x-www-form-urlencoded)\s*(?:;|$)",
    re.IGNORECASE,
)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_UTF8 = ("utf-8", "utf8", "us-ascii")


class Cursor(NamedTuple):
    """A position in a channel: the id of the last message a reader has seen."""

    milliseconds: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.sequence}"

    # All readers of a channel come back with the same few. What is no cursor may be
    # long, and is not remembered.
    @classmethod
    @lru_cache(maxsize=1024)
    def parse(cls, text: str) -> "Cursor":
        """Read ``<milliseconds>-<n>``; a bare ``0`` is the start.

        Raises InvalidCursor for anything else.
        """
        if text == "0":
            return START
        if match := _ID.fullmatch(text):
            cursor = cls(int(match[1]), int(match[2]))
            if max(cursor) <= MAX_SEQUENCE:
                return cursor
        raise _no_cursor(text)

    @classmethod
    def before_second(cls, seconds: int) -> "Cursor":
        """Return the last position before the first id of that second."""
        return cls(seconds * 1000 - 1, MAX_SEQUENCE) if seconds > 0 else START

    @property
    def is_date(self) -> bool:
        """Whether it was made by ``before_second``: no message has such an id."""
        return self.sequence == MAX_SEQUENCE

    @property
    def etag(self) -> str:
        """The value of the ETag header."""
        return f'"{self.milliseconds}-{self.sequence}"'

    @property
    def last_modified(self) -> str:
        """The value of the Last-Modified header, in whole seconds.

        A position made by ``before_second`` gives back the second it was made of:
        a reader that sends only dates would drift into the past otherwise.
        """
        return _http_date((self.milliseconds + self.is_date) // 1000)


START = Cursor(0, 0)
"""The position before every message, and that of an empty channel."""

# The largest second that formatdate can print (31 December 9999).
_MAX_SECONDS = 253_402_300_799


@lru_cache(maxsize=1024)
def _http_date(seconds: int) -> str:
    # Many messages share a second, and formatting costs 6 us.
    return formatdate(min(seconds, _MAX_SECONDS), usegmt=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is kept and delivered.

    ``previous`` is the id of the message before it in the channel: a reader whose
    cursor is older has lost something. ``kept`` is False where the publisher's
    location waived storage (``store_messages: False``).
    """

    id: Cursor
    previous: Cursor
    body: bytes
    content_type: str | None = None
    event: str | None = None
    kept: bool = True

    def __post_init__(self) -> None:
        # The only place that can stop a header injection for every transport.
        check_labels(self.content_type, self.event)

    @property
    def is_json(self) -> bool:
        """Whether the content type says that the body is JSON."""
        return self.content_type is not None and bool(_JSON.match(self.content_type))

    @property
    def text(self) -> str | None:
        """The body as text; None where it is binary, by content type or by bytes.

        Without a content type the bytes decide.
        """
        if self.content_type is not None:
            charset = _CHARSET.search(self.content_type)
            if not _TEXT.match(self.content_type) or (
                charset and charset[1].lower() not in _UTF8
            ):
                return None
        try:
            return self.body.decode()
        except UnicodeDecodeError:
            return None


def check_labels(content_type: str | None, event: str | None) -> None:
    """Raise ValueError for a content type or an event name that no answer can carry."""
    if content_type is not None and not _CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(
            f"{content_type[:60]!r} is no content type; accepted: up to 255 "
            "printable ASCII characters."
        )
    if event is not None and not _is_event_name(event):
        raise ValueError(
            f"{event[:60]!r} is no event name; accepted: 1 to 255 printable "
            f"characters, not beginning with {OWN_EVENTS!r}."
        )


def _is_event_name(text: str) -> bool:
    return (
        0 < len(text) <= 255 and text.isprintable() and not text.startswith(OWN_EVENTS)
    )


def read_cursor(
    *,
    if_none_match: str | None = None,
    if_modified_since: str | None = None,
    others: tuple[str | None, ...] = (),
) -> Cursor | None:
    """Return the cursor that a request carries, None when it has none.

    ``others`` are Last-Event-ID and the query's spellings, first one wins. An empty
    value counts as absent. Protocol, "Cursor". Raises InvalidCursor.
    """
    if if_none_match:
        tag = _undress(if_none_match.strip())
        if tag.isascii() and tag.isdigit() and if_modified_since:
            # As the clients of the predecessor start: number 0 of 1970.
            return _after_second(_seconds(if_modified_since), tag)
        return Cursor.parse(tag)
    if if_modified_since:
        return Cursor.before_second(_seconds(if_modified_since))
    for text in others:
        if text:
            return Cursor.parse(text)
    return None


@lru_cache(maxsize=1024)
def _undress(tag: str) -> str:
    """Return what a tag is about. Raises InvalidCursor for what is too long."""
    if match := _TAG.fullmatch(tag):
        return match[2]
    raise _no_cursor(tag)


def _no_cursor(text: str) -> InvalidCursor:
    return InvalidCursor(
        f"{text[:60]!r} is no cursor; accepted: <milliseconds>-<number>, or 0."
    )


def _after_second(seconds: int, number: str) -> Cursor:
    return Cursor.parse(f"{max(seconds, 0) * 1000}-{number}")


def _seconds(http_date: str) -> int:
    try:
        return int(parse_http_date(http_date))
    except ValueError:
        raise InvalidCursor(
            f"If-Modified-Since is {http_date[:60]!r}; accepted: an HTTP date."
        ) from None
