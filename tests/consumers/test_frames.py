"""Messages as JSON objects: alone in a frame, or named in an array."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushserver.consumers import frames
from pushserver.messages import START, Cursor, Message

AT = Cursor(1000, 2)
JSON = "application/json"


def message(body: bytes, content_type: str | None = None, event: str | None = None):
    return Message(
        id=AT, previous=START, body=body, content_type=content_type, event=event
    )


def frame(*args: Any, head: str = "", **kwargs: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(frames.message_frame(head, *args, **kwargs))
    return found


def test_json_stands_as_it_was_published():
    """No number and no escape changes on the way."""
    text = frames.message_frame("", message(b'{"n": 1.50, "e": "\\u00e9"}', JSON))
    assert text == (
        '{"id":"1000-2","type":"application/json","data":{"n": 1.50, "e": "\\u00e9"}}'
    )


@pytest.mark.parametrize(
    "body",
    [b"{", b"NaN", b"[Infinity]", b"[" * 100_000, b"", b'"a\nb"', b"\xef\xbb\xbf1"],
)
def test_what_only_says_that_it_is_json_is_text(body: bytes):
    """It must not break the frame or the array that it stands in."""
    assert frame(message(body, JSON))["text"] == body.decode()


def test_a_number_that_python_refuses_is_json_all_the_same():
    """Browsers read it."""
    assert '"data":1' in frames.message_frame("", message(b"1" * 5000, JSON))


@pytest.mark.parametrize(
    ("body", "content_type", "member"),
    [
        (b"1", "application/vnd.api+json; charset=utf-8", "data"),
        (b"1", "text/plain", "text"),
        (b"a=1", "application/x-www-form-urlencoded", "text"),
        (b"<a/>", "application/atom+xml", "text"),
        (b"<a/>", "application/xml", "text"),
        (b"f()", "application/javascript", "text"),
        (b"f()", "text/javascript", "text"),
        (b"1", None, "text"),
        (b"\xff", None, "base64"),
        (b"\xff", JSON, "base64"),
        (b"1", "image/png", "base64"),
        (b"1", "application/jsonish", "base64"),
    ],
)
def test_the_content_type_says_how_the_body_is_told(
    body: bytes, content_type: str | None, member: str
):
    """As data, as text, or as base64."""
    found = frame(message(body, content_type))
    told = {"data": 1, "text": body.decode("latin-1")}
    told["base64"] = base64.b64encode(body).decode()
    assert found == {"id": "1000-2", "type": content_type, member: told[member]}


def test_an_entry_has_the_name_of_its_channel():
    """By its id or by the path of its URL, whatever is in it."""
    name = 'a"\\ü/\u2028'
    head = frames.channel_head("channel", name)
    assert frame(message(b"1", JSON), head=head)["channel"] == name
    head = frames.channel_head("url", "/updates/a")
    assert json.loads(frames.position(head, AT)) == {
        "url": "/updates/a",
        "id": "1000-2",
    }


def test_names_gaps_and_ends_are_members():
    """Each is there only when there is something to say."""
    assert frame(message(b"1", JSON, "vote"))["event"] == "vote"
    assert frame(message(b"1", JSON), gap=True)["gap"] is True
    assert json.loads(frames.position("", AT, gap=True)) == {
        "id": "1000-2",
        "gap": True,
    }
    error = json.loads(frames.error("", 410, "It is gone."))
    assert error == {"error": 410, "reason": "It is gone."}


def test_nchans_frames_have_a_head_of_their_own():
    """Text in text frames, anything else in binary ones."""
    assert frames.nchan_frame(message(b"news", "text/plain")) == (
        "id: 1000-2\ncontent-type: text/plain\n\nnews"
    )
    assert frames.nchan_frame(message(b"\xff")) == b"id: 1000-2\n\n\xff"


@given(st.binary(), st.sampled_from([JSON, "text/plain", None, "image/png"]))
def test_every_body_makes_a_frame(body: bytes, content_type: str | None):
    """Whatever was published, the frame is JSON."""
    assert frame(message(body, content_type))["id"] == "1000-2"
