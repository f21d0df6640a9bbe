"""What a fan-out asks for again and again is worked out once."""

from pushserver.memo import remember_last


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
