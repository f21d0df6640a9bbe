from collections.abc import Iterator, Sequence

from pushserver.engine.waiters import (
    Delivery,
    Ending,
    Follower,
    Members,
    Outcome,
    Waiter,
    Waiters,
)
from pushserver.messages import START, Cursor, Message

DELIVERY = Delivery([Message(id=Cursor(1, 0), previous=START, body=b"x")])


def waiter() -> Waiter:
    return Waiter(START, gap=False)


def test_only_the_first_end_of_a_wait_counts():
    """A message and a deadline that come together give one outcome."""
    held = waiter()
    ends: list[object] = []
    held.on_end = lambda: ends.append(held.outcome)
    held.end(DELIVERY)
    held.end(Ending.DEADLINE)
    assert held.outcome is DELIVERY
    assert ends == [DELIVERY]


def test_a_wait_may_end_before_anybody_listens():
    """The outcome is kept for whoever asks for it later."""
    held = waiter()
    held.end(Ending.SHUTDOWN)
    assert held.outcome is Ending.SHUTDOWN


def test_waiters_are_taken_in_the_order_of_their_coming():
    """Who came first is served first, and nobody is held after that."""
    waiters = Waiters()
    first, second, third = waiter(), waiter(), waiter()
    for each in (first, second, third):
        waiters.park(each)
    waiters.discard(second)
    waiters.discard(second)
    assert len(waiters) == 2
    assert list(waiters) == waiters.take() == [first, third]
    assert len(waiters) == 0


def test_ending_all_wakes_each_once():
    """Every parked waiter gets the outcome; one that left gets nothing."""
    waiters = Waiters()
    stays, left = waiter(), waiter()
    waiters.park(stays)
    waiters.park(left)
    waiters.discard(left)
    waiters.end_all(Ending.DELETED)
    assert (stays.outcome, left.outcome) == (Ending.DELETED, None)
    assert len(waiters) == 0


def test_whoever_parks_during_a_fan_out_is_not_part_of_it():
    """A waiter that comes back within on_end is held for the next message."""
    waiters = Waiters()
    first, next_one = waiter(), waiter()
    first.on_end = lambda: waiters.park(next_one)
    waiters.park(first)
    waiters.end_all(Ending.CONFLICT)
    assert next_one.outcome is None
    assert list(waiters) == [next_one]


class Reading:
    """Keeps what a follower says, a cursor where it is said where it stands."""

    def __init__(self) -> None:
        self.told: list[Outcome | Cursor | None] = []

    def hear(self, outcome: Outcome | None) -> None:
        self.told.append(outcome)

    def stand_at(self, given: Cursor) -> None:
        self.told.append(given)


def test_a_follower_stays_parked_until_it_ends():
    """Deliveries pass by it, also in the middle of a fan-out; an end counts once."""
    waiters, reading = Waiters(), Reading()
    follower = Follower(START, waiters, reading)
    waiters.park(follower)
    waiters.end_all(DELIVERY)
    assert (len(waiters), follower.seen) == (1, DELIVERY.messages[-1].id)
    waiters.end_all(Ending.DELETED)
    follower.end(Ending.SHUTDOWN)
    follower.end(DELIVERY)
    assert len(waiters) == 0
    assert reading.told == [DELIVERY, Ending.DELETED]


def test_a_follower_is_told_to_look_when_it_has_lost_something():
    """And only then; a poll hears of it when it ends."""
    reading = Reading()
    follower = Follower(START, Waiters(), reading)
    follower.move(Cursor(1, 0), lost=False)
    assert (follower.seen, reading.told) == (Cursor(1, 0), [])
    follower.move(Cursor(2, 0), lost=True)
    assert (follower.gap, reading.told) == (True, [None])
    held = waiter()
    held.move(Cursor(2, 0), lost=True)
    assert (held.seen, held.gap) == (Cursor(2, 0), True)


