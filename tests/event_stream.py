"""A reader of event streams, as the HTML standard describes one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Event:
    """What a client dispatches; ``id`` is None where the event itself has none."""

    data: str = ""
    event: str = "message"
    id: str | None = None


class Parser:
    """Takes a stream in whatever pieces it comes."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry: int | None = None
        self.comments = 0
        self._rest = ""
        self._data: list[str] = []
        self._event = Event()

    def feed(self, piece: bytes | str) -> list[Event]:
        """Return the events that are complete now."""
        text = piece.decode() if isinstance(piece, bytes) else piece
        lines = re.split(r"\r\n|\r|\n", self._rest + text)
        self._rest = lines.pop()
        return [event for line in lines for event in self._line(line)]

    def _line(self, line: str) -> Iterator[Event]:
        if line == "":
            if self._data:
                self._event.data = "\n".join(self._data)
                yield self._event
            self._data, self._event = [], Event()
            return
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event.event = value
        elif name == "id":
            self._event.id = self.last_id = value
        elif name == "retry":
            self.retry = int(value)
        else:
            assert name == "", f"not a field: {line!r}"
            self.comments += 1


def events(stream: bytes) -> list[Event]:
    """Return the events of a whole stream."""
    return Parser().feed(stream)
