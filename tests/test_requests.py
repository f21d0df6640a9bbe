"""Asking for a poll's request and telling the receivers: threads, connections, ends."""

import asyncio
import functools
import logging
import threading
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.signals import request_finished
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import RequestFactory, TestCase, override_settings
from django.urls import get_script_prefix

from pushserver import requests
from pushserver.requests import (
    ConnectionSignals,
    has_listeners,
    notify,
    send_response,
    settled,
    through_middleware,
)
from pushserver.signals import channel_subscribe, channel_unsubscribe
from tests.test_chain import USUAL, a_scope


class Consumer:
    """Stands for the consumer class: the sender."""


class OtherConsumer:
    """Stands for the consumer class of another role."""


Connect = Callable[..., None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect receivers for the length of a test."""
    connected: list[tuple[Any, Any, Any]] = []

    def connect(signal: Any, receiver: Any, sender: Any = None) -> None:
        signal.connect(receiver, sender=sender, weak=False)
        connected.append((signal, receiver, sender))

    yield connect
    for signal, receiver, sender in connected:
        signal.disconnect(receiver, sender=sender)


@pytest.fixture
def opened() -> Iterator[list[tuple[threading.Thread, Any]]]:
    """Each database connection that is opened, with its thread."""
    seen: list[tuple[threading.Thread, Any]] = []

    def note(*, connection: Any, **kwargs: Any) -> None:
        seen.append((threading.current_thread(), connection))

    connection_created.connect(note)
    yield seen
    connection_created.disconnect(note)


async def tell(signal: Any = channel_subscribe, **changes: Any) -> None:
    arguments = {
        "sender": Consumer,
        "request": RequestFactory().get("/updates/room"),
        "channel_id": "room",
        **changes,
    }
    await notify(signal, **arguments)


def query(**kwargs: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


async def gone(threads: set[threading.Thread]) -> None:
    """Wait until these threads have ended; they must have been told to."""
    for thread in threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


# Who listens


def test_nobody_listens_by_default() -> None:
    """A project without receivers pays for none."""
    assert not has_listeners(Consumer)


@pytest.mark.parametrize("signal", [channel_subscribe, channel_unsubscribe])
def test_a_receiver_of_either_signal_listens(connect: Connect, signal: Any) -> None:
    """One receiver of one of the two signals is enough to need a request."""
    connect(signal, query)
    assert has_listeners(Consumer)


def test_a_receiver_for_another_sender_does_not_listen(connect: Connect) -> None:
    """A receiver that asked for one consumer class costs the others nothing."""
    connect(channel_subscribe, query, OtherConsumer)
    assert not has_listeners(Consumer)
    assert has_listeners(OtherConsumer)


# Rounds


async def test_a_round_reaches_sync_and_async_receivers(connect: Connect) -> None:
    """Both kinds get the signal's arguments; a sync one may block its thread."""
    heard: list[tuple[str, Any]] = []

    def sync_receiver(signal: Any, **arguments: Any) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        heard.append(("sync", arguments))

    async def async_receiver(signal: Any, **arguments: Any) -> None:
        asyncio.get_running_loop()
        heard.append(("async", arguments))

    connect(channel_subscribe, sync_receiver)
    connect(channel_subscribe, async_receiver)
    request = RequestFactory().get("/updates/room")
    await tell(request=request)
    expected = {"sender": Consumer, "request": request, "channel_id": "room"}
    assert sorted(heard, key=lambda pair: pair[0]) == [
        ("async", expected),
        ("sync", expected),
    ]


@override_settings(MIDDLEWARE=USUAL)
async def test_receivers_see_the_user(connect: Connect, login: str) -> None:
    """request.user is right in a sync receiver, request.auser() in an async one."""
    seen: list[tuple[str, str]] = []

    def sync_receiver(request: Any, **kwargs: Any) -> None:
        seen.append(("sync", request.user.username))

    async def async_receiver(request: Any, **kwargs: Any) -> None:
        seen.append(("async", (await request.auser()).username))

    connect(channel_subscribe, sync_receiver)
    connect(channel_unsubscribe, async_receiver)
    connect(channel_unsubscribe, sync_receiver)
    request = await through_middleware(a_scope(headers={"cookie": login}))
    await tell(channel_subscribe, request=request)
    await tell(channel_unsubscribe, request=request)
    assert sorted(seen) == [("async", "ada"), ("sync", "ada"), ("sync", "ada")]


class Broken:
    """A receiver without a name, like a partial or an object with a method."""

    def __call__(self, **kwargs: Any) -> None:
        raise ValueError("broken receiver")


async def broken(**kwargs: Any) -> None:
    raise ValueError("broken receiver")


@pytest.mark.parametrize("receiver", [Broken(), functools.partial(Broken()), broken])
async def test_a_receiver_that_raises_is_logged_once(
    connect: Connect, caplog: pytest.LogCaptureFixture, receiver: Any
) -> None:
    """Its traceback goes into the log; the others hear, and the sender goes on."""
    heard: list[str] = []

    async def after(**kwargs: Any) -> None:
        heard.append("async")

    def before(**kwargs: Any) -> None:
        heard.append("sync")

    connect(channel_subscribe, receiver)
    connect(channel_subscribe, before)
    connect(channel_subscribe, after)
    await tell()
    assert sorted(heard) == ["async", "sync"]
    [record] = caplog.records
    assert record.name == "pushserver.signals"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "broken receiver"


async def test_a_receiver_that_cancels_itself_cancels_nobody(connect: Connect) -> None:
    """A CancelledError of a receiver is not taken for the end of the poll."""

    async def receiver(**kwargs: Any) -> None:
        raise asyncio.CancelledError

    connect(channel_subscribe, receiver)
    await tell()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_round_nobody_hears_starts_no_thread() -> None:
    """Without a receiver for this sender a round is nothing at all."""
    before = threading.active_count()
    await tell()
    assert threading.active_count() == before
    assert not requests._running


async def test_reverse_works_below_a_root_path(connect: Connect) -> None:
    """A receiver builds URLs with the prefix that a view behind it would use."""
    prefixes: list[str] = []

    def receiver(**kwargs: Any) -> None:
        prefixes.append(get_script_prefix())

    connect(channel_subscribe, receiver)
    factory = RequestFactory()
    await tell(request=factory.get("/updates/room", SCRIPT_NAME="/site"))
    await tell(request=factory.get("/updates/room"))
    assert prefixes == ["/site/", "/"]
    assert get_script_prefix() == "/"


async def test_eight_rounds_run_at_the_same_time(connect: Connect) -> None:
    """A receiver that takes its time keeps no other poll waiting."""
    together = threading.Barrier(8)
    met: list[int] = []

    def receiver(**kwargs: Any) -> None:
        met.append(together.wait(10))  # raises unless eight are here at once

    connect(channel_subscribe, receiver)
    await asyncio.gather(*(tell() for _ in range(8)))
    assert sorted(met) == list(range(8))


class Meets:
    """A sync middleware in which eight polls must be at the same time."""

    sync_capable = True
    async_capable = False
    together = threading.Barrier(8)

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        self.together.wait(10)
        return self.get_response(request)


@override_settings(MIDDLEWARE=[f"{__name__}.Meets"])
async def test_eight_passes_run_at_the_same_time() -> None:
    """A middleware that takes its time keeps no other poll waiting."""
    passes = [through_middleware(a_scope()) for _ in range(8)]
    results = await asyncio.gather(*passes)
    assert all(isinstance(request, HttpRequest) for request in results)


# Threads and connections


@override_settings(MIDDLEWARE=USUAL)
async def test_nothing_is_held_while_a_poll_waits(
    connect: Connect, login: str, opened: list[tuple[threading.Thread, Any]]
) -> None:
    """After a pass and after a round no connection is open and no thread is left."""
    users: list[str] = []

    def receiver(request: Any, **kwargs: Any) -> None:
        query()
        users.append(request.user.username)

    async def async_receiver(request: Any, **kwargs: Any) -> None:
        users.append((await request.auser()).username)

    connect(channel_subscribe, receiver)
    connect(channel_subscribe, async_receiver)
    await tell(request=await through_middleware(a_scope(headers={"cookie": login})))
    before = set(threading.enumerate())
    opened.clear()
    for _ in range(5):
        request = await through_middleware(a_scope(headers={"cookie": login}))
        await tell(request=request)
        assert all(wrapper.connection is None for _, wrapper in opened)
    assert users == ["ada"] * 12
    assert len(opened) == 5
    assert threading.main_thread() not in {thread for thread, _ in opened}
    await gone({thread for thread, _ in opened})
    await gone(
        {t for t in set(threading.enumerate()) - before if "asyncio" not in t.name}
    )


def test_connections_of_other_threads_stay_open(
    connect: Connect, database: None
) -> None:
    """Closing is for the round's own thread; this one's connection is not touched."""
    connect(channel_subscribe, query)
    query()
    raw = connection.connection
    with asyncio.Runner() as runner:
        runner.run(tell())
    assert raw is not None
    assert connection.connection is raw


async def test_connections_of_a_borrowed_thread_stay_open(
    connect: Connect, database: None
) -> None:
    """Inside another one's thread only what the round opened itself is closed."""
    connect(channel_subscribe, query)
    async with ThreadSensitiveContext():

        def raw() -> Any:
            return connections["default"].connection

        await sync_to_async(query)()
        before = await sync_to_async(raw)()
        await tell()
        assert before is not None
        assert await sync_to_async(raw)() is before
        await sync_to_async(requests._close_connections)(set())
        await tell()
        assert await sync_to_async(raw)() is None


async def test_a_connection_that_cannot_be_closed_changes_nothing(
    connect: Connect, database: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken connection is logged and the poll goes on."""

    class Broken:
        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def close(self) -> None:
            self.raw.close()
            raise ValueError("the server went away")

    def receiver(**kwargs: Any) -> None:
        query()
        wrapper = connections["default"]
        wrapper.connection = Broken(wrapper.connection)

    connect(channel_subscribe, receiver)
    await tell()
    assert "Could not close the connection default" in caplog.text
    assert "the server went away" in caplog.text


def test_a_projects_own_testcase_keeps_its_transaction(
    connect: Connect, database: None
) -> None:
    """In a TestCase receivers see its uncommitted rows, and those survive."""
    names: list[str] = []

    def receiver(request: Any, **kwargs: Any) -> None:
        names.append(request.user.username)
        query()

    connect(channel_subscribe, receiver)

    class Project(TestCase):
        @override_settings(MIDDLEWARE=USUAL)
        async def test_a_poll(self) -> None:
            user = await User.objects.acreate(username="grace")
            await self.async_client.aforce_login(user)
            cookie = self.async_client.cookies["sessionid"].value
            response = await self.async_client.get("/nowhere/")
            assert response.status_code == 404
            scope = a_scope(headers={"cookie": f"sessionid={cookie}"})
            request = await through_middleware(scope)
            await tell(request=request)
            await tell(request=request)
            assert await User.objects.filter(username="grace").aexists()

        def test_the_connection_is_the_same(self) -> None:
            request: Any = RequestFactory().get("/updates/room")
            request.user = User.objects.create(username="joan")
            raw = connection.connection
            async_to_sync(tell)(request=request)
            assert connection.connection is raw
            assert User.objects.get().username == "joan"

    result = unittest.TestResult()
    loader = unittest.defaultTestLoader
    loader.loadTestsFromTestCase(Project).run(result)
    assert [text for _, text in result.errors + result.failures] == []
    assert result.testsRun == 2
    assert names == ["grace", "grace", "joan"]
    assert not User.objects.exists()


# A database in a file: unlike one in memory, its connections can really be closed.


@pytest.fixture
def in_file(tmp_path: Any) -> Iterator[str]:
    """The alias of a database in a file."""
    settings = {**connections.settings["default"], "NAME": str(tmp_path / "db")}
    connections.settings["file"] = settings
    yield "file"
    connections["file"].close()
    del connections["file"]
    del connections.settings["file"]


def test_an_open_transaction_of_the_caller_survives(
    connect: Connect, in_file: str
) -> None:
    """Below async_to_sync a round leaves the caller's transaction as it is."""

    def receiver(**kwargs: Any) -> None:
        with connections[in_file].cursor() as cursor:
            cursor.execute("INSERT INTO polls VALUES (1)")

    connect(channel_subscribe, receiver)
    with connections[in_file].cursor() as cursor:
        cursor.execute("CREATE TABLE polls (id integer)")
    with transaction.atomic(using=in_file):
        async_to_sync(tell)()
        with connections[in_file].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM polls")
            assert cursor.fetchone() == (1,)


async def test_a_connection_to_a_file_is_closed(
    connect: Connect, in_file: str, opened: list[tuple[threading.Thread, Any]]
) -> None:
    """A connection that can be closed is closed in the thread that used it."""
    threads: list[threading.Thread] = []

    def receiver(**kwargs: Any) -> None:
        with connections[in_file].cursor() as cursor:
            cursor.execute("SELECT 1")
        threads.append(threading.current_thread())

    connect(channel_subscribe, receiver)
    await tell()
    [(thread, wrapper)] = opened
    assert [thread] == threads
    assert wrapper.connection is None


# The two signals of a held poll


@pytest.fixture
def heard(connect: Connect) -> list[str]:
    """What the receivers of both signals heard, in order."""
    heard: list[str] = []

    def subscribed(channel_id: str, **kwargs: Any) -> None:
        heard.append(f"+{channel_id}")

    def unsubscribed(channel_id: str, **kwargs: Any) -> None:
        heard.append(f"-{channel_id}")

    connect(channel_subscribe, subscribed)
    connect(channel_unsubscribe, unsubscribed)
    return heard


def a_connection() -> ConnectionSignals:
    request = RequestFactory().get("/updates/room")
    return ConnectionSignals(sender=Consumer, request=request)


async def test_each_channel_of_a_connection_is_told_in_order(heard: list[str]) -> None:
    """One round at a time, in the order of the calls; later ones may follow."""
    connection = a_connection()
    for channel_id in ("a", "b"):
        connection.subscribe(channel_id)
    connection.unsubscribe("a")
    await connection.sent()
    assert heard == ["+a", "+b", "-a"]
    connection.unsubscribe("b")
    await connection.sent()
    await connection.sent()
    assert heard == ["+a", "+b", "-a", "-b"]


async def test_unsubscribe_waits_for_subscribe(
    connect: Connect, heard: list[str]
) -> None:
    """A subscribe receiver that takes long is finished before the unsubscribe."""
    go = asyncio.Event()

    async def slow(**kwargs: Any) -> None:
        await go.wait()
        heard.append("slow")

    connect(channel_subscribe, slow)
    poll = a_connection()
    poll.subscribe("room")
    poll.unsubscribe("room")
    asyncio.get_running_loop().call_later(1, go.set)
    await poll.sent()
    assert heard == ["+room", "slow", "-room"]


async def test_a_cancelled_poll_still_unsubscribes(
    connect: Connect, heard: list[str]
) -> None:
    """A poll cut off while receivers run stops at once and is told of in full."""
    running = threading.Event()
    go = threading.Event()

    def slow(**kwargs: Any) -> None:
        running.set()
        assert go.wait(10)
        heard.append("slow")

    connect(channel_subscribe, slow)

    async def consumer() -> None:
        poll = a_connection()
        try:
            poll.subscribe("room")
            await poll.sent()
        finally:
            poll.unsubscribe("room")

    task = asyncio.create_task(consumer())
    await asyncio.to_thread(running.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard == ["+room"]
    go.set()
    await settled()
    assert heard == ["+room", "slow", "-room"]
    assert not requests._running


async def test_a_cancelled_notify_finishes_its_round(connect: Connect) -> None:
    """Who awaits a round may be cancelled; the round itself is not, and tidies up."""
    begun, go = asyncio.Event(), asyncio.Event()
    heard: list[str] = []

    async def slow(**kwargs: Any) -> None:
        begun.set()
        await go.wait()
        heard.append("slow")

    connect(channel_subscribe, slow)
    task = asyncio.create_task(tell())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    await settled()
    assert heard == ["slow"]


# Answers of middleware


async def test_an_answer_is_sent_and_closed(connect: Connect) -> None:
    """Status, headers, cookies and body go out; then Django hears of the end."""
    sent: list[Any] = []
    events: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message)
        events.append(message["type"])

    def finished(**kwargs: Any) -> None:
        query()
        events.append("finished")

    connect(request_finished, finished)
    response = HttpResponse("no", status=403)
    response.set_cookie("a", "1")
    await send_response(response, send)
    assert events == ["http.response.start", "http.response.body", "finished"]
    assert sent[0]["status"] == 403
    assert (b"Set-Cookie", b"a=1; Path=/") in sent[0]["headers"]
    assert sent[1]["body"] == b"no"
    assert response.closed


async def test_an_answer_may_stream() -> None:
    """A streaming answer goes out in parts."""
    bodies: list[bytes] = []

    async def send(message: Any) -> None:
        bodies.append(message.get("body", b""))

    async def parts() -> Any:
        yield b"one"
        yield b"two"

    await send_response(StreamingHttpResponse(parts()), send)
    assert bodies == [b"", b"one", b"two", b""]


async def test_an_answer_is_closed_when_the_client_is_gone() -> None:
    """A send that fails still ends the request for Django."""

    async def send(message: Any) -> None:
        raise OSError("the client is gone")

    response = HttpResponse("no")
    with pytest.raises(OSError, match="the client is gone"):
        await send_response(response, send)
    assert response.closed
