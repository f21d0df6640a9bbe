import asyncio
import threading
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from pushserver.messages import START, Cursor, Message
from pushserver.stores.contract import Clock
from pushserver.stores.memory import MemoryStore, StoreStatistics

T = TypeVar("T")
CHANNELS = ("a", "b", "c")
NOTHING = StoreStatistics(channels=0, messages=0, bytes=0)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits, without a loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the memory store waited for something")


def append(store: MemoryStore, channel_id: str, *, keep: bool = True) -> Message:
    return at_once(store.append(channel_id, body=b"12345", keep=keep))


def found(store: MemoryStore, channel_id: str, after: Cursor = START) -> list[Message]:
    return list(at_once(store.read(channel_id, after=after)).messages)


def test_it_says_that_it_is_local():
    """Its messages are in this process and nowhere else."""
    assert MemoryStore.local


def test_statistics_count_what_is_kept():
    """Channels that are only remembered count, their messages do not."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=60, channel_timeout=60)
    assert store.statistics() == NOTHING
    append(store, "a")
    append(store, "a")
    at_once(store.create("b"))
    assert store.statistics() == StoreStatistics(channels=2, messages=2, bytes=10)
    clock.advance(60)
    assert store.statistics() == StoreStatistics(channels=2, messages=0, bytes=0)
    clock.advance(60)
    assert store.statistics() == NOTHING


def test_what_is_due_goes_while_others_publish():
    """Nobody has to ask: appends clean up faster than channels come."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=60, channel_timeout=60)
    for number in range(1000):
        append(store, f"channel {number}")
    clock.advance(121)
    for number in range(70):
        append(store, f"new {number}")
    assert len(store._channels) == len(store._aging) == 70


def test_messages_that_are_due_go_before_their_channel():
    """A channel nobody touches keeps its ids only, once its messages are old."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=60, channel_timeout=1e6)
    for number in range(1000):
        append(store, f"channel {number}")
    clock.advance(61)
    for _ in range(40):
        append(store, "busy")
    assert sum(len(channel.messages) for channel in store._channels.values()) == 40


def test_a_clock_that_was_far_ahead_for_a_moment_keeps_nothing_for_ever():
    """A channel touched in the far future does not hold up those behind it."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=60, channel_timeout=60)
    clock.advance(1e9)
    append(store, "glitch")
    clock.advance(-1e9)
    append(store, "a")
    clock.advance(121)
    append(store, "b")
    assert set(store._channels) == {"b"}


