import pytest

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Store, reachable

BORN = Cursor(5, 0)


def message(number: int, *, kept: bool, previous: Cursor | None = None) -> Message:
    before = Cursor(10, number - 1) if previous is None else previous
    return Message(id=Cursor(10, number), previous=before, body=b"", kept=kept)


KEPT = message(1, kept=True, previous=BORN)
WAIVED = message(2, kept=False)
AGAIN = message(3, kept=False)
LAST = message(4, kept=True)


def test_a_store_is_told_what_it_lacks():
    """A class without the methods of the contract cannot be used."""
    with pytest.raises(TypeError, match="append"):
        Store()  # type: ignore[abstract]


def test_waived_messages_are_reached_one_by_one():
    """Each only after the one before it."""
    everything = [KEPT, WAIVED, AGAIN, LAST]
    assert reachable(everything, START, born=BORN) == everything
    assert reachable(everything[1:], KEPT.id, born=BORN) == everything[1:]
    assert reachable([WAIVED, AGAIN, LAST], START, born=BORN) == [LAST]
    assert reachable([AGAIN, LAST], KEPT.id, born=BORN) == [LAST]


@pytest.mark.parametrize(
    ("after", "found"), [(START, 0), (Cursor(1, 0), 1), (Cursor(4, 9), 1), (BORN, 1)]
)
def test_a_first_message_is_for_every_cursor_but_the_start(after: Cursor, found: int):
    """Nothing is before it that such a reader could have missed here."""
    first = message(1, kept=False, previous=BORN)
    assert len(reachable([first], after, born=BORN)) == found
