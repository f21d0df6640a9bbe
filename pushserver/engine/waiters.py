"""Who in this process waits on what: no layer, no store."""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from pushserver.messages import Cursor, Message
from pushserver.names import group_name
from pushserver.stores.base import Appended

__all__ = [
    "Audience",
    "Delivery",
    "Ending",
    "Follower",
    "Key",
    "Members",
    "Membership",
    "OnWakeup",
    "Outcome",
    "Reading",
    "Waiter",
    "Waiters",
    "Write",
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

OnWakeup = Callable[[Appended | None], None]
"""Called with what was published from this loop; None: somebody else did something."""


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


class Reading(Protocol):
    """Whom a follower tells, in the middle of a fan-out: it must only note it."""

    def hear(self, outcome: Outcome | None) -> None:
        """Note what came; None: there is something, and it shall look."""

    def stand_at(self, given: Cursor) -> None:
        """Note that the client was given everything up to here, and nothing else."""


class Follower(Waiter):
    """What stays parked for a stream: deliveries pass by it, until it ends."""

    __slots__ = ("_reading", "_waiters")

    def __init__(self, seen: Cursor, waiters: "Waiters", reading: Reading) -> None:
        super().__init__(seen, gap=False)
        self._waiters = waiters
        self._reading = reading

    def let_go(self) -> None:
        """Refer no longer to whom it told: it is parked no more, and told nothing."""
        del self._reading

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
        self._reading.hear(outcome)

    def move(self, newest: Cursor, *, lost: bool) -> None:
        super().move(newest, lost=lost)
        if self.gap:
            self._reading.hear(None)

    def part(self, given: Cursor, seen: Cursor) -> None:
        """Stand for itself again, at another place than its client, maybe."""
        self.seen = seen
        self._reading.stand_at(given)

    def fall_behind(self, given: Cursor, seen: Cursor) -> None:
        """Part from an audience whose next message its client cannot take now."""
        self.part(given, seen)
        self._waiters.park(self)
        self._reading.hear(None)


Members = dict[Follower, Any]
"""Followers, each with what its audience writes to."""

Write = Callable[[Members, Sequence[Message]], Iterable[tuple[Cursor, list[Follower]]]]
"""Writes messages in pieces; yields for each up to where it goes, and who is busy."""


class Audience(Waiter):
    """Followers that are told together: one waiter stands for them all.

    Their clients were given everything up to ``seen``, which is the newest message
    that the channel is known to have. So a delivery is one write for each of them, and
    nothing is noted. Who is busy, and all of them where something is lost or ends,
    stand for themselves again.
    """

    __slots__ = ("_kind", "_waiters", "_write", "members")

    def __init__(
        self, seen: Cursor, waiters: "Waiters", kind: Hashable, write: Write
    ) -> None:
        super().__init__(seen, gap=False)
        self.members: Members = {}
        self._waiters = waiters
        self._kind = kind
        self._write = write

    def end(self, outcome: Outcome) -> None:
        if isinstance(outcome, Ending) or outcome.gap:
            for follower in self._part():
                follower.end(outcome)
            return
        given, self.seen = self.seen, outcome.messages[-1].id
        # In the same step of the loop in which it was taken out.
        self._waiters.gather(self._kind, self)
        for reached, busy in self._write(self.members, outcome.messages):
            for follower in busy:
                self._waiters.discard(follower)
                follower.fall_behind(given, self.seen)
            given = reached

    def move(self, newest: Cursor, *, lost: bool) -> None:
        if lost:
            for follower in self._part():
                self._waiters.park(follower)
                follower.move(newest, lost=lost)
        else:
            self.seen = newest

    def _part(self) -> list[Follower]:
        parted = list(self.members)
        for follower in parted:
            self._waiters.discard(follower)
            follower.part(self.seen, self.seen)
        self.members.clear()
        return parted


class Waiters:
    """The waiters parked on one channel, in the order of their coming."""

    __slots__ = ("_audiences", "_parked")

    def __init__(self) -> None:
        self._parked: dict[Waiter, None] = {}
        self._audiences: dict[Hashable, Audience] = {}

    def __len__(self) -> int:
        held = len(self._parked)
        for audience in self._audiences.values():
            held += len(audience.members)
        return held

    def __contains__(self, waiter: Waiter) -> bool:
        return waiter in self._parked or any(
            waiter in audience.members for audience in self._audiences.values()
        )

    def __iter__(self) -> Iterator[Waiter]:
        return iter([*self._audiences.values(), *self._parked])

    def park(self, waiter: Waiter) -> None:
        """Add a waiter that has read the history and found nothing."""
        self._parked[waiter] = None

    def discard(self, waiter: Waiter) -> None:
        """Remove a waiter; no-op when it is not parked."""
        if waiter in self._parked:
            del self._parked[waiter]
            return
        if not self._audiences:  # as with polls that were just answered
            return
        for kind, audience in list(self._audiences.items()):
            audience.members.pop(waiter, None)  # type: ignore[call-overload]
            if not audience.members:
                del self._audiences[kind]

    def join(
        self, follower: Follower, writer: Any, kind: Hashable, write: Write
    ) -> None:
        """Have a follower told with those of its kind, whose ``write`` is the same.

        Its client was given the channel's newest message that is known here.
        """
        self.discard(follower)  # before: an audience ends with its last member
        audience = self._audiences.get(kind)
        if audience is None:
            audience = Audience(follower.seen, self, kind, write)
            self._audiences[kind] = audience
        audience.members[follower] = writer

    def gather(self, kind: Hashable, audience: Audience) -> None:
        """Park an audience again."""
        self._audiences[kind] = audience

    def end_all(self, outcome: Outcome) -> None:
        """End every waiter alike."""
        for waiter in self.take():
            waiter.end(outcome)

    def take(self) -> list[Waiter]:
        """Remove and return all waiters: from now on nobody is held."""
        taken = list(self)
        self._parked.clear()
        self._audiences.clear()
        return taken


class Membership:
    """One channel that has, or just had, readers on this hub's loop."""

    __slots__ = ("changing", "group", "joined_at", "key", "leaving", "left_at",
                 "on_wakeup", "readers", "requested_at", "waiters")  # fmt: skip

    def __init__(self, key: Key, on_wakeup: OnWakeup) -> None:
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

    def enter(self, now: float) -> None:
        """Count a reader that comes now."""
        self.readers += 1
        self.requested_at = now
