from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from pushserver.engine.tails import Tail
from pushserver.messages import START, Cursor, Message

NOW = 1_000_000.0
MIB = 1024 * 1024


def position(number: int) -> Cursor:
    return Cursor(int(NOW * 1000), number)


def message(
    number: int, *, previous: int | None = None, kept: bool = True, size: int = 1
) -> Message:
    before = number - 1 if previous is None else previous
    return Message(
        id=position(number), previous=position(before), body=b"x" * size, kept=kept
    )


def messages(first: int, last: int) -> list[Message]:
    return [message(number) for number in range(first, last + 1)]


def tail(newest: int = 0, *, most: int = 100, timeout: float = 3600) -> Tail:
    return Tail(
        position(newest),
        max_messages=most,
        message_timeout=timeout,
        transient_timeout=10,
    )


def numbers(found: Sequence[Message] | None) -> list[int] | None:
    return None if found is None else [each.id.sequence for each in found]


def test_an_empty_tail_answers_only_for_where_it_begins():
    """It knows that nothing is after its newest id, and nothing else."""
    empty = tail(5)
    assert numbers(empty.after(position(5), NOW)) == []
    assert empty.after(position(4), NOW) is None
    assert empty.after(position(6), NOW) is None
    assert empty.after(START, NOW) is None


def test_it_answers_from_just_before_its_first_message():
    """A cursor at the first message's previous id gets all of them."""
    full = tail(3)
    full.extend(messages(4, 6))
    assert numbers(full.after(position(3), NOW)) == [4, 5, 6]
    assert numbers(full.after(position(5), NOW)) == [6]
    assert numbers(full.after(position(6), NOW)) == []
    assert full.after(position(2), NOW) is None
    assert full.after(position(7), NOW) is None


def test_a_cursor_between_two_ids_gets_what_follows():
    """A cursor need not be the id of a message."""
    full = tail(0)
    full.extend([message(2, previous=0), message(9, previous=2)])
    assert numbers(full.after(position(5), NOW)) == [9]
    assert numbers(full.after(Cursor(position(0).milliseconds, 1), NOW)) == [2, 9]


def test_what_is_read_twice_is_added_once():
    """Overlapping reads leave each message once, and say what was new."""
    full = tail(0)
    assert numbers(full.extend(messages(1, 3))) == [1, 2, 3]
    assert numbers(full.extend(messages(2, 5))) == [4, 5]
    assert numbers(full.extend(messages(1, 5))) == []
    assert numbers(full.after(position(0), NOW)) == [1, 2, 3, 4, 5]


def test_a_hole_before_what_was_read_begins_the_tail_anew():
    """What was there before the hole is no longer answered for."""
    full = tail(0)
    full.extend(messages(1, 3))
    assert numbers(full.extend(messages(7, 8))) == [7, 8]
    assert full.start == position(6)
    assert full.after(position(3), NOW) is None
    assert numbers(full.after(position(6), NOW)) == [7, 8]


def test_a_hole_within_what_was_read_begins_the_tail_anew():
    """A message that was dropped in the middle leaves no tail across its place."""
    full = tail(0)
    read = [*messages(1, 2), *messages(5, 6), *messages(8, 9)]
    assert numbers(full.extend(read)) == [1, 2, 5, 6, 8, 9]
    assert full.start == position(7)
    assert full.after(position(2), NOW) is None
    assert full.after(position(6), NOW) is None
    assert numbers(full.after(position(7), NOW)) == [8, 9]


def test_it_holds_the_newest_messages_only():
    """Beyond its limit the oldest go, and their readers are sent to the store."""
    full = tail(0, most=3)
    full.extend(messages(1, 5))
    assert full.after(position(1), NOW) is None
    assert numbers(full.after(position(2), NOW)) == [3, 4, 5]
    full.extend(messages(6, 6))
    assert full.after(position(2), NOW) is None


def test_it_holds_about_a_mebibyte():
    """Large messages push out the old ones; the newest stays whatever its size."""
    full = tail(0)
    full.extend([message(number, size=MIB // 4) for number in range(1, 7)])
    assert numbers(full.after(position(2), NOW)) == [3, 4, 5, 6]
    assert full.after(position(1), NOW) is None
    full.extend([message(7, size=5 * MIB)])
    assert numbers(full.after(position(6), NOW)) == [7]
    assert full.after(position(5), NOW) is None
    # What went is not counted any more.
    full.extend([message(number, size=1) for number in range(8, 20)])
    full.extend([message(number, size=1) for number in range(20, 30)])
    assert numbers(full.after(position(7), NOW)) == list(range(8, 30))


def test_an_old_message_sends_the_reader_to_the_store():
    """The store may have dropped it: only the store knows."""
    full = tail(0, timeout=60)
    full.extend(messages(1, 1))
    late = Message(id=Cursor(int((NOW + 30) * 1000), 0), previous=position(1), body=b"")
    full.extend([late])
    assert len(full.after(position(0), NOW + 59.9) or ()) == 2
    assert full.after(position(0), NOW + 60) is None
    assert full.after(position(1), NOW + 60) == [late]
    assert full.after(position(1), NOW + 90) is None
    assert full.after(late.id, NOW + 1e9) == ()


def test_without_an_age_limit_messages_stay():
    """A message_timeout of 0 is no limit."""
    full = tail(0, timeout=0)
    full.extend(messages(1, 1))
    assert numbers(full.after(position(0), NOW + 1e9)) == [1]


def test_waived_storage_is_answered_for_the_cursor_just_before_it():
    """A date or an older cursor never gets it, nor does anybody after its time."""
    full = tail(4)
    full.extend([message(7, previous=4, kept=False), message(8)])
    assert numbers(full.after(position(4), NOW)) == [7, 8]
    assert full.after(position(5), NOW) is None
    assert full.after(position(4), NOW + 10) is None
    assert numbers(full.after(position(7), NOW + 10)) == [8]


def test_waived_storage_behind_a_kept_message_has_its_time_too():
    """A reader further behind does not get what the store has dropped."""
    full = tail(4)
    full.extend([message(5), message(6, kept=False), message(7)])
    assert numbers(full.after(position(4), NOW + 9)) == [5, 6, 7]
    assert full.after(position(4), NOW + 10) is None


def test_clearing_begins_anew():
    """Nothing is held, and the byte count begins at zero."""
    full = tail(0)
    full.extend([message(1, size=MIB)])
    full.clear(position(3))
    assert full.newest == full.start == position(3)
    full.extend([message(4, size=MIB // 2), message(5, size=MIB // 2)])
    assert numbers(full.after(position(3), NOW)) == [4, 5]


@given(
    reads=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12)), max_size=12),
    most=st.integers(1, 10),
    cursor=st.integers(0, 45),
)
@settings(max_examples=100)
def test_it_never_answers_with_less_than_all(
    reads: list[tuple[int, int]], most: int, cursor: int
):
    """Whatever is read in whatever order, an answer is all up to the newest id."""
    full = tail(0, most=most)
    for first, count in reads:
        full.extend(messages(first, first + count - 1))
    found = full.after(position(cursor), NOW)
    newest = full.newest.sequence
    assert len(full.after(full.start, NOW) or ()) <= most
    if found is not None:
        assert numbers(found) == list(range(cursor + 1, newest + 1))
