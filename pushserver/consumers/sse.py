"""Messages as the events of an event stream (``text/event-stream``). Pure.

Whatever is in a body, it becomes data: each CR, LF and CRLF ends a data line, and an
event's name and id are texts that cannot end one.
"""

import re
from base64 import b64encode

from pushserver.consumers.memo import remember_last
from pushserver.messages import Cursor, Message

__all__ = [
    "COMMENT",
    "data_event",
    "ending",
    "gap",
    "message_event",
    "opening",
]

COMMENT = b":\n\n"
"""What no client hears, and what keeps proxies from giving up."""

BASE64 = "pushserver.base64"

_LINE_END = re.compile(r"\r\n|\r|\n")


def opening(position: Cursor, *, retry: int) -> bytes:
    """Begin a stream: where its reader stands, and when to come back (milliseconds).

    A client takes the id and dispatches nothing, for there is no data.
    """
    return f"retry: {retry}\nid: {position}\n\n".encode()


@remember_last
def message_event(message: Message) -> bytes:
    """Return a message as an event; what is no text as base64, under a name of ours."""
    text, event = message.text, message.event
    if text is None:
        text = b64encode(message.body).decode()
        event = f"{BASE64}:{event}" if event else BASE64
    name = f"event: {event}\n" if event else ""
    return f"id: {message.id}\n{name}{_data(text)}\n".encode()


def gap(position: Cursor) -> bytes:
    """Say that messages before this position were lost."""
    return f"event: pushserver.gap\ndata: {position}\n\n".encode()


def ending(name: str, status: int) -> bytes:
    """Say why the stream ends for good."""
    return f"event: pushserver.{name}\ndata: {status}\n\n".encode()


def data_event(text: str) -> bytes:
    """Return an event of nothing but data."""
    return f"{_data(text)}\n".encode()


def _data(text: str) -> str:
    if "\n" not in text and "\r" not in text:
        return f"data: {text}\n"
    return "".join(f"data: {line}\n" for line in _LINE_END.split(text))
