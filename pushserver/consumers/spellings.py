"""How a feed is spelled on the wire: entries, and the ASGI events that carry them.

An entry is what is said of one channel: a message, a position, an end. Event streams
and WebSockets of one channel send entries as they are; of many channels, arrays.
"""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from pushserver.consumers import frames, sse
from pushserver.messages import Cursor, Message

__all__ = [
    "Entry",
    "Event",
    "EventStream",
    "Frames",
    "MultiplexFrames",
    "MultiplexStream",
    "NchanFrames",
    "Spelling",
    "reason_of",
]

Entry = str | bytes
Event = dict[str, Any]

# Milliseconds after which a client comes back, at least and at most.
_RETRY = (1000, 3000)

_REASONS = {
    404: "There is no such channel.",
    409: "Another request is held on this channel.",
    410: "The channel was deleted.",
    413: "The frame is too big.",
    503: "The store does not answer.",
}
# A status is sent as 4000 and its number, and as 4000 what asks the client to come
# back: of the codes that have names Daphne lets an application send none but 1000.
_COME_BACK = 4000


def reason_of(status: int) -> str:
    """Return one line for the status of an end."""
    return _REASONS[status]


class Spelling(ABC):
    """One way to say things. ``head`` names the channel where there are many."""

    @abstractmethod
    def position(self, head: str, cursor: Cursor, *, gap: bool) -> list[Entry]:
        """Say that a channel is listened to from here on, or was moved."""

    @abstractmethod
    def message(self, head: str, message: Message, *, gap: bool) -> Entry:
        """Say a message."""

    @abstractmethod
    def end(self, head: str, status: int, reason: str) -> list[Entry]:
        """Say that a channel is not listened to any more."""

    def heartbeat(self) -> Event | None:
        """Return what keeps a silent stream alive; None if the server sees to it."""
        return None

    @abstractmethod
    def events(self, entries: Sequence[Entry]) -> Iterator[Event]:
        """Return what carries the entries."""

    def pieces(
        self, head: str, messages: Sequence[Message], *, limit: int
    ) -> Iterator[tuple[Event, Cursor]]:
        """Return events that carry the messages, and the id that each of them reaches.

        Each of ``limit`` bytes, or of one message above that.
        """
        while messages:
            room, count = limit - len(messages[0].body), 1
            while count < len(messages) and room >= len(messages[count].body):
                room -= len(messages[count].body)
                count += 1
            piece, messages = messages[:count], messages[count:]
            entries = [self.message(head, message, gap=False) for message in piece]
            [event] = self.events(entries)
            yield event, piece[-1].id

    @abstractmethod
    def final(self, status: int | None) -> Event:
        """Return the last event. A status ends it for good; without, come back."""


class _BodyOfEvents(Spelling):
    def heartbeat(self) -> Event | None:
        return _more(sse.COMMENT)

    def final(self, status: int | None) -> Event:
        return {"type": "http.response.body", "body": b""}


class EventStream(_BodyOfEvents):
    """One channel as an event stream."""

    def __init__(self) -> None:
        self._opened = False

    def position(self, head: str, cursor: Cursor, *, gap: bool) -> list[Entry]:
        entries: list[Entry] = []
        if not self._opened:
            self._opened = True
            entries.append(sse.opening(cursor, retry=random.randint(*_RETRY)))
        if gap:
            entries.append(sse.gap(cursor))
        return entries

    def message(self, head: str, message: Message, *, gap: bool) -> Entry:
        event = sse.message_event(message)
        return sse.gap(message.id) + event if gap else event

    def end(self, head: str, status: int, reason: str) -> list[Entry]:
        if status == 410:
            return [sse.ending("deleted", status)]
        return [sse.ending("conflict", status)] if status == 409 else []

    def events(self, entries: Sequence[Entry]) -> Iterator[Event]:
        body = b"".join(entry for entry in entries if isinstance(entry, bytes))
        yield _more(body)


class _Json(Spelling):
    def position(self, head: str, cursor: Cursor, *, gap: bool) -> list[Entry]:
        return [frames.position(head, cursor, gap=gap)]

    def message(self, head: str, message: Message, *, gap: bool) -> Entry:
        return frames.message_frame(head, message, gap=gap)

    def end(self, head: str, status: int, reason: str) -> list[Entry]:
        return [frames.error(head, status, reason)]

    def _array(self, entries: Sequence[Entry]) -> str:
        return f"[{','.join(map(str, entries))}]"


class _Socket(Spelling):
    def final(self, status: int | None) -> Event:
        code = _COME_BACK + (status or 0)
        reason = "" if status is None else _REASONS[status]
        return {"type": "websocket.close", "code": code, "reason": reason}


class _FrameEach(_Socket):
    def events(self, entries: Sequence[Entry]) -> Iterator[Event]:
        for entry in entries:
            yield _frame(entry)

    def pieces(
        self, head: str, messages: Sequence[Message], *, limit: int
    ) -> Iterator[tuple[Event, Cursor]]:
        for message in messages:
            yield _frame(self.message(head, message, gap=False)), message.id


class Frames(_Json, _FrameEach):
    """One channel on a WebSocket."""

    def end(self, head: str, status: int, reason: str) -> list[Entry]:
        return []  # the close code says it


class NchanFrames(_FrameEach):
    """One channel on a WebSocket, as Nchan's ``ws+meta.nchan`` has it.

    It knows messages and nothing else: no position, no gap.
    """

    def position(self, head: str, cursor: Cursor, *, gap: bool) -> list[Entry]:
        return []

    def message(self, head: str, message: Message, *, gap: bool) -> Entry:
        return frames.nchan_frame(message)

    def end(self, head: str, status: int, reason: str) -> list[Entry]:
        return []


class MultiplexStream(_Json, _BodyOfEvents):
    """Many channels in one event stream."""

    def events(self, entries: Sequence[Entry]) -> Iterator[Event]:
        yield _more(sse.data_event(self._array(entries)))


class MultiplexFrames(_Json, _Socket):
    """Many channels on one WebSocket."""

    def heartbeat(self) -> Event | None:
        return _frame("[]")  # a page does not see the pings of the server

    def events(self, entries: Sequence[Entry]) -> Iterator[Event]:
        yield _frame(self._array(entries))


def _more(body: bytes) -> Event:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _frame(entry: Entry) -> Event:
    kind = "text" if isinstance(entry, str) else "bytes"
    return {"type": "websocket.send", kind: entry}
