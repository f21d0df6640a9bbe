"""The same things said in each way there is."""

import json
from typing import Any

import pytest

from pushserver.consumers.frames import channel_head
from pushserver.consumers.spellings import (
    EventStream,
    Frames,
    MultiplexFrames,
    MultiplexStream,
    NchanFrames,
    Spelling,
    reason_of,
)
from pushserver.messages import START, Cursor, Message
from tests.event_stream import events

AT = Cursor(1000, 2)
HEAD = channel_head("channel", "a")
TWO = [
    Message(id=Cursor(1000, n), previous=START, body=str(n).encode()) for n in (3, 4)
]
STREAMS = [EventStream, MultiplexStream]
SOCKETS = [Frames, MultiplexFrames, NchanFrames]


def said(spelling: Spelling, entries: Any) -> list[Any]:
    """What a client makes of the entries."""
    found: list[Any] = []
    for event in spelling.events(entries):
        if event["type"] == "http.response.body":
            assert event["more_body"] is True
            found += [(e.event, e.data, e.id) for e in events(event["body"])]
        else:
            found.append(event.get("text", event.get("bytes")))
    return found


def test_an_event_stream_opens_once():
    """Then a position is worth a word only when something was lost."""
    spelling = EventStream()
    [opening] = spelling.position("", AT, gap=False)
    assert opening.endswith(b"id: 1000-2\n\n")  # type: ignore[arg-type]
    assert spelling.position("", AT, gap=False) == []
    lost = spelling.position("", AT, gap=True)
    assert said(spelling, lost) == [("pushserver.gap", "1000-2", None)]


def test_an_event_stream_says_a_loss_before_the_message():
    """With the id of that message."""
    spelling = EventStream()
    entry = spelling.message("", TWO[0], gap=True)
    assert said(spelling, [entry]) == [
        ("pushserver.gap", "1000-3", None),
        ("message", "3", "1000-3"),
    ]


@pytest.mark.parametrize(("status", "name"), [(410, "deleted"), (409, "conflict")])
def test_an_event_stream_says_why_it_ends(status: int, name: str):
    """For good; for now it just ends."""
    spelling = EventStream()
    entries = spelling.end("", status, reason_of(status))
    assert said(spelling, entries) == [(f"pushserver.{name}", str(status), None)]
    assert spelling.end("", 503, reason_of(503)) == []


@pytest.mark.parametrize("kind", [*STREAMS, *SOCKETS])
@pytest.mark.parametrize(("limit", "events"), [(0, 2), (1, 2), (2, 1)])
def test_a_delivery_goes_in_pieces(kind: type[Spelling], limit: int, events: int):
    """Of so many bytes or of one message; where each message is a frame, of one."""
    spelling = kind()
    pieces = list(spelling.pieces(HEAD, TWO, limit=limit))
    entries = [spelling.message(HEAD, each, gap=False) for each in TWO]
    if events == 1 and kind not in (Frames, NchanFrames):
        assert pieces == [(*spelling.events(entries), TWO[1].id)]
    else:
        assert pieces == [
            (*spelling.events([entry]), message.id)
            for entry, message in zip(entries, TWO, strict=True)
        ]


@pytest.mark.parametrize("kind", [MultiplexStream, MultiplexFrames])
def test_many_channels_are_arrays(kind: type[Spelling]):
    """Of entries that name their channel."""
    spelling = kind()
    entries = [
        *spelling.position(HEAD, AT, gap=False),
        spelling.message(HEAD, TWO[0], gap=True),
        *spelling.end(HEAD, 410, reason_of(410)),
    ]
    [found] = said(spelling, entries)
    array = json.loads(found[1] if isinstance(found, tuple) else found)
    assert [entry["channel"] for entry in array] == ["a"] * 3
    assert array[1]["gap"] is True
    assert array[2]["error"] == 410


def test_a_socket_of_one_channel_sends_each_entry_alone():
    """Its end is the close code."""
    spelling = Frames()
    entries = spelling.position("", AT, gap=False)
    entries += [spelling.message("", each, gap=False) for each in TWO]
    entries += spelling.end("", 410, reason_of(410))
    assert [json.loads(each)["id"] for each in said(spelling, entries)] == [
        "1000-2",
        "1000-3",
        "1000-4",
    ]


def test_nchan_s_frames_are_messages_and_nothing_else():
    """It has no word for a position, a loss or an end."""
    spelling = NchanFrames()
    assert spelling.position("", AT, gap=True) == spelling.end("", 410, "") == []
    entry = spelling.message("", TWO[0], gap=True)
    assert said(spelling, [entry]) == ["id: 1000-3\n\n3"]


@pytest.mark.parametrize("kind", SOCKETS)
@pytest.mark.parametrize(
    ("status", "code"),
    [(None, 4000), (404, 4404), (409, 4409), (410, 4410), (413, 4413), (503, 4503)],
)
def test_sockets_end_with_a_code(kind: type[Spelling], status: int | None, code: int):
    """4000 for who shall come back."""
    final = kind().final(status)
    assert (final["type"], final["code"]) == ("websocket.close", code)
    assert len(final["reason"].encode()) <= 123  # RFC 6455


def test_a_socket_of_many_channels_shows_that_it_lives():
    """A page sees no pings; an empty array is nothing new."""
    assert MultiplexFrames().heartbeat() == {"type": "websocket.send", "text": "[]"}
    assert Frames().heartbeat() is NchanFrames().heartbeat() is None


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_end_complete(kind: type[Spelling]):
    """Whatever the reason."""
    assert kind().final(410) == {"type": "http.response.body", "body": b""}
    assert kind().heartbeat() is not None
