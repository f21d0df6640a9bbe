"""Channel ids: which are accepted, and how they are spelled elsewhere."""

import pytest

from pushserver.exceptions import InvalidChannelId
from pushserver.names import group_name, quote_channel_id, validate_channel_id


@pytest.mark.parametrize(
    "channel_id", ["a", "A b", "x" * 255, "é/ü", "e\u0301", "...", "%2F", "\U0001f600"]
)
def test_any_text_is_a_channel_id(channel_id: str) -> None:
    """A text of 1 to 255 characters comes back exactly as it was."""
    assert validate_channel_id(channel_id) == channel_id


@pytest.mark.parametrize(
    ("channel_id", "reason"),
    [
        ("", "empty"),
        ("x" * 256, "256"),
        ("a\0b", "control character"),
        ("a\r\nb", "control character"),
        ("\x7f", "control character"),
        ("\x85", "control character"),
        ("\ud800", "surrogate"),
        (".", "URL"),
        ("..", "URL"),
        (5, "int"),
        (b"a", "bytes"),
        (None, "NoneType"),
    ],
)
def test_refused_channel_ids(channel_id: object, reason: str) -> None:
    """What is no channel id is refused, with what is accepted and why not."""
    with pytest.raises(InvalidChannelId, match=reason) as caught:
        validate_channel_id(channel_id)
    assert "1 to 255 characters" in str(caught.value)


def test_the_error_does_not_repeat_the_id() -> None:
    """A hostile id does not reach logs through the error."""
    with pytest.raises(InvalidChannelId) as caught:
        validate_channel_id("evil\n")
    assert "evil" not in str(caught.value)


def test_group_names_fit_every_layer() -> None:
    """The longest ids give names that Channels accepts: ASCII, under 100."""
    name = group_name("störe" * 50, "\U0001f600" * 255)
    assert name.startswith("pushserver.")
    assert name.isascii()
    assert len(name) < 100


def test_group_names_differ_by_store_and_by_id() -> None:
    """Two channels never share a group, however alias and id are cut."""
    pairs = [
        ("a", "b"),
        ("a", "c"),
        ("b", "b"),
        ("ab", "c"),
        ("a", "bc"),
        ("a\0b", "c"),
    ]
    assert len({group_name(*pair) for pair in pairs}) == len(pairs)
    assert group_name("a", "b") == group_name("a", "b")


def test_quoting_encodes_the_slash_too() -> None:
    """An id in a URL is percent-encoded UTF-8 and stays one path segment."""
    assert quote_channel_id("a/ü ?#%") == "a%2F%C3%BC%20%3F%23%25"
