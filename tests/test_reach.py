"""The reach module: where a send goes from each kind of process, thread and loop."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import SynchronousOnlyOperation
from django.core.mail.backends.locmem import EmailBackend
from django.test import override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

from pushserver import reach
from pushserver.conf import get_config
from pushserver.engine.hub import Hub, running_hubs
from pushserver.exceptions import NobodyListens, StoreUnavailable
from pushserver.publisher import publisher_loop
from pushserver.stores.memory import MemoryStore

pytestmark = pytest.mark.usefixtures("process")

DAEMON = {"publisher_host": {"location": "127.0.0.1:8001"}}


class SharedStore(MemoryStore):
    """A store that says that other processes see what it keeps."""

    local = False


SHARED = {"store": {"type": f"{__name__}.SharedStore"}}


# Which way


def test_a_process_that_does_not_serve_needs_the_daemon() -> None:
    """A shell, a task queue, a WSGI server: the message goes out over HTTP."""
    assert reach.is_remote("default")


def test_a_process_that_serves_keeps_its_sends() -> None:
    """Without publisher_host a server is its own daemon."""
    reach.serve_here()
    assert not reach.is_remote("default")


@override_settings(PUSH_SERVER=DAEMON)
def test_an_explicit_publisher_host_is_obeyed_by_a_server() -> None:
    """Who names the daemon means it, also for a process that serves push itself."""
    reach.serve_here()
    assert reach.is_remote("default")


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("127.0.0.1:8001", ("127.0.0.1", 8001)),
        ("localhost:8001", ("127.0.0.1", 8001)),
        ("[::1]:8001", ("::1", 8001)),
        ("127.0.0.1:8001", ("0.0.0.0", 8001)),
        ("127.0.0.1:8001", ("::", 8001)),
        ("[::1]:8001", ("::", 8001)),
        ("localhost:8001", ("0.0.0.0", 8001)),
        ("192.0.2.7:8001", ("192.0.2.7", 8001)),
    ],
)
def test_the_daemon_publishes_to_itself(
    location: str, address: tuple[str, int]
) -> None:
    """Who listens at just the address of publisher_host needs no HTTP to get there."""
    with override_settings(PUSH_SERVER={"publisher_host": {"location": location}}):
        reach.serve_here(addresses=[address])
        assert not reach.is_remote("default")


@pytest.mark.parametrize(
    ("location", "address"),
    [
        ("127.0.0.1:8001", ("127.0.0.1", 8002)),
        ("127.0.0.1:8001", ("127.0.0.1", 80010)),
        ("127.0.0.1:8001", ("192.0.2.7", 8001)),
        ("192.0.2.7:8001", ("0.0.0.0", 8001)),
        ("push.example.com", ("127.0.0.1", 80)),
    ],
)
def test_another_address_is_another_server(
    location: str, address: tuple[str, int]
) -> None:
    """Another port, another host or a name: that may be somebody else."""
    with override_settings(PUSH_SERVER={"publisher_host": {"location": location}}):
        reach.serve_here(addresses=[address])
        assert reach.is_remote("default")


@override_settings(PUSH_SERVER=SHARED | DAEMON)
@pytest.mark.parametrize("serves", [False, True])
def test_a_shared_store_is_written_directly(
    serves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is not local is reached from any process, whoever serves."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    if serves:
        reach.serve_here()
    assert not reach.is_remote("default")


# Where nobody would hear


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({"WEB_CONCURRENCY": "4"}, []),
        ({}, ["--workers", "4"]),
        ({}, ["--workers=4"]),
        ({}, ["-w", "4"]),
    ],
)
def test_several_workers_with_a_memory_store_raise(
    environment: dict[str, str],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Most readers would not hear, so the send says what to set."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "argv", ["uvicorn", *arguments, "project.asgi:app"])
    reach.serve_here()
    with pytest.raises(NobodyListens, match=r"4 workers.*PUSH_SERVER\['store'\]"):
        reach.is_remote("default")


def test_one_worker_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was told to start one worker keeps its sends."""
    monkeypatch.setenv("WEB_CONCURRENCY", "1")
    reach.serve_here()
    assert not reach.is_remote("default")


