import asyncio

import pytest

from pushserver.server.events import Events


async def test_events_come_in_order():
    """What was put first is got first, also by who came before it."""
    events = Events()
    waiting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    events.put_nowait({"type": "one"})
    events.put_nowait({"type": "two"})
    assert await waiting == {"type": "one"}
    assert await events.get() == {"type": "two"}


async def test_each_event_is_for_one_of_several():
    """Who waits gets an event of its own."""
    events = Events()
    waiting = [asyncio.ensure_future(events.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        events.put_nowait({"type": number})
    found = await asyncio.gather(*waiting)
    assert [event["type"] for event in found] == [0, 1, 2]


async def test_who_stops_waiting_takes_nothing():
    """A wait can be cancelled, before there is an event and just after."""
    events = Events()
    early, late, last = [asyncio.ensure_future(events.get()) for _ in range(3)]
    await asyncio.sleep(0)
    early.cancel()
    events.put_nowait({"type": "one"})
    late.cancel()
    assert await last == {"type": "one"}
    for task in (early, late):
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_cancelled_wait_with_nobody_behind():
    """The event stays for who asks next."""
    events = Events()
    waiting = asyncio.ensure_future(events.get())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    events.put_nowait({"type": "one"})
    assert await events.get() == {"type": "one"}
