"""Signs of life of silent streams: one timer for an event loop, not one a stream."""

import asyncio
from collections.abc import Callable

from pushserver.forks import forget_in_child

__all__ = ["Heartbeats", "heartbeats"]

# Streams are spread over so many turns, so that ten thousand do not write at once.
_TURNS = 30


class Heartbeats:
    """Calls each of its beats once every ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause = seconds / _TURNS
        self._turns: list[dict[Callable[[], None], None]] = [{} for _ in range(_TURNS)]
        self._turn = 0
        self._timer: asyncio.TimerHandle | None = None
        self._beats = 0

    def add(self, beat: Callable[[], None]) -> Callable[[], None]:
        """Call it from now on, first after ``seconds``; the result ends that."""
        # The turn that was just taken is the one that comes last.
        turn = self._turns[self._turn - 1]
        turn[beat] = None
        self._beats += 1
        if self._timer is None:
            self._timer = self._loop.call_later(self._pause, self._take_turn)

        def remove() -> None:
            del turn[beat]
            self._beats -= 1

        return remove

    def _take_turn(self) -> None:
        beats, self._turn = self._turns[self._turn], (self._turn + 1) % _TURNS
        for beat in list(beats):
            beat()
        # Nobody's timer keeps a loop busy.
        self._timer = (
            self._loop.call_later(self._pause, self._take_turn) if self._beats else None
        )


_by_loop: dict[tuple[asyncio.AbstractEventLoop, float], Heartbeats] = {}
forget_in_child(_by_loop)


def heartbeats(seconds: float) -> Heartbeats:
    """Return those of the running loop at this pace."""
    loop = asyncio.get_running_loop()
    for known in [each for each in _by_loop if each[0].is_closed()]:
        del _by_loop[known]
    found = _by_loop.get((loop, seconds))
    if found is None:
        found = _by_loop[loop, seconds] = Heartbeats(seconds)
    return found