def test_an_emptied_store_gives_its_memory_back():
    """Not even the tables of 100,000 channels remain."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=60, channel_timeout=60)
    empty = store._channels.__sizeof__() + store._aging.__sizeof__()
    for number in range(10_000):
        append(store, str(number))
    clock.advance(121)
    assert store.statistics() == NOTHING
    assert store._channels.__sizeof__() + store._aging.__sizeof__() == empty


def test_a_restart_cannot_be_taken_for_the_same_history():
    """Ids of the next process are greater, and its heads are above old cursors."""
    clock = Clock()
    last = append(MemoryStore(clock=clock), "a")
    clock.advance(1)
    store = MemoryStore(clock=clock)
    assert at_once(store.heads(["a"]))["a"].newest > last.id
    assert append(store, "a").previous > last.id


def test_many_ids_in_one_millisecond():
    """The second half counts when the first one cannot."""
    store = MemoryStore(clock=Clock(5.0))
    ids = [append(store, "a").id for _ in range(5)]
    assert ids == [Cursor(5000, number) for number in range(1, 6)]


def test_it_is_safe_from_any_thread_and_loop():
    """Eight loops at once append to one channel: nothing is lost or doubled."""
    store = MemoryStore(max_messages=0)

    async def publish() -> None:
        for _ in range(250):
            await store.append("a", body=b"x")
            await asyncio.sleep(0)

    threads = [
        threading.Thread(target=asyncio.run, args=(publish(),)) for _ in "8loops"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = found(store, "a")
    assert len(messages) == 250 * len(threads)
    assert all(a.id == b.previous for a, b in pairwise(messages))


class Model:
    """One channel as the contract has it, slow and plain."""

    def __init__(self, limits: dict[str, float]) -> None:
        self.limits = limits
        self.ever: list[Message] = []
        self.alive: list[Message] = []

    def append(self, message: Message) -> None:
        assert all(message.id > old.id for old in self.ever)
        assert message.previous < message.id
        if self.ever:
            assert message.previous >= self.ever[-1].id
        self.ever.append(message)
        self.alive.append(message)

    def drop(self, now: float) -> None:
        waived = (now - self.limits["transient_timeout"]) * 1000
        self.alive = [m for m in self.alive if m.kept or m.id.milliseconds > waived]
        if most := self.limits["max_messages"]:
            self.alive = self.alive[-int(most) :]
        oldest = (now - self.limits["message_timeout"]) * 1000
        while (
            self.limits["message_timeout"]
            and len(self.alive) > self.limits["min_messages"]
            and self.alive[0].id.milliseconds <= oldest
        ):
            del self.alive[0]

    def after(self, cursor: Cursor) -> list[Message]:
        found: list[Message] = []
        for message in self.alive:
            at = found[-1].id if found else cursor
            if message.id > cursor and (message.kept or message.previous == at):
                found.append(message)
        return found


steps = st.lists(
    st.tuples(
        st.sampled_from(CHANNELS),
        st.sampled_from(["append", "append", "waived", "read", "delete", "create"]),
        st.sampled_from([0.0, 0.0, 0.001, 1.0, 7.0, 40.0, -3600.0, 3600.0]),
    ),
    max_size=40,
)
limits = st.fixed_dictionaries(
    {
        "min_messages": st.integers(0, 2),
        "max_messages": st.sampled_from([0, 2, 5]),
        "message_timeout": st.sampled_from([0, 30]),
        "transient_timeout": st.just(5),
    }
)


@given(steps=steps, limits=limits)
@settings(max_examples=60, deadline=None)
def test_any_history_is_that_of_the_model(steps, limits):
    """Reads, ids and losses over appends, deletions and jumps of the clock.

    A reader gets exactly what the limits leave after its cursor, and the links tell
    it of a loss if and only if there was one.
    """
    clock = Clock()
    store = MemoryStore(clock=clock, channel_timeout=1e9, **limits)
    models = {channel_id: Model(limits) for channel_id in CHANNELS}
    cursors = dict.fromkeys(CHANNELS, START)
    for channel_id, step, seconds in steps:
        clock.advance(seconds)
        model = models[channel_id]
        match step:
            case "append" | "waived":
                model.append(append(store, channel_id, keep=step == "append"))
            case "delete":
                at_once(store.delete(channel_id))
                model.alive.clear()
            case "create":
                at_once(store.create(channel_id))
            case "read":
                cursors[channel_id] = follow(store, channel_id, cursors, model, clock())
        for each, other in models.items():
            other.drop(clock())
            assert found(store, each) == other.after(START)


def follow(
    store: MemoryStore,
    channel_id: str,
    cursors: dict[str, Cursor],
    model: Model,
    now: float,
) -> Cursor:
    """One more poll of the channel's reader, which comes back with its cursor."""
    cursor = cursors[channel_id]
    history = at_once(store.read(channel_id, after=cursor))
    model.drop(now)
    assert list(history.messages) == model.after(cursor)
    newest = history.head.newest
    if cursor > START:
        lost = [m for m in model.ever if m.id > cursor and m not in history.messages]
        heard = cursor
        told = False
        for message in history.messages:
            told |= message.previous > heard
            heard = message.id
        assert bool(lost) == (told or newest > heard)
    return newest if history.head.known else START


@given(steps=steps)
@settings(max_examples=40, deadline=None)
def test_ids_increase_over_any_history(steps):
    """Also where channels are forgotten, deleted and come back, at any time."""
    clock = Clock()
    store = MemoryStore(clock=clock, message_timeout=5, channel_timeout=5)
    newest = dict.fromkeys(CHANNELS, START)
    for channel_id, step, seconds in steps:
        clock.advance(seconds)
        if step in ("append", "waived"):
            message = append(store, channel_id, keep=step == "append")
            assert message.id > message.previous >= newest[channel_id]
            newest[channel_id] = message.id
        elif step == "delete":
            at_once(store.delete(channel_id))
            mark = at_once(store.heads([channel_id]))[channel_id].deleted
            assert mark > newest[channel_id]
        else:
            head = at_once(store.heads([channel_id]))[channel_id]
            assert head.newest >= newest[channel_id]
