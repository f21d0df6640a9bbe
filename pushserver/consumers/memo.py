"""Remembering answers: readers ask for the encoding of one message many times. Pure.

By identity: a hash of a message costs more than most of a delivery.
"""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["remember_last", "remember_texts"]

_MOST = 2**20  # characters: some thousand messages as they mostly are

Argument = TypeVar("Argument")
Result = TypeVar("Result")


def remember_last(
    function: Callable[[Argument], Result],
) -> Callable[[Argument], Result]:
    """Have the function answer for the very object of the last call without working.

    For a fan-out. The last argument and its result stay alive until the next call.
    """
    last: tuple[object, Result | None] = (object(), None)

    def remembering(argument: Argument) -> Result:
        nonlocal last
        known, result = last
        if known is not argument:
            result = function(argument)
            # One assignment, for threads that each have a loop.
            last = argument, result
        return result  # type: ignore[return-value]

    return remembering


def remember_texts(function: Callable[[Argument], str]) -> Callable[[Argument], str]:
    """Have the function answer for the very objects of recent calls without working.

    For readers that come for the same messages, each in its own time. A megabyte of
    results is remembered, with their arguments; what would be more begins anew.
    """
    known: dict[int, tuple[Argument, str]] = {}
    size = 0

    def remembering(argument: Argument) -> str:
        nonlocal size
        # The id is nobody else's while the argument is remembered.
        if (found := known.get(id(argument))) is not None:
            return found[1]
        text = function(argument)
        size += len(text)
        if size > _MOST:
            known.clear()
            size = len(text)
        known[id(argument)] = argument, text
        return text

    return remembering
