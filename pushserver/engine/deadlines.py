"""Many deadlines with few timers: those of one tenth of a second share one.

A timer of its own costs a held request 5 us and four objects, which every garbage
collection walks; a place in a dictionary costs neither.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from math import ceil
from weakref import ref

__all__ = ["GRAIN", "Callback", "Due", "call_in", "spread"]

logger = logging.getLogger(__name__)

GRAIN = 0.1
"""The seconds by which a deadline may be late; it is never early."""

# Of a time, at random: who came together shall not come back together.
_SPREAD = 0.2

Callback = Callable[[], None]
Due = dict[Callback, None]
"""What is called at the same time, in the order of its coming."""


class _Slots(threading.local):
    """Those of the loop that this thread runs; a dictionary of loops takes 1 us."""

    loop: Callable[[], asyncio.AbstractEventLoop | None] = staticmethod(lambda: None)
    by_number: dict[int, Due]


_slots = _Slots()


def call_in(loop: asyncio.AbstractEventLoop, seconds: float, callback: Callback) -> Due:
    """Have the loop call back in so many seconds.

    Returns what to take the callback out of when it is not wanted any more.
    """
    if _slots.loop() is not loop:
        # Another loop of this thread goes on with those that it has begun.
        _slots.loop, _slots.by_number = ref(loop), {}
    slots = _slots.by_number
    number = ceil((loop.time() + seconds) / GRAIN)
    due = slots.get(number)
    if due is None:
        due = slots[number] = {}
        loop.call_at(number * GRAIN, _call, slots, number)
    due[callback] = None
    return due


def _call(slots: dict[int, Due], number: int) -> None:
    for callback in list(slots.pop(number)):
        try:
            callback()
        except Exception:
            logger.exception("A deadline failed")  # the others of its time are called


def spread(seconds: float) -> float:
    """Return 80 to 100 % of the time, so that those who were held spread."""
    return seconds * (1 - _SPREAD * random.random())
