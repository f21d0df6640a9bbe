"""What a poll's answer says of its message, and of where its reader is."""

from pushserver.consumers import answers
from pushserver.messages import START, Cursor, Message

AT = Cursor(1_767_225_600_123, 4)


def test_a_message_has_its_position_its_size_and_its_type():
    """All but what depends on who asks."""
    message = Message(id=AT, previous=START, body=b"news", content_type="text/plain")
    assert dict(answers.delivered(message, gap=False)) == {
        b"etag": b'"1767225600123-4"',
        b"last-modified": b"Thu, 01 Jan 2026 00:00:00 GMT",
        b"cache-control": b'no-store, etag="1767225600123-4"',
        b"content-length": b"4",
        b"content-type": b"text/plain",
    }


def test_what_is_not_known_is_not_said():
    """A message without a type has none; a loss is a header of its own."""
    message = Message(id=AT, previous=START, body=b"")
    headers = dict(answers.delivered(message, gap=True))
    assert b"content-type" not in headers
    assert headers[b"x-push-gap"] == b"1"
    assert b"x-push-gap" not in dict(answers.position(AT, gap=False))
