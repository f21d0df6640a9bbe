"""Who in this process waits on what: no layer, no store."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pushserver.messages import Cursor, Message
from pushserver.names import group_name

__all__ = [
    "Delivery",
    "Ending",
    "Follower",
    "Key",
    "Membership",
    "News",
    "Outcome",
    "Waiter",
    "Waiters",
]

Key = tuple[str, str]
"""What names a channel within a process: its store's alias and its id."""


class Ending(Enum):
    """Why a wait ended without a message."""

    DEADLINE = auto()
    DELETED = auto()
    CONFLICT = auto()
    SHUTDOWN = auto()


@dataclass(frozen=True, slots=True)
class Delivery:
    """Messages in id order, never none; ``gap`` says that some before were lost."""

    messages: Sequence[Message]
    gap: bool = False


Outcome = Delivery | Ending

News = Callable[[Outcome | None], None]
"""Called with what a follower is told; None: it has lost something, and shall look."""


class Waiter:
    """What is parked for one held request. It ends once; the first end counts.

    ``seen`` is the id up to which its reader knows the channel, ``gap`` that it has
    lost something and was not told yet. ``on_end`` is called in the event loop, in
    the middle of a fan-out: it must only schedule what it has to do.
    """

    __slots__ = ("gap", "on_end", "outcome", "seen")

    def __init__(self, seen: Cursor, *, gap: bool) -> None:
        self.seen = seen
        self.gap = gap
        self.outcome: Outcome | None = None
        self.on_end: Callable[[], None] | None = None

    def end(self, outcome: Outcome) -> None:
        """Give the wait its outcome and wake who waits; no-op when it has one."""
        if self.outcome is None:
            self.outcome = outcome
            if self.on_end is not None:
                self.on_end()

    def move(self, newest: Cursor, *, lost: bool) -> None:
        """Go on from another id without its message, which was ``lost`` or none."""
        self.gap = self.gap or lost
        self.seen = newest


class Follower(Waiter):
    """What stays parked for a stream: deliveries pass by it, until it ends.

    ``on_news`` is called like ``on_end``, and so often as something comes.
    """

    __slots__ = ("_on_news", "_waiters")

    def __init__(self, seen: Cursor, waiters: "Waiters", on_news: News) -> None:
        super().__init__(seen, gap=False)
        self._waiters = waiters
        self._on_news = on_news

    def end(self, outcome: Outcome) -> None:
        if self.outcome is not None:
            return
        if isinstance(outcome, Delivery):
            self.seen = outcome.messages[-1].id
            self.gap = outcome.gap
            # In the same step of the loop in which it was taken out.
            self._waiters.park(self)
        else:
            self.outcome = outcome
        self._on_news(outcome)

    def move(self, newest: Cursor, *, lost: bool) -> None:
        super().move(newest, lost=lost)
        if self.gap:
            self._on_news(None)


class Waiters:
    """The waiters parked on one channel, in the order of their coming."""

    __slots__ = ("_parked",)

    def __init__(self) -> None:
        self._parked: dict[Waiter, None] = {}

    def __len__(self) -> int:
        return len(self._parked)

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._parked

    def __iter__(self) -> Iterator[Waiter]:
        return iter(self._parked)

    def park(self, waiter: Waiter) -> None:
        """Add a waiter that has read the history and found nothing."""
        self._parked[waiter] = None

    def discard(self, waiter: Waiter) -> None:
        """Remove a waiter; no-op when it is not parked."""
        self._parked.pop(waiter, None)

    def end_all(self, outcome: Outcome) -> None:
        """End every waiter alike."""
        for waiter in self.take():
            waiter.end(outcome)

    def take(self) -> list[Waiter]:
        """Remove and return all waiters: from now on nobody is held."""
        taken = list(self._parked)
        self._parked.clear()
        return taken


class Membership:
    """One channel that has, or just had, readers on this hub's loop."""

    __slots__ = ("changing", "doubted", "group", "joined_at", "key", "leaving",
                 "left_at", "on_wakeup", "readers", "requested_at",
                 "waiters")  # fmt: skip

    def __init__(self, key: Key, on_wakeup: Callable[[], None]) -> None:
        self.key = key
        self.group = group_name(*key)
        self.on_wakeup = on_wakeup
        self.waiters = Waiters()
        self.readers = 0
        self.requested_at = 0.0  # when a reader last came
        self.left_at = 0.0  # when the last reader left
        self.joined_at: float | None = None  # None while we are not in the group
        # The join or leave under way: one at a time, or the layer might swap them.
        self.changing: asyncio.Task[None] | None = None
        self.leaving = False
        # Something was published from this loop, and its wake-up is still under way.
        self.doubted = False

    def enter(self, now: float) -> None:
        """Count a reader that comes now."""
        self.readers += 1
        self.requested_at = now
