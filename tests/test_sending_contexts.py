"""Sending from every context: views, threads, loops, processes, the test runner."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import InMemoryChannelLayer
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import path

from pushserver import reach
from pushserver.exceptions import DaemonUnreachable, NobodyListens
from pushserver.sending import Sent, asend_update, channel_info, send_update
from pushserver.signals import channel_subscribe
from tests.daemon import (
    ROADS,
    Daemon,
    connected,
    start_daemon,
    start_daemon_by,
    unreachable,
)

pytestmark = pytest.mark.usefixtures("process")


def sync_view(request: HttpRequest) -> JsonResponse:
    return told(send_update("news", {"type": "sync view"}))


async def async_view(request: HttpRequest) -> JsonResponse:
    return told(await asend_update("news", {"type": "async view"}))


def thread_view(request: HttpRequest) -> JsonResponse:
    results: list[Sent | None] = []
    thread = threading.Thread(
        target=lambda: results.append(send_update("news", {"type": "thread"}))
    )
    thread.start()
    thread.join()
    return told(results[0])


def wrapped_view(request: HttpRequest) -> JsonResponse:
    return told(async_to_sync(asend_update)("news", {"type": "async_to_sync"}))


async def nested_view(request: HttpRequest) -> JsonResponse:
    """Sync code below async code below sync code, as frameworks stack it."""

    async def inner() -> Sent | None:
        return await sync_to_async(send_update)("news", {"type": "nested"})

    return told(await sync_to_async(async_to_sync(inner))())


def told(sent: Sent | None) -> JsonResponse:
    assert sent is not None
    return JsonResponse({"id": sent.id, "held": sent.held})


urlpatterns = [
    path("sync-view/", sync_view),
    path("async-view/", async_view),
    path("thread/", thread_view),
    path("async_to_sync/", wrapped_view),
    path("nested/", nested_view),
]
VIEWS = ["sync view", "async view", "thread", "async_to_sync", "nested"]


@pytest.fixture(params=ROADS)
def site(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """A server of push and Django, and the way in which its views send."""
    with (
        override_settings(ROOT_URLCONF=__name__),
        start_daemon_by(request.param, get_asgi_application()) as site,
    ):
        yield site


@pytest.fixture(params=ROADS)
def either_daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with start_daemon_by(request.param) as daemon:
        yield daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with start_daemon() as daemon:
        yield daemon


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_of_the_serving_process_reaches_who_is_held(
    view: str, site: Daemon
) -> None:
    """Each kind of view sends, is told of the held reader, and the reader hears it."""
    reader = site.reader("news").held()
    sent = json.loads(site.get(f"/{view.replace(' ', '-')}/"))
    assert sent["held"] == 1
    assert json.loads(reader.next()) == {"type": view}


@pytest.mark.parametrize("view", VIEWS)
def test_before_the_first_poll_a_view_only_keeps_the_update(
    view: str, site: Daemon
) -> None:
    """A server that nobody has polled yet keeps what is sent for who comes."""
    sent = json.loads(site.get(f"/{view.replace(' ', '-')}/"))
    assert sent["held"] == 0
    assert json.loads(site.reader("news").next()) == {"type": view}


@override_settings(ROOT_URLCONF=__name__)
@pytest.mark.parametrize("view", VIEWS)
def test_a_view_under_wsgi_reaches_the_daemon(view: str, remote_daemon: Daemon) -> None:
    """A WSGI server serves no push, so each kind of view sends over HTTP."""
    reader = remote_daemon.reader("news").held()
    sent = Client().get(f"/{view.replace(' ', '-')}/").json()
    assert sent["held"] == 1
    assert json.loads(reader.next()) == {"type": view}


async def send_once() -> Sent | None:
    return await asend_update("news", {"type": "once"})


def from_a_shell() -> Sent | None:
    return send_update("news", {"type": "once"})


def from_a_loop() -> Sent | None:
    return asyncio.run(send_once())


def from_wrapped_code() -> Sent | None:
    return async_to_sync(send_once)()


SENDERS = [from_a_shell, from_a_loop, from_wrapped_code]


@pytest.mark.parametrize("send", SENDERS)
def test_a_script_reaches_who_is_held(
    send: Callable[[], Sent | None], either_daemon: Daemon
) -> None:
    """Code outside of any request sends too, sync and in a loop of its own."""
    reader = either_daemon.reader("news").held()
    sent = send()
    assert sent is not None
    assert sent.held == 1
    assert json.loads(reader.next()) == {"type": "once"}


@pytest.mark.parametrize("send", SENDERS)
def test_sends_under_the_test_runner_never_raise(
    send: Callable[[], Sent | None],
) -> None:
    """A project's own tests need no daemon, and can read back what was sent."""
    setup_test_environment()
    try:
        with unreachable():
            sent = send()
            assert sent is not None
            assert sent.held == 0
            info = channel_info("news")
            assert info is not None
            assert (info.messages, info.last_message_id) == (1, sent.id)
    finally:
        teardown_test_environment()


@pytest.mark.parametrize("send", SENDERS)
def test_a_process_without_daemon_says_so(send: Callable[[], Sent | None]) -> None:
    """Nobody listens at publisher_host: silence is never success."""
    with unreachable(), pytest.raises(DaemonUnreachable):
        send()


@pytest.mark.parametrize("send", SENDERS)
def test_several_workers_without_a_shared_store_raise(
    send: Callable[[], Sent | None], process: pytest.MonkeyPatch
) -> None:
    """Most readers of such a server would not hear the update."""
    process.setenv("WEB_CONCURRENCY", "4")
    reach.serve_here()
    with pytest.raises(NobodyListens):
        send()


@pytest.mark.parametrize("receiver", ["sync", "async"])
def test_a_receiver_may_greet_who_subscribes(receiver: str, daemon: Daemon) -> None:
    """A send in a receiver of channel_subscribe reaches the very poll it is about."""

    def greet(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
        send_update(channel_id, {"type": "welcome"})

    async def agreet(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
        await asend_update(channel_id, {"type": "welcome"})

    with connected(channel_subscribe, greet if receiver == "sync" else agreet):
        assert json.loads(daemon.reader("news").next()) == {"type": "welcome"}


class ParticularLayer(InMemoryChannelLayer):
    """A layer that must not be touched from two loops."""

    loops: set[asyncio.AbstractEventLoop] = set()

    async def group_send(self, *args: Any, **kwargs: Any) -> None:
        self.loops.add(asyncio.get_running_loop())
        await super().group_send(*args, **kwargs)

    async def group_add(self, *args: Any, **kwargs: Any) -> None:
        self.loops.add(asyncio.get_running_loop())
        await super().group_add(*args, **kwargs)

    async def receive(self, *args: Any, **kwargs: Any) -> Any:
        self.loops.add(asyncio.get_running_loop())
        return await super().receive(*args, **kwargs)


@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": f"{__name__}.ParticularLayer"}}
)
def test_many_threads_keep_the_order_of_each(daemon: Daemon) -> None:
    """Threads send at once; each one's updates arrive in its order, on one loop."""
    ParticularLayer.loops.clear()
    reader = daemon.reader("news").held()

    def work(name: int) -> None:
        for number in range(10):
            if name % 2:
                send_update("news", [name, number])
            else:
                asyncio.run(asend_update("news", [name, number]))

    threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
    for thread in threads:
        thread.start()
    received = [json.loads(reader.next()) for _ in range(40)]
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [n for who, n in received if who == name] == list(range(10))
    assert len(ParticularLayer.loops) == 1
