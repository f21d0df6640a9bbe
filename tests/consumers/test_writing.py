"""Writing without a task, up to where a server has to wait for its client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from pushserver.consumers.writing import DRAIN, Writer, write_to_all

EVENT = {"type": "http.response.body", "body": b"x", "more_body": True}
WAITS = {"asgi": {"version": "3.0", "spec_version": "2.4"}}


class Server:
    """A server whose ``send`` does what the test says; ``sent`` is what it took."""

    def __init__(self, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self.sent: list[Any] = []
        self._before = before

    async def send(self, event: Mapping[str, Any]) -> None:
        if self._before is not None:
            await self._before()
        self.sent.append(event)


class Told:
    """What a writer says: how often it has to be waited for, and its ends."""

    def __init__(self, server: Any, scope: Any = WAITS, limit: int = 10) -> None:
        self.waits = 0
        self.ends: list[Exception | None] = []
        self.writer = Writer(scope, server.send, limit=limit)
        self.writer.on_wait = self._wait
        self.writer.on_end = self.ends.append
        self.writer.open()

    def _wait(self) -> None:
        self.waits += 1

    def write(self) -> bool:
        """Whether a write could begin."""
        return write_to_all([self.writer], dict(EVENT)) == []


def test_a_send_that_does_not_wait_needs_no_task():
    """Nor even a running loop."""
    server = Server()
    told = Told(server)
    assert told.write()
    assert (server.sent, told.waits) == ([EVENT], 0)


def test_each_gets_an_event_of_its_own():
    """Whoever wraps the server's send may change it."""

    class Changing(Server):
        async def send(self, event: Any) -> None:
            event["body"] += b"!"
            await super().send(event)

    servers = [Changing(), Changing()]
    write_to_all([Told(server).writer for server in servers], dict(EVENT))
    assert [server.sent[0]["body"] for server in servers] == [b"x!"] * 2


async def test_a_send_that_waits_is_ended_by_whoever_settles_it():
    """In a task of their own; whatever it waits for, and however often."""
    room = asyncio.Event()

    async def before() -> None:
        await asyncio.sleep(0)
        await room.wait()
        await asyncio.sleep(1)

    server = Server(before)
    told = Told(server)
    assert told.write()
    assert told.waits == 1
    assert not told.write()
    task = asyncio.create_task(told.writer.settle())
    await asyncio.sleep(1)
    assert server.sent == []
    room.set()
    await task
    await told.writer.settle()
    assert server.sent == [EVENT]
    told.writer.open()
    assert told.write()


def test_who_is_closed_is_busy():
    """Until it is opened again."""
    server = Server()
    told = Told(server)
    told.writer.close()
    assert not told.write()
    told.writer.open()
    assert told.write()
    assert server.sent == [EVENT]


async def test_cancelling_the_rest_cancels_the_send():
    """It gets to know, and may clean up."""
    clean: list[str] = []

    async def before() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            clean.append("cancelled")
            raise

    told = Told(Server(before))
    told.write()
    task = asyncio.create_task(told.writer.settle())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clean == ["cancelled"]


async def test_a_send_may_end_though_it_was_cancelled():
    """As one that was written already."""

    async def before() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    server = Server(before)
    told = Told(server)
    told.write()
    task = asyncio.create_task(told.writer.settle())
    await asyncio.sleep(1)
    task.cancel()
    await task
    assert server.sent == [EVENT]


class Future:
    """As granian has them: one that is its own steps, and knows no cancellation."""

    def __init__(self) -> None:
        self.future = asyncio.get_running_loop().create_future()
        self.done, self.exception = self.future.done, self.future.exception
        self.add_done_callback = self.future.add_done_callback
        self.get_loop = self.future.get_loop
        self.result, self.cancel = self.future.result, self.future.cancel
        self._asyncio_future_blocking = True

    def __await__(self) -> "Future":
        return self

    def __iter__(self) -> "Future":
        return self

    def __next__(self) -> Any:
        if self.future.done():
            self.future.result()
            raise StopIteration
        self._asyncio_future_blocking = True
        return self


