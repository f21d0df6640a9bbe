import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pushserver.exceptions import InvalidCursor
from pushserver.messages import (
    MAX_SEQUENCE,
    START,
    Cursor,
    Message,
    read_cursor,
)

EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"
SECOND = 1_700_000_000
DATE = "Tue, 14 Nov 2023 22:13:20 GMT"

cursors = st.builds(
    Cursor,
    st.integers(min_value=0, max_value=MAX_SEQUENCE),
    st.integers(min_value=0, max_value=MAX_SEQUENCE),
)


def test_cursors_are_ordered_as_numbers():
    """Both halves count by value, the first one more."""
    assert START < Cursor(9, 0) < Cursor(10, 0) < Cursor(10, 9) < Cursor(10, 10)


@given(cursor=cursors)
@settings(max_examples=50)
def test_a_cursor_survives_its_text_and_its_etag(cursor: Cursor):
    """What is sent as an id or a tag comes back as the same cursor."""
    assert Cursor.parse(str(cursor)) == cursor
    assert read_cursor(if_none_match=cursor.etag) == cursor


def test_zero_is_the_start():
    """A bare 0 is the position before everything, as 0-0 is."""
    assert Cursor.parse("0") == Cursor.parse("0-0") == START


ARABIC_ONE = "\N{ARABIC-INDIC DIGIT ONE}"
WRONG = (
    *("", "1", "-", "1-", "-1", "1-2-3", "a-b", "+1-2", "-1-2", "1_0-2", "0x1-2", "*"),
    *("1-2\n", " 1-2", "1 -2", "1-2\x00", "1.0-2", f"{ARABIC_ONE}-{ARABIC_ONE}"),
    *(f"{2**64}-0", f"0-{2**64}", f"{'0' * 21}-0", f"{'9' * 5000}-1"),
)


@pytest.mark.parametrize("text", WRONG)
def test_anything_else_is_no_cursor(text: str):
    """A malformed cursor is refused, and the error says what is accepted."""
    with pytest.raises(InvalidCursor, match="accepted: <milliseconds>-<number>"):
        Cursor.parse(text)


def test_the_largest_id_is_accepted():
    """Both halves go up to that of a Redis stream."""
    largest = f"{MAX_SEQUENCE}-{MAX_SEQUENCE}"
    assert str(Cursor.parse(largest)) == largest


