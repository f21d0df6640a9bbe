"""Signs of life, from one timer for all streams of a loop."""

import asyncio
from functools import partial

from pushserver.heartbeats import Heartbeats, _by_loop, heartbeats


async def test_each_beat_comes_once_a_period():
    """The first after a whole one; none after it was taken back."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    beaten: list[float] = []
    quiet = Heartbeats(15).add(lambda: beaten.append(loop.time() - began))
    await asyncio.sleep(46)
    assert len(beaten) == 3
    assert all(abs(at - 15 * n) < 1 for n, at in enumerate(beaten, start=1))
    quiet()
    await asyncio.sleep(46)
    assert len(beaten) == 3


async def test_late_comers_wait_a_whole_period_too():
    """Wherever the timer stands, and however many there are."""
    loop = asyncio.get_running_loop()
    beats = Heartbeats(3)
    beaten: dict[int, float] = {}

    def note(n: int, began: float) -> None:
        beaten.setdefault(n, loop.time() - began)

    for n in range(40):
        began = loop.time()
        beats.add(partial(note, n, began))
        await asyncio.sleep(0.17)
    await asyncio.sleep(4)
    assert len(beaten) == 40
    assert all(2.8 < after < 3.2 for after in beaten.values())


async def test_nobody_s_timer_stops():
    """A loop without streams is left alone; the next stream starts it again."""
    beats = Heartbeats(3)
    beats.add(lambda: None)()
    await asyncio.sleep(4)
    assert beats._timer is None
    beaten: list[int] = []
    quiet = beats.add(lambda: beaten.append(1))
    await asyncio.sleep(4)
    assert beaten == [1]
    quiet()


async def test_a_beat_may_end_itself():
    """As a stream does whose client is gone."""
    beats = Heartbeats(3)
    beaten: list[int] = []

    def beat() -> None:
        beaten.append(1)
        quiet()

    quiet = beats.add(beat)
    await asyncio.sleep(10)
    assert beaten == [1]


async def test_a_loop_has_one_for_each_pace():
    """And forgets those of loops that are closed."""
    assert heartbeats(15) is heartbeats(15)
    assert heartbeats(15) is not heartbeats(16)

    async def elsewhere() -> Heartbeats:
        return heartbeats(15)

    found = await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    assert found is not heartbeats(15)
    assert not any(loop.is_closed() for loop, _ in _by_loop)