class Futures:
    """A server whose send returns them."""

    def __init__(self) -> None:
        self.sent: list[Future] = []

    def send(self, event: Mapping[str, Any]) -> Future:
        self.sent.append(Future())
        return self.sent[-1]


async def test_a_send_that_is_a_future_needs_nobody_to_wait():
    """Who has more for it looks whether it is done."""
    server = Futures()
    told = Told(server)
    assert told.write()
    assert not told.write()
    server.sent[0].future.set_result(None)
    assert told.write()
    server.sent[1].future.set_exception(ZeroDivisionError())
    assert told.waits == 0
    assert not told.write()
    assert [type(error) for error in told.ends] == [ZeroDivisionError]
    assert not told.write()
    assert len(server.sent) == 2


async def test_a_future_that_the_server_cancels_ends_its_own_stream():
    """And nobody else's: the client shall come back."""
    server, other = Futures(), Server()
    told = Told(server)
    told.write()
    server.sent[0].future.cancel()
    assert write_to_all([told.writer, Told(other).writer], dict(EVENT)) == [told.writer]
    assert (told.ends, other.sent) == ([None], [EVENT])


async def test_a_future_can_be_waited_for():
    """By who is the only one to write, from now on; and that can be cancelled."""
    server = Futures()
    told = Told(server)
    told.write()
    told.writer.close()
    task = asyncio.create_task(told.writer.settle())
    await asyncio.sleep(1)
    server.sent[0].future.set_result(None)
    assert not told.write()
    await task
    told.writer.open()
    assert told.write()
    task = asyncio.create_task(told.writer.settle())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_future_under_way_keeps_it_busy_when_it_is_opened():
    """As where nobody has settled it."""
    server = Futures()
    told = Told(server)
    told.write()
    told.writer.close()
    told.writer.open()
    assert not told.write()
    server.sent[0].future.set_result(None)
    assert told.write()


@pytest.mark.parametrize("late", [False, True])
async def test_what_a_send_raises_is_its_own_stream_s(late: bool):
    """Whether the server knows at once, or after a while; the others go on."""

    async def before() -> None:
        if late:
            await asyncio.sleep(1)
        raise OSError("gone")

    other = Server()
    told = Told(Server(before))
    busy = write_to_all([told.writer, Told(other).writer], dict(EVENT))
    assert (busy, other.sent) == ([], [EVENT])
    if late:
        with pytest.raises(OSError, match="gone"):
            await told.writer.settle()
    else:
        assert [type(error) for error in told.ends] == [OSError]
        assert not told.write()


async def test_where_the_server_offers_it_a_write_waits_for_the_client():
    """By the extension of ours, after what was written."""
    room = asyncio.Event()
    server = Server()
    told = Told(server, {"extensions": {DRAIN: room.wait}})
    told.write()
    assert (server.sent, told.waits) == ([EVENT], 1)
    room.set()
    await told.writer.send(EVENT)
    told.writer.open()
    assert told.write()
    assert (len(server.sent), told.waits, told.ends) == (3, 1, [])


async def test_where_nobody_waits_it_ends_after_so_many_bytes():
    """A scope that names no version of ASGI is plain daphne's."""
    told = Told(Server(), {"asgi": {"version": "3.0"}}, limit=3)
    await told.writer.send({"text": "a"})
    await told.writer.send({"type": "websocket.accept"})
    assert told.write()
    assert told.ends == []
    assert told.write()
    assert told.ends == [None]


def test_who_has_let_go_is_told_nothing():
    """A stream that has ended is not to be kept by what wrote for it."""
    told = Told(Server(), {"asgi": {"version": "3.0"}}, limit=1)
    told.writer.let_go()
    assert told.write()
    assert told.ends == []
