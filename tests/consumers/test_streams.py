"""One stream: who writes, when, and how it ends."""

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from weakref import ref

import pytest

from pushserver.conf import get_config
from pushserver.consumers.feeds import Feed
from pushserver.consumers.spellings import MultiplexFrames
from pushserver.consumers.streams import Stream
from pushserver.consumers.subscribing import Wanted
from pushserver.consumers.writing import Writer
from pushserver.engine.subscriptions import Subscriptions
from tests.readers import publish, serving

KEY = ("default", "a")
HEAD = '"channel":"a",'


class Wire:
    """Both of the server's sides. ``tasks`` are those in which it was written."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.tasks: list[Any] = []
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.error: Exception | None = None
        self.room = asyncio.Event()
        self.room.set()

    async def send(self, event: Any) -> None:
        await self.room.wait()
        if self.error is not None:
            raise self.error
        self.sent.append(event)
        self.tasks.append(asyncio.current_task())

    def texts(self) -> str:
        return "".join(event.get("text", "") for event in self.sent)


@contextmanager
def streaming(
    running: Subscriptions,
    *,
    location: dict[str, Any] | None = None,
    waits: bool = True,
) -> Iterator[tuple[Wire, Stream, Feed, "asyncio.Task[None]"]]:
    """A stream of many channels, of which one is open, in a task of its own."""
    wire = Wire()
    spelling = MultiplexFrames()
    terms = replace(get_config().locations[0], **(location or {}))
    with Feed(running, spelling, limit=terms.max_answer) as feed:
        feed.take(Wanted(HEAD, KEY, None, terms))
        scope = {"asgi": {"spec_version": "2.4"} if waits else {}}
        writer = Writer(scope, wire.send, limit=terms.max_stream_bytes)
        stream = Stream(feed, spelling, writer, terms, many=True)
        task = asyncio.create_task(stream.run(wire.incoming.get))
        yield wire, stream, feed, task
        assert task.done()


async def until(wire: Wire, piece: str) -> None:
    async with asyncio.timeout(60):
        while piece not in wire.texts():  # noqa: ASYNC110 (the time is virtual)
            await asyncio.sleep(0.001)


async def test_what_comes_is_written_by_whoever_wakes_the_reader():
    """No task of the stream is woken for it."""
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            await publish("news")
            await until(wire, "news")
            assert wire.tasks[-1] is not task
            before = asyncio.all_tasks()
            await publish("more")
            await until(wire, "more")
            assert asyncio.all_tasks() <= before
            wire.incoming.put_nowait({"type": "websocket.disconnect"})
            await task


async def test_a_write_that_waits_has_one_worker():
    """However much comes meanwhile; then all of it goes out together."""
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            wire.room.clear()
            before = asyncio.all_tasks()
            for n in range(20):
                await publish(f"n{n},")
            assert len(asyncio.all_tasks() - before) == 1
            written = len(wire.sent)
            wire.room.set()
            await until(wire, "n19,")
            assert len(wire.sent) <= written + 2
            wire.incoming.put_nowait({"type": "websocket.disconnect"})
            await task


async def test_an_ended_stream_leaves_nothing_for_the_collector():
    """What was made for it is freed at its end: there is no circle."""
    async with serving() as running:
        gc.disable()
        try:
            with streaming(running) as (wire, stream, feed, task):
                await until(wire, "0-0")
                await publish("news")
                await until(wire, "news")
                [reader] = feed.readers.values()
                left: list[ref[Any]] = [ref(stream), ref(feed), ref(reader)]
                wire.incoming.put_nowait({"type": "websocket.disconnect"})
                await task
            del stream, feed, reader, task
            assert [each() for each in left] == [None, None, None]
        finally:
            gc.enable()


async def test_frames_of_the_client_are_handed_on():
    """They may add channels, or end the stream."""
    async with serving() as running:
        with streaming(running) as (wire, stream, feed, task):
            await until(wire, "0-0")
            wire.incoming.put_nowait({"type": "websocket.receive", "text": "x"})
            feed.note('{"error":400}')
            stream.work()
            stream.work()
            await until(wire, "400")
            stream.end(413)
            stream.end()
            await task
            assert wire.sent[-1]["code"] == 4413
            stream.work()
            await publish("too late")
            await asyncio.sleep(0.1)
            assert "too late" not in wire.texts()


async def test_an_end_before_it_waits_counts_too():
    """As of a client whose first write fails."""
    async with serving() as running:
        with streaming(running) as (wire, stream, _, task):
            stream.end()
            await task
            assert [event["type"] for event in wire.sent] == ["websocket.close"]


async def test_time_is_up_at_80_to_100_per_cent():
    """And the client is told to come back."""
    loop = asyncio.get_running_loop()
    async with serving() as running:
        began = loop.time()
        with streaming(running, location={"max_stream_seconds": 10}) as found:
            wire, task = found[0], found[3]
            await task
            assert 7.9 < loop.time() - began < 10.1
            assert wire.sent[-1]["code"] == 4000


@pytest.mark.parametrize("slow", [False, True])
async def test_a_client_that_is_gone_ends_it_quietly(slow: bool):
    """Whoever was writing; without a word to nobody."""
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            wire.error = OSError("gone")
            if slow:
                wire.room.clear()
            sent = len(wire.sent)
            await publish("news")
            await asyncio.sleep(0.1)
            wire.room.set()
            await task
            assert len(wire.sent) == sent


@pytest.mark.parametrize("slow", [False, True])
async def test_an_error_is_raised_in_the_stream_s_own_task(slow: bool):
    """Not in that of whoever published."""
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            wire.error = ZeroDivisionError()
            if slow:
                wire.room.clear()
            await publish("news")
            await asyncio.sleep(0.1)
            wire.room.set()
            with pytest.raises(ZeroDivisionError):
                await task


async def test_goodbye_is_not_waited_for():
    """A client that does not read does not hear it."""
    loop = asyncio.get_running_loop()
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            wire.room.clear()
            await publish("news")
            await asyncio.sleep(0.1)
            began = loop.time()
            running.drain()
            await task
            assert loop.time() - began < 1.5


async def test_goodbye_to_who_has_just_left():
    """Is no error."""
    async with serving() as running:
        with streaming(running) as (wire, _, _, task):
            await until(wire, "0-0")
            wire.error = OSError("gone")
            running.drain()
            await task


async def test_a_burst_that_is_too_big_at_once_goes_in_pieces():
    """Of the size of an answer, or of one message above that."""
    async with serving() as running:
        with streaming(running, location={"max_answer": 500}) as (wire, _, _, task):
            await until(wire, "0-0")
            for n in range(10):
                await publish(f"{n:0200}")
            await until(wire, f"{9:0200}")
            assert all(len(event["text"]) < 1000 for event in wire.sent)
            wire.incoming.put_nowait({"type": "websocket.disconnect"})
            await task


@pytest.mark.parametrize("limit", [1, 40])
async def test_where_nothing_waits_a_full_stream_ends(limit: int):
    """Written at once, or by the worker."""
    terms = {"max_stream_bytes": limit}
    async with serving() as running:
        with streaming(running, location=terms, waits=False) as (wire, _, _, task):
            if limit > 1:
                await until(wire, "0-0")
                await publish("news")
            await task
            assert wire.sent[-1]["code"] == 4000
