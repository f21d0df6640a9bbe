import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async

from tests import virtual_time
from tests.virtual_time import Stuck, VirtualTimeLoop


def virtual_loop() -> VirtualTimeLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return loop


async def test_a_long_wait_takes_no_time():
    """An hour of waiting passes on the loop's clock and hardly any on the wall's."""
    wall, virtual = time.monotonic(), virtual_loop().time()
    await asyncio.sleep(3600)
    assert time.monotonic() - wall < 1
    assert 3600 <= virtual_loop().time() - virtual < 3601


async def test_timers_fire_in_their_order():
    """Timers run by their deadline, and none is skipped by a jump."""
    fired: list[int] = []

    async def fire(after: int) -> None:
        await asyncio.sleep(after)
        fired.append(after)

    await asyncio.gather(*(fire(after) for after in (30, 10, 20, 86_400 * 3)))
    assert fired == [10, 20, 30, 86_400 * 3]


async def test_what_is_ready_goes_before_a_deadline():
    """A deadline does not win over work that needs only turns of the loop."""

    async def busy() -> str:
        for _ in range(1000):
            await asyncio.sleep(0)
        return "done"

    async with asyncio.timeout(1):
        assert await busy() == "done"


async def test_work_in_a_thread_is_waited_for():
    """A deadline does not fire while a thread's result is outstanding."""
    released = threading.Event()
    virtual_loop().call_soon(released.set)
    async with asyncio.timeout(5):
        assert await asyncio.to_thread(released.wait, 4)


@pytest.mark.parametrize("thread_sensitive", [True, False])
async def test_sync_to_async_is_waited_for(thread_sensitive: bool):
    """asgiref's own executors are counted, not only the loop's default one."""

    async def ask() -> int:
        return await sync_to_async(
            threading.get_ident, thread_sensitive=thread_sensitive
        )()

    async with asyncio.timeout(1), ThreadSensitiveContext():
        for _ in range(500):
            assert await ask() != threading.get_ident()


async def test_a_thread_may_call_back_into_the_loop():
    """A sync function that calls async code of the same loop gets its answer."""

    async def inner() -> VirtualTimeLoop:
        return virtual_loop()

    async with asyncio.timeout(1):
        assert await sync_to_async(async_to_sync(inner))() is virtual_loop()


async def test_a_thread_wakes_a_waiting_task():
    """What a counted thread brings by call_soon_threadsafe beats a deadline."""
    loop = virtual_loop()
    arrived = asyncio.Event()
    work = loop.run_in_executor(None, loop.call_soon_threadsafe, arrived.set)
    async with asyncio.timeout(1):
        await arrived.wait()
    await work


async def test_abandoned_work_still_counts():
    """No jump happens while a thread runs on whose waiter was cancelled."""
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(10)

    loop = virtual_loop()
    future = loop.run_in_executor(None, work)
    await loop.run_in_executor(None, started.wait)
    future.cancel()
    wall = time.monotonic()
    await asyncio.sleep(0.05)
    assert time.monotonic() - wall >= 0.05
    release.set()


async def test_work_cancelled_before_it_starts_is_forgotten():
    """Cancelled work that no thread has begun does not keep the clock real."""
    loop = virtual_loop()
    release = threading.Event()
    executor = ThreadPoolExecutor(1)
    busy = loop.run_in_executor(executor, release.wait)
    loop.run_in_executor(executor, time.monotonic).cancel()
    release.set()
    await busy
    wall = time.monotonic()
    await asyncio.sleep(3600)
    assert time.monotonic() - wall < 1
    executor.shutdown()


async def test_a_thread_of_the_tests_own_is_waited_for():
    """A thread that was started beside the loop may wake it before a deadline."""
    loop = virtual_loop()
    arrived = asyncio.Event()
    go = threading.Event()

    def work() -> None:
        go.wait(5)
        loop.call_soon_threadsafe(arrived.set)

    thread = threading.Thread(target=work)
    thread.start()
    loop.call_soon(go.set)
    async with asyncio.timeout(5):
        await arrived.wait()
    thread.join()


async def test_a_thread_that_ends_silently_stops_counting():
    """A thread that ends without waking the loop does not keep it in real time."""
    thread = threading.Thread(target=time.monotonic)
    thread.start()
    wall = time.monotonic()
    await asyncio.sleep(3600)
    assert time.monotonic() - wall < 1
    thread.join()


async def test_a_thread_from_before_the_loop_needs_a_real_time_block():
    """Inside real_time() no wait is jumped over."""
    wall = time.monotonic()
    with virtual_loop().real_time():
        await asyncio.sleep(0.05)
    assert time.monotonic() - wall >= 0.05
    await asyncio.sleep(3600)
    assert time.monotonic() - wall < 2


async def test_a_loop_with_sockets_runs_in_real_time():
    """What comes over a socket is not overtaken by a deadline."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        sender = threading.Thread(target=theirs.sendall, args=(b"x",))
        sender.start()
        async with asyncio.timeout(5):
            assert await virtual_loop().sock_recv(ours, 1) == b"x"
        sender.join()


@pytest.mark.real_time
async def test_the_real_time_marker_gives_asyncios_own_loop():
    """A marked test runs on an ordinary event loop."""
    assert not isinstance(asyncio.get_running_loop(), VirtualTimeLoop)


def run(main):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(main)


def test_a_wait_that_nothing_ends_is_an_error(monkeypatch: pytest.MonkeyPatch):
    """A test that waits for ever fails and says so."""
    monkeypatch.setattr(virtual_time, "PATIENCE", 0.01)

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stuck, match="no timer"):
        run(hang())


def test_timers_without_end_are_an_error():
    """A loop that only feeds its own timers fails instead of running for ever."""

    async def main() -> None:
        tick()
        await asyncio.get_running_loop().create_future()

    def tick() -> None:
        asyncio.get_running_loop().call_later(86_400, tick)

    with pytest.raises(Stuck, match="ran past"):
        run(main())


def test_closing_joins_the_threads_quietly():
    """Runner.close() joins the default pool without a time-out being jumped."""

    async def main() -> None:
        loop = virtual_loop()
        loop.run_in_executor(None, threading.Event().wait, 0.05)

    run(main())
