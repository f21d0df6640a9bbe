"""Writing without a task, up to where a server has to wait for its client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from pushserver.endpoints import ClientGone
from pushserver.writing import DRAIN, Writer

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


def writer(server: Server, scope: Any = WAITS, limit: int = 10) -> Writer:
    return Writer(scope, server.send, limit=limit)


def test_a_send_that_does_not_wait_needs_no_task():
    """Nor even a running loop."""
    server = Server()
    assert writer(server).start(EVENT) is None
    assert server.sent == [EVENT]


async def test_a_send_that_waits_is_ended_by_whoever_awaits_the_rest():
    """In a task of their own; whatever it waits for, and however often."""
    room = asyncio.Event()

    async def before() -> None:
        await asyncio.sleep(0)
        await room.wait()
        await asyncio.sleep(1)

    server = Server(before)
    rest = writer(server).start(EVENT)
    assert rest is not None
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(1)
    assert server.sent == []
    room.set()
    await task
    assert server.sent == [EVENT]


async def test_cancelling_the_rest_cancels_the_send():
    """It gets to know, and may clean up."""
    told: list[str] = []

    async def before() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            told.append("cancelled")
            raise

    rest = writer(Server(before)).start(EVENT)
    assert rest is not None
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["cancelled"]


async def test_a_send_may_end_though_it_was_cancelled():
    """As one that was written already."""

    async def before() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    server = Server(before)
    rest = writer(server).start(EVENT)
    assert rest is not None
    task = asyncio.ensure_future(rest)
    await asyncio.sleep(1)
    task.cancel()
    await task
    assert server.sent == [EVENT]


async def test_a_server_whose_send_is_no_coroutine():
    """As granian's: it can be awaited, and not be told of a cancellation."""

    class Send:
        def __await__(self) -> Any:
            return iter(asyncio.get_running_loop().create_future().__await__())

    class Steps:
        def __init__(self, future: asyncio.Future[None]) -> None:
            self.future, self.asked = future, False

        def __iter__(self) -> "Steps":
            return self

        def __next__(self) -> Any:
            if self.future.done():
                raise StopIteration
            self.future._asyncio_future_blocking = True
            return self.future

    futures: list[asyncio.Future[None]] = []

    class Waiting:
        def __await__(self) -> Any:
            futures.append(asyncio.get_running_loop().create_future())
            return Steps(futures[-1])

    def send(event: Mapping[str, Any]) -> Any:
        return Waiting()

    first = Writer(WAITS, send, limit=1).start(EVENT)
    assert first is not None
    task = asyncio.ensure_future(first)
    await asyncio.sleep(1)
    futures[0].set_result(None)
    await task
    second = Writer(WAITS, send, limit=1).start(EVENT)
    assert second is not None
    task = asyncio.ensure_future(second)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("late", [False, True])
async def test_a_client_that_is_gone_is_said(late: bool):
    """Whether the server knows at once, or after a while."""

    async def before() -> None:
        if late:
            await asyncio.sleep(1)
        raise OSError("gone")

    with pytest.raises(ClientGone):
        await writer(Server(before)).send(EVENT)
    if late:
        rest = writer(Server(before)).start(EVENT)
        assert rest is not None
        with pytest.raises(ClientGone):
            await rest
    else:
        with pytest.raises(ClientGone):
            writer(Server(before)).start(EVENT)


async def test_where_the_server_offers_it_a_write_waits_for_the_client():
    """By the extension of ours, after what was written."""
    room = asyncio.Event()
    server = Server()
    scope = {"extensions": {DRAIN: room.wait}}
    one = writer(server, scope)
    rest = one.start(EVENT)
    assert rest is not None
    assert server.sent == [EVENT]
    room.set()
    await rest
    assert one.start(EVENT) is None
    assert not one.full


async def test_where_nobody_waits_it_is_full_after_so_many_bytes():
    """A scope that names no version of ASGI is plain daphne's."""
    one = writer(Server(), {"asgi": {"version": "3.0"}}, limit=3)
    for event in (EVENT, {"text": "ab"}, {"type": "websocket.accept"}):
        assert not one.full or event["type"] == "websocket.accept"
        await one.send(event)
    assert one.full
    assert not writer(Server(), WAITS, limit=0).full