@pytest.mark.parametrize("settings", [{}, DAEMON])
def test_workers_that_do_not_serve_use_the_daemon(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four WSGI workers beside one runpushserver reach all readers."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with override_settings(PUSH_SERVER=settings):
        assert reach.is_remote("default")


# The test runner


@contextmanager
def in_a_test_run() -> Iterator[None]:
    setup_test_environment()
    try:
        yield
    finally:
        teardown_test_environment()


@override_settings(PUSH_SERVER=DAEMON)
def test_under_the_test_runner_nobody_has_to_listen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A project's own tests go on working, whatever its settings name."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    with in_a_test_run():
        assert not reach.is_remote("default")
    assert reach.is_remote("default")


def test_mail_in_memory_is_no_test_run() -> None:
    """The locmem backend makes mail.outbox anywhere; sends still need a listener."""
    EmailBackend()
    try:
        assert mail.outbox == []
        assert reach.is_remote("default")
    finally:
        del mail.outbox


# Processes

FORKING = """
import json, multiprocessing, os
from django.conf import settings

settings.configure(SECRET_KEY="x", PUSH_SERVER=PUSH_SERVER)
from pushserver import reach

def answer(pipe):
    pipe.send(reach.is_remote("default"))

def by_multiprocessing():
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=answer, args=[there])
    child.start()
    remote = here.recv()
    child.join()
    return remote

def by_fork():
    here, there = multiprocessing.Pipe()
    if not os.fork():
        answer(there)
        os._exit(0)
    remote = here.recv()
    os.wait()
    return remote

reach.serve_here(addresses=[("127.0.0.1", 8001)])
answers = reach.is_remote("default"), by_multiprocessing(), by_fork()
print(json.dumps(answers))
"""


@pytest.mark.parametrize("settings", [{}, DAEMON])
def test_a_child_of_the_server_is_not_the_server(settings: Any) -> None:
    """A child that multiprocessing forked has a copy of the store that nobody reads.

    A plain fork may be a worker of a server that loads the application before it
    forks: it keeps its sends.
    """
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"PUSH_SERVER = {settings}\n{FORKING}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert json.loads(result.stdout) == [False, True, False]


# Threads and loops


async def make_hub() -> Hub:
    return Hub(get_config())


class HubThread:
    """A thread whose loop has a hub and does nothing else until it is told to."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.hub: Hub
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.hub = self.loop.run_until_complete(make_hub())
        self.loop.call_soon(self._ready.set)
        self.loop.run_forever()

    def __enter__(self) -> "HubThread":
        self._thread.start()
        self._ready.wait(10)
        return self

    def stop(self) -> None:
        """End the loop without a word to its tasks."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def __exit__(self, *exc_info: object) -> None:
        if self._thread.is_alive():
            self.stop()
        self.loop.run_until_complete(self.hub.close())
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            self.loop.run_until_complete(asyncio.wait([task]))
        self.loop.close()


@pytest.fixture
def served() -> Iterator[HubThread]:
    with HubThread() as served:
        yield served


async def where() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def for_ever() -> None:
    await asyncio.Event().wait()


Here = Callable[[], Coroutine[Any, Any, Any]]


def in_a_thread(here: Here) -> Any:
    return reach.run_sync(here, None)


def in_another_loop(here: Here) -> Any:
    return asyncio.run(reach.run(here, None))


each_way = pytest.mark.parametrize("send", [in_a_thread, in_another_loop])


@each_way
def test_sends_run_on_the_loop_of_the_hub(send, served: HubThread) -> None:
    """A thread and a loop without hub hand over to the loop that serves."""
    assert send(where) is served.loop


@each_way
def test_without_a_hub_sends_run_on_the_publisher(send) -> None:
    """A process that serves nobody has one loop for all its sends."""
    assert running_hubs() == []
    assert send(where) is publisher_loop()
    assert send(where) is publisher_loop()


def test_on_the_loop_of_the_hub_sends_run_at_once(served: HubThread) -> None:
    """Async code of the serving loop is where it should be."""
    answer = asyncio.run_coroutine_threadsafe(reach.run(where, None), served.loop)
    assert answer.result(10) is served.loop


def test_a_remote_send_opens_nothing_in_the_loop(served: HubThread) -> None:
    """A call to the daemon blocks a thread, never a loop."""

    def there() -> Any:
        return asyncio._get_running_loop(), threading.current_thread()

    assert reach.run_sync(where, there) == (None, threading.current_thread())
    loop, thread = asyncio.run(reach.run(where, there))
    assert loop is None
    assert thread is not threading.current_thread()


@each_way
def test_what_a_send_raises_reaches_the_caller(send, served: HubThread) -> None:
    """An error on the other loop is the caller's error, logged by nobody else."""

    async def fail() -> None:
        raise NobodyListens("as the test asked for")

    with pytest.raises(NobodyListens):
        send(fail)


@each_way
def test_a_loop_that_stops_does_not_hold_who_waits(send, served: HubThread) -> None:
    """The message may or may not be stored, and the error says so."""

    async def stop() -> None:
        served.loop.stop()
        await for_ever()

    with pytest.raises(StoreUnavailable) as caught:
        send(stop)
    assert caught.value.maybe_sent is True


@each_way
def test_a_loop_that_ends_its_tasks_cancels_nobody_else(
    send, served: HubThread
) -> None:
    """What asyncio.run does at its end is an error elsewhere, no cancellation."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(StoreUnavailable) as caught:
        send(cancelled)
    assert caught.value.maybe_sent is True


def test_who_stops_waiting_takes_the_send_along(served: HubThread) -> None:
    """Cancelling the caller cancels what runs for it on the other loop."""
    started, ended = threading.Event(), threading.Event()

    async def here() -> None:
        started.set()
        try:
            await for_ever()
        finally:
            ended.set()

    async def main() -> None:
        task = asyncio.create_task(reach.run(here, None))
        await asyncio.to_thread(started.wait, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert ended.wait(10)


@pytest.mark.long
@each_way
def test_a_loop_that_hangs_does_not_hold_who_waits(send, served: HubThread) -> None:
    """After ten seconds of silence the send is an error."""
    with pytest.raises(StoreUnavailable):
        send(for_ever)


class DyingLoop(asyncio.SelectorEventLoop):
    """A loop that is closed a moment after somebody saw it running."""

    dying = False

    def is_running(self) -> bool:
        return self.dying or super().is_running()

    def call_soon_threadsafe(  # type: ignore[override]
        self, *args: Any, **kwargs: Any
    ) -> asyncio.Handle:
        if self.dying:
            raise RuntimeError("Event loop is closed")
        return super().call_soon_threadsafe(*args, **kwargs)


@pytest.fixture
def dying() -> Iterator[Hub]:
    """A hub whose loop cannot be reached any more."""
    loop = DyingLoop()
    hub = loop.run_until_complete(make_hub())
    loop.dying = True
    yield hub
    loop.dying = False
    loop.run_until_complete(hub.close())
    loop.close()


@each_way
def test_a_loop_that_has_just_closed_is_passed_over(send, dying: Hub) -> None:
    """Finding a hub and reaching its loop are two moments; the next hub will do."""
    assert send(where) is publisher_loop()
    with HubThread() as served:
        assert running_hubs() == [dying, served.hub]
        assert send(where) is served.loop


# In a running loop


@pytest.mark.asyncio
async def test_a_blocking_call_in_a_loop_is_refused() -> None:
    """It would stop the loop for all; the error names what to await instead."""
    with pytest.raises(SynchronousOnlyOperation, match="await asend_update instead"):
        reach.refuse_in_a_loop("send_update")


def test_a_blocking_call_in_a_thread_is_fine() -> None:
    """Where no loop runs there is nothing to refuse."""
    reach.refuse_in_a_loop("send_update")
