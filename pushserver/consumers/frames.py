"""Messages as JSON: frames of a WebSocket, and entries of a multiplexed answer. Pure.

Both are the same object. An entry begins with the name of its channel, its *head*:
the text of a member with its comma (``"channel":"a",``); a frame has the empty one.
"""

import json
from base64 import b64encode
from typing import Any, Literal

from pushserver.consumers.memo import remember_texts
from pushserver.messages import Cursor, Message

__all__ = ["channel_head", "error", "message_frame", "nchan_frame", "position"]


def channel_head(kind: Literal["channel", "url"], name: str) -> str:
    """Return the head of a channel's entries, by id or by the path of its URL."""
    return f'"{kind}":{json.dumps(name)},'


def message_frame(head: str, message: Message, *, gap: bool = False) -> str:
    """Return a message; ``gap`` says that some before it were lost."""
    if gap:
        return f'{{{head}{_members(message)},"gap":true}}'
    return f"{{{head}{_members(message)}}}"


def position(head: str, cursor: Cursor, *, gap: bool = False) -> str:
    """Return where the reader stands: what it comes back with when nothing comes."""
    lost = ',"gap":true' if gap else ""
    return f'{{{head}"id":"{cursor}"{lost}}}'


def error(head: str, status: int, reason: str) -> str:
    """Say that the channel is not listened to any more, and why."""
    return f'{{{head}"error":{status},"reason":{json.dumps(reason)}}}'


def nchan_frame(message: Message) -> str | bytes:
    """Return a message as the subprotocol ``ws+meta.nchan`` has it."""
    meta = f"id: {message.id}\n"
    if message.content_type is not None:
        meta += f"content-type: {message.content_type}\n"
    text = message.text
    if text is None:
        return f"{meta}\n".encode() + message.body
    return f"{meta}\n{text}"


@remember_texts
def _members(message: Message) -> str:
    event = f',"event":{json.dumps(message.event)}' if message.event else ""
    content_type = json.dumps(message.content_type)
    return f'"id":"{message.id}","type":{content_type},{_payload(message)}{event}'


def _payload(message: Message) -> str:
    text = message.text
    if text is None:
        return f'"base64":"{b64encode(message.body).decode()}"'
    if message.is_json and _is_json(text):
        return f'"data":{text}'  # as it is: no number changes on the way
    return f'"text":{json.dumps(text)}'


def _is_json(text: str) -> bool:
    try:
        # Numbers stay text: Python refuses some that are too long.
        json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> Any:
    raise ValueError(constant)  # NaN and Infinity, which no browser reads