def test_the_error_repeats_only_the_beginning():
    """A megabyte of cursor does not end up in an answer or a log."""
    with pytest.raises(InvalidCursor) as error:
        Cursor.parse("x" * 1_000_000)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    ("cursor", "date"),
    [
        (START, EPOCH),
        (Cursor(SECOND * 1000, 0), DATE),
        (Cursor(SECOND * 1000 + 999, 5), DATE),
        (Cursor(MAX_SEQUENCE, 0), "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
)
def test_last_modified_is_the_instant_of_the_id(cursor: Cursor, date: str):
    """The date is that of the id, in whole seconds and in English."""
    assert cursor.last_modified == date


@given(pair=st.tuples(cursors, cursors))
@settings(max_examples=50)
def test_last_modified_never_decreases(pair: tuple[Cursor, Cursor]):
    """A later id never has an earlier date."""
    earlier, later = sorted(pair)
    before = read_cursor(if_modified_since=earlier.last_modified)
    after = read_cursor(if_modified_since=later.last_modified)
    assert before is not None
    assert after is not None
    assert before <= after


def test_a_position_made_of_a_date_gives_the_date_back():
    """A reader that sends only dates stays in the second that it asked for."""
    assert Cursor.before_second(SECOND).last_modified == DATE


def test_nothing_is_before_1970():
    """Dates up to the epoch are the start."""
    assert Cursor.before_second(0) == Cursor.before_second(-5) == START


@pytest.mark.parametrize(
    "content_type", [None, "", "text/plain; charset=utf-8", "a/b;\tc=d", "x" * 255]
)
def test_content_types_that_a_header_can_carry(content_type: str | None):
    """Printable ASCII of up to 255 characters is taken as it is."""
    message = Message(id=START, previous=START, body=b"", content_type=content_type)
    assert message.content_type == content_type


@pytest.mark.parametrize(
    "content_type",
    ["a/b\r\nSet-Cookie: x=y", "a/b\n", "a\x00b", "a/b\x7f", "text/plän", "x" * 256],
)
def test_a_content_type_cannot_inject_a_header(content_type: str):
    """What would end the header or is not ASCII is refused."""
    with pytest.raises(ValueError, match="no content type; accepted"):
        Message(id=START, previous=START, body=b"", content_type=content_type)


@pytest.mark.parametrize(
    "event",
    ["vote\ndata: x", "a\rb", "\x00", "a\u2028b", "", "x" * 256, "pushserver.gap"],
)
def test_an_event_name_cannot_inject_a_line(event: str):
    """A line break of any kind is refused, and so is a name of the server's own."""
    with pytest.raises(ValueError, match="no event name; accepted"):
        Message(id=START, previous=START, body=b"", event=event)


def test_an_event_name_may_be_any_printable_text():
    """Event names are not limited to ASCII."""
    assert Message(id=START, previous=START, body=b"", event="Größe 1").event


@pytest.mark.parametrize(
    "tag",
    [
        '"12-3"',
        "12-3",
        'W/"12-3"',
        "W/12-3",
        '  "12-3" ',
        '"12-3-gzip"',
        '"12-3"-gzip',
        '"12-3--gzip"',
        'W/"12-3;gzip"',
        '"12-3-br"',
        '"12-3-zstd"',
        '"12-3-deflate"',
    ],
)
def test_a_tag_is_read_in_every_form_that_a_proxy_makes_of_it(tag: str):
    """Quoted or not, weakened, and with the suffix of a compressing proxy."""
    assert read_cursor(if_none_match=tag) == Cursor(12, 3)


@pytest.mark.parametrize("tag", ['"12-3', '12-3"', '"1-2", "3-4"', "*", '""', "12-3x"])
@pytest.mark.parametrize("date", [None, DATE])
def test_a_malformed_tag_is_refused(tag: str, date: str | None):
    """With a date or without, a tag that is no cursor is an error."""
    with pytest.raises(InvalidCursor):
        read_cursor(if_none_match=tag, if_modified_since=date)


def test_a_bare_number_with_a_date_is_after_that_second_and_number():
    """The clients of the predecessor send a counter and the date it counts in."""
    assert read_cursor(if_none_match="0", if_modified_since=EPOCH) == START
    read = read_cursor(if_none_match='"7"', if_modified_since=DATE)
    assert read == Cursor(SECOND * 1000, 7)
    with pytest.raises(InvalidCursor):
        read_cursor(if_none_match="9" * 50, if_modified_since=DATE)


def test_a_bare_number_with_a_date_before_1970_is_read():
    """A date before the epoch counts as the epoch."""
    date = "Wed, 31 Dec 1969 23:59:59 GMT"
    assert read_cursor(if_none_match="3", if_modified_since=date) == Cursor(0, 3)


def test_a_date_alone_is_before_its_second():
    """The first message of that second comes next."""
    read = read_cursor(if_modified_since=DATE)
    assert read == Cursor(SECOND * 1000 - 1, MAX_SEQUENCE)


@pytest.mark.parametrize("date", ["yesterday", "0", "Tue, 14 Nov 20233", "\xff" * 500])
def test_a_malformed_date_is_refused(date: str):
    """The error says that a date was expected."""
    with pytest.raises(InvalidCursor, match="accepted: an HTTP date"):
        read_cursor(if_modified_since=date)


def test_the_tag_wins_over_the_date_and_both_over_the_others():
    """If-None-Match, then If-Modified-Since, then the rest in order."""
    others = ("3-0", "4-0")
    assert read_cursor(
        if_none_match='"1-0"', if_modified_since=DATE, others=others
    ) == Cursor(1, 0)
    assert read_cursor(if_modified_since=EPOCH, others=others) == START
    assert read_cursor(others=others) == Cursor(3, 0)
    assert read_cursor(others=(None, "", "4-0")) == Cursor(4, 0)


def test_a_request_may_have_no_cursor():
    """Empty values count as absent."""
    assert read_cursor() is None
    assert read_cursor(if_none_match="", if_modified_since="", others=(None,)) is None


@given(
    tag=st.text(max_size=40) | st.none(),
    date=st.text(max_size=40) | st.none(),
    other=st.text(max_size=40) | st.none(),
)
@settings(max_examples=200)
def test_whatever_a_client_sends_is_a_cursor_or_refused(
    tag: str | None, date: str | None, other: str | None
):
    """No header makes anything but InvalidCursor come out."""
    try:
        read = read_cursor(if_none_match=tag, if_modified_since=date, others=(other,))
    except InvalidCursor:
        return
    assert read is None or START <= read <= Cursor(MAX_SEQUENCE, MAX_SEQUENCE)


@pytest.mark.parametrize(
    ("content_type", "is_text", "is_json"),
    [
        (None, True, False),
        ("text/plain", True, False),
        ('TEXT/HTML; Charset="UTF-8"', True, False),
        ("application/json", True, True),
        ("text/json;x=y", True, True),
        ("application/problem+json", True, True),
        ("image/svg+xml", False, False),
        ("application/xml", True, False),
        ("text/plain; charset=latin1", False, False),
        ("application/octet-stream", False, False),
    ],
)
def test_what_is_text_and_what_is_json(
    content_type: str | None, is_text: bool, is_json: bool
):
    """By the content type, as long as the bytes are UTF-8."""
    message = Message(id=START, previous=START, body=b"1", content_type=content_type)
    assert (message.text, message.is_json) == ("1" if is_text else None, is_json)
    binary = Message(id=START, previous=START, body=b"\xff", content_type=content_type)
    assert binary.text is None
