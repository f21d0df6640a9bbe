"""What a fan-out asks for again and again is worked out once."""

from pushserver.consumers.memo import remember_last, remember_texts


def test_the_same_object_is_answered_without_working():
    """Only the last argument is known, and only by identity."""
    asked = []

    @remember_last
    def length(argument: list[int]) -> int:
        asked.append(argument)
        return len(argument)

    first, twin = [1, 2], [1, 2]
    assert [length(first), length(first), length(twin), length(first)] == [2, 2, 2, 2]
    assert asked == [first, twin, first]


def test_the_first_call_works_whatever_it_is_given():
    """Nothing is taken for the argument of a call that never was."""
    assert remember_last(str)(None) == "None"


def test_recent_objects_are_answered_without_working():
    """By identity, and a megabyte of answers at most."""
    asked = []

    @remember_texts
    def repeat(argument: list[int]) -> str:
        asked.append(argument)
        return "x" * sum(argument)

    first, twin, large = [1, 2], [1, 2], [2**20]
    for _ in range(2):
        assert [repeat(first), repeat(twin)] == ["xxx", "xxx"]
    assert asked == [first, twin]
    assert len(repeat(large)) == len(repeat(large)) == 2**20
    assert asked == [first, twin, large]
    repeat(first)
    assert asked == [first, twin, large, first]
