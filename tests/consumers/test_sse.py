"""The bytes of an event stream, and what a client makes of them."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver.consumers import sse
from pushserver.messages import START, Cursor, Message
from tests.event_stream import Event, events

AT = Cursor(1000, 2)


def message(body: bytes, content_type: str | None = None, event: str | None = None):
    return Message(
        id=AT, previous=START, body=body, content_type=content_type, event=event
    )


def test_a_message_is_an_event_with_its_id():
    """The id is the cursor; the name is there when the message has one."""
    assert sse.message_event(message(b"news")) == b"id: 1000-2\ndata: news\n\n"
    named = sse.message_event(message(b"{}", "application/json", "vote"))
    assert named == b"id: 1000-2\nevent: vote\ndata: {}\n\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_each_kind_of_line_end_ends_a_data_line(end: str):
    """A client puts line feeds between them, and nothing else is read as a field."""
    body = f"a{end}id: 9-9{end}{end}event: x{end}".encode()
    [event] = events(sse.message_event(message(body)))
    assert event == Event(id="1000-2", data="a\nid: 9-9\n\nevent: x\n")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff", None),
        (b"\xff", "text/plain"),
        (b"text", "application/octet-stream"),
        (b"text", "text/plain; charset=iso-8859-1"),
    ],
)
def test_what_is_no_text_is_base64_and_says_so(body: bytes, content_type: str | None):
    """Under a name of ours, which the message's own name follows."""
    [event] = events(sse.message_event(message(body, content_type)))
    assert event.event == "pushserver.base64"
    assert base64.b64decode(event.data) == body
    [event] = events(sse.message_event(message(body, content_type, "photo")))
    assert event.event == "pushserver.base64:photo"


def test_a_stream_opens_with_a_position_and_no_event():
    """A client takes the id and the time to come back, and dispatches nothing."""
    opening = sse.opening(AT, retry=1500)
    assert opening == b"retry: 1500\nid: 1000-2\n\n"
    assert events(opening) == []
    assert events(sse.COMMENT) == []


def test_a_loss_and_an_end_are_events_of_ours():
    """Neither has an id: they move nobody."""
    lost, gone = events(sse.gap(AT) + sse.ending("deleted", 410))
    assert lost == Event(event="pushserver.gap", data="1000-2")
    assert gone == Event(event="pushserver.deleted", data="410")


def test_data_alone_is_an_event_without_an_id():
    """As many channels in one stream need it."""
    [event] = events(sse.data_event('[{"data":\r\n1}]'))
    assert event.id is None
    assert json.loads(event.data) == [{"data": 1}]


def test_messages_stand_one_after_another():
    """A delivery of several is one piece of the stream."""
    found = events(b"".join(map(sse.message_event, [message(b"a"), message(b"b")])))
    assert [event.data for event in found] == ["a", "b"]


@given(st.text())
def test_no_text_injects_anything(body: str):
    """Whatever is published comes out as the data of one event, line ends aside."""
    [event] = events(sse.message_event(message(body.encode())))
    unified = body.replace("\r\n", "\n").replace("\r", "\n")
    assert event == Event(id="1000-2", data=unified)