class Hall:
    """A channel with an audience; ``busy`` are the writers that cannot write."""

    def __init__(self, *names: str) -> None:
        self.waiters = Waiters()
        self.written: list[tuple[str, Cursor]] = []
        self.busy: set[str] = set()
        self.readings = {name: Reading() for name in names}
        self.followers: dict[str, Follower] = {}
        for name, reading in self.readings.items():
            follower = Follower(START, self.waiters, reading)
            self.followers[name] = follower
            self.waiters.park(follower)
            self.waiters.join(follower, name, "kind", self.write)

    def write(
        self, members: Members, messages: Sequence[Message]
    ) -> Iterator[tuple[Cursor, list[Follower]]]:
        for message in messages:
            busy = []
            for follower, name in list(members.items()):
                if name in self.busy:
                    busy.append(follower)
                else:
                    self.written.append((name, message.id))
            yield message.id, busy
            self.busy.add("late")


def test_an_audience_is_told_together():
    """Each is written to, in the order of their coming, and nobody has to note it."""
    hall = Hall("first", "second")
    assert len(hall.waiters) == 2
    hall.waiters.end_all(DELIVERY)
    assert hall.written == [("first", Cursor(1, 0)), ("second", Cursor(1, 0))]
    assert [reading.told for reading in hall.readings.values()] == [[], []]
    assert len(hall.waiters) == 2
    [audience] = hall.waiters
    assert audience.seen == Cursor(1, 0)


def test_who_joins_again_is_still_told():
    """Though it was the only one, and its audience had ended with it."""
    hall = Hall("only")
    hall.waiters.join(hall.followers["only"], "only", "kind", hall.write)
    assert len(hall.waiters) == 1
    hall.waiters.end_all(DELIVERY)
    assert hall.written == [("only", Cursor(1, 0))]


def test_who_is_busy_stands_alone_where_its_client_is():
    """Also in the middle of a delivery; it is parked at the end of that."""
    second = Message(id=Cursor(2, 0), previous=Cursor(1, 0), body=b"y")
    hall = Hall("quick", "slow", "late")
    hall.busy.add("slow")
    hall.waiters.end_all(Delivery([*DELIVERY.messages, second]))
    assert [number for name, number in hall.written if name == "late"] == [(1, 0)]
    assert hall.readings["slow"].told == [START, None]
    assert hall.readings["late"].told == [Cursor(1, 0), None]
    assert hall.readings["quick"].told == []
    assert len(hall.waiters) == 3
    assert {waiter.seen for waiter in hall.waiters} == {Cursor(2, 0)}
    hall.busy.add("quick")
    third = Message(id=Cursor(3, 0), previous=Cursor(2, 0), body=b"z")
    hall.waiters.end_all(Delivery([third]))
    assert hall.readings["quick"].told == [Cursor(2, 0), None]
    assert set(hall.waiters) == set(hall.followers.values())


def test_an_audience_is_over_where_something_was_lost():
    """Each is told; without a message, too."""
    hall = Hall("first", "second")
    hall.waiters.end_all(Delivery(DELIVERY.messages, gap=True))
    for reading in hall.readings.values():
        assert reading.told == [START, Delivery(DELIVERY.messages, gap=True)]
    assert set(hall.waiters) == set(hall.followers.values())
    hall = Hall("first")
    [audience] = hall.waiters
    audience.move(Cursor(1, 0), lost=False)
    assert hall.readings["first"].told == []
    audience.move(Cursor(2, 0), lost=True)
    assert hall.readings["first"].told == [Cursor(1, 0), None]
    follower = hall.followers["first"]
    assert list(hall.waiters) == [follower]
    assert (follower.seen, follower.gap) == (Cursor(2, 0), True)


def test_an_end_is_the_end_of_each_in_an_audience():
    """And of nobody who has left it."""
    hall = Hall("stays", "leaves")
    leaves = hall.followers["leaves"]
    assert leaves in hall.waiters
    hall.waiters.discard(leaves)
    assert leaves not in hall.waiters
    hall.waiters.end_all(Ending.SHUTDOWN)
    assert hall.followers["stays"].outcome is Ending.SHUTDOWN
    assert leaves.outcome is None
    assert len(hall.waiters) == 0
