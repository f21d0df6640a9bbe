"""Many deadlines with few timers."""

import asyncio
import gc
from functools import partial
from weakref import ref

import pytest

from pushserver.engine.deadlines import GRAIN, call_in, spread


async def test_a_deadline_is_never_early_and_hardly_late() -> None:
    """Whenever it was asked for."""
    loop = asyncio.get_running_loop()
    called: list[float] = []

    def note(due_at: float) -> None:
        called.append(loop.time() - due_at)

    for seconds in (0.0, 0.01, 0.25, 3.0, 25.0):
        due_at = loop.time() + seconds
        call_in(loop, seconds, partial(note, due_at))
        await asyncio.sleep(0.03)
    await asyncio.sleep(30)
    assert len(called) == 5
    assert all(0 <= late < 2 * GRAIN for late in called)


async def test_what_is_taken_out_is_not_called() -> None:
    """And the others of that time are, in the order of their coming."""
    loop = asyncio.get_running_loop()
    called: list[int] = []
    callbacks = [partial(called.append, n) for n in range(3)]
    due = [call_in(loop, 5, callback) for callback in callbacks]
    due[1].pop(callbacks[1])
    await asyncio.sleep(6)
    assert called == [0, 2]


async def test_one_callback_may_take_out_another_too_late() -> None:
    """Those of one time are called together: who is called has to know."""
    loop = asyncio.get_running_loop()
    called: list[str] = []

    def second() -> None:
        called.append("second")

    def first() -> None:
        called.append("first")
        due.pop(second)

    due = call_in(loop, 1, first)
    call_in(loop, 1, second)
    await asyncio.sleep(2)
    assert called == ["first", "second"]


async def test_a_bug_of_one_callback_is_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others of its time are called, and it is logged."""
    loop = asyncio.get_running_loop()
    called: list[str] = []

    def broken() -> None:
        raise RuntimeError("as the test asked for")

    call_in(loop, 1, broken)
    call_in(loop, 1, partial(called.append, "second"))
    await asyncio.sleep(2)
    assert called == ["second"]
    assert "as the test asked for" in caplog.text


async def test_readers_of_one_time_share_a_timer() -> None:
    """However many they are."""
    loop = asyncio.get_running_loop()
    due = {id(call_in(loop, 10, partial(print, n))) for n in range(1000)}
    assert len(due) <= 2  # the second may begin in between


@pytest.mark.parametrize("ended", [True, False])
def test_a_loop_that_is_gone_is_forgotten(ended: bool) -> None:
    """With the deadlines that it did not live to see."""
    loop = asyncio.new_event_loop()
    call_in(loop, 0 if ended else 1000, lambda: None)
    loop.run_until_complete(asyncio.sleep(0.2))
    loop.close()
    gone = ref(loop)
    del loop
    gc.collect()
    assert gone() is None


def test_those_who_came_together_do_not_come_back_together() -> None:
    """They end at 80 to 100 % of their time."""
    ends = [spread(10) for _ in range(1000)]
    assert min(ends) >= 8
    assert max(ends) <= 10
    assert max(ends) - min(ends) > 1
