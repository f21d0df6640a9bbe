from pushserver.messages import START, Cursor, Message
from pushserver.waiters import Delivery, Ending, Follower, Outcome, Waiter, Waiters

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


def test_a_follower_stays_parked_until_it_ends():
    """Deliveries pass by it, also in the middle of a fan-out; an end counts once."""
    waiters = Waiters()
    told: list[Outcome | None] = []
    follower = Follower(START, waiters, told.append)
    waiters.park(follower)
    waiters.end_all(DELIVERY)
    assert (len(waiters), follower.seen) == (1, DELIVERY.messages[-1].id)
    waiters.end_all(Ending.DELETED)
    follower.end(Ending.SHUTDOWN)
    follower.end(DELIVERY)
    assert len(waiters) == 0
    assert told == [DELIVERY, Ending.DELETED]


def test_a_follower_is_told_to_look_when_it_has_lost_something():
    """And only then; a poll hears of it when it ends."""
    told: list[Outcome | None] = []
    follower = Follower(START, Waiters(), told.append)
    follower.move(Cursor(1, 0), lost=False)
    assert (follower.seen, told) == (Cursor(1, 0), [])
    follower.move(Cursor(2, 0), lost=True)
    assert (follower.gap, told) == (True, [None])
    held = waiter()
    held.move(Cursor(2, 0), lost=True)
    assert (held.seen, held.gap) == (Cursor(2, 0), True)
