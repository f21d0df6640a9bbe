"""One application for push and Django: what is ours and what is not, the lifespan."""

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from pushserver.asgi import PushApplication, push_application
from pushserver.consumers import SubscriberConsumer
from pushserver.engine import subscriptions
from pushserver.requests import settled
from pushserver.signals import channel_unsubscribe
from tests.asgi_client import Client

Application = Callable[[Any, Any, Any], Awaitable[None]]
Events = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _new_store() -> Iterator[None]:
    with override_settings(DEBUG=True, PUSH_SERVER={"poll_timeout": 10}):
        yield


class Project:
    """An application of a project; it notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls.append((scope, receive, send))
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the project's"})


# What is ours, and what goes through


async def test_locations_are_ours() -> None:
    """Push URLs are served here, and the project does not hear of them."""
    project = Project()
    client = Client(push_application(project))
    assert (await client.ask("POST", "/send-update/room", b"news")).status == 202
    assert (await client.ask("GET", "/updates/room")).body == b"news"
    assert (await client.ask("GET", "/updates/%ZZ")).status == 400
    assert (await client.ask("PUT", "/updates/room")).status == 405
    assert project.calls == []


async def test_other_paths_go_through_untouched() -> None:
    """The project gets the server's own scope, receive and send, whatever the path."""
    project = Project()
    application = push_application(project)
    for path in ("/", "/updates/", "/UPDATES/room", "/%ZZ", "//updates/a"):
        answer = await Client(application).ask("POST", path, b"body")
        assert answer.body == b"the project's", path
    scope: dict[str, Any] = {"type": "http", "path": "/", "headers": []}
    receive, send = parts()
    await application(scope, receive, send)
    assert project.calls[-1] == (scope, receive, send)
    assert project.calls[-1][0] is scope


def parts() -> tuple[Any, Any]:
    async def receive() -> Any:
        await asyncio.get_running_loop().create_future()

    async def send(event: Any) -> None:
        pass

    return receive, send


async def test_websockets_go_through_untouched() -> None:
    """A websocket is the project's, also where only messages are put in."""
    project = Project()
    receive, send = parts()
    for path in ("/chat", "/send-update/room"):
        scope: dict[str, Any] = {"type": "websocket", "path": path, "headers": []}
        await push_application(project)(scope, receive, send)
        assert project.calls[-1][0] is scope
        assert project.calls[-1][1:] == (receive, send)


async def test_the_project_fails_as_without_us() -> None:
    """What the project raises reaches the server."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("the project's")

    with pytest.raises(RuntimeError, match="the project's"):
        await Client(push_application(failing)).ask("GET", "/")


async def test_django_is_served_beside_push() -> None:
    """The one line for asgi.py."""
    client = Client(push_application(get_asgi_application()))
    with override_settings(DEBUG=False):
        assert (await client.ask("GET", "/nothing/here")).status == 404
    assert (await client.ask("PUT", "/send-update/room")).status == 200


async def test_a_router_by_protocol_is_served_beside_push() -> None:
    """Channels' own ProtocolTypeRouter may be wrapped as well."""
    project = Project()
    application = push_application(ProtocolTypeRouter({"http": project}))
    assert (await Client(application).ask("GET", "/")).status == 200
    assert (await Client(application).ask("PUT", "/send-update/room")).status == 200


async def test_without_a_project_all_else_is_404() -> None:
    """One plain line."""
    client = Client(push_application())
    answer = await client.ask("POST", "/elsewhere", b"body")
    assert (answer.status, answer.text.count("\n")) == (404, 1)
    assert (await client.ask("PUT", "/send-update/room")).status == 200


async def test_without_a_project_websockets_are_closed() -> None:
    """Closing before accepting is what a server turns into a refusal."""
    sent: Events = []

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "websocket", "path": "/chat", "headers": []}
    await push_application()(scope, parts()[0], send)
    assert sent == [{"type": "websocket.close"}]


async def test_without_a_project_other_protocols_are_refused() -> None:
    """ASGI asks an application to raise for what it does not know."""
    with pytest.raises(ValueError, match=r"'carrier\.pigeon'"):
        await push_application()({"type": "carrier.pigeon"}, *parts())


def test_nothing_is_wrapped_twice() -> None:
    """What push_application returned may be given to it again."""
    application = push_application(Project())
    assert push_application(application) is application
    assert isinstance(application, PushApplication)
    alone = push_application()
    assert push_application(alone) is alone


async def test_the_innermost_of_two_is_never_reached() -> None:
    """Wrapped with something in between, the outer one serves, and all works."""
    inner = push_application(Project())

    async def between(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    client = Client(push_application(between))
    assert (await client.ask("PUT", "/send-update/room")).status == 200
    assert (await client.ask("GET", "/")).body == b"the project's"


def test_wrong_settings_are_said_when_the_server_starts() -> None:
    """Not at the first request."""
    wrong = override_settings(PUSH_SERVER={"prot": 8001})
    with wrong, pytest.raises(ImproperlyConfigured, match="prot"):
        push_application(Project())


@pytest.mark.parametrize("by", ["server", "setting"])
async def test_a_site_below_a_prefix(by: str) -> None:
    """Only what is below root_path or FORCE_SCRIPT_NAME is the site's."""
    project = Project()
    client = Client(push_application(project))
    name = "/app" if by == "setting" else None
    mounted = {"root_path": "/app"} if by == "server" else {}
    with override_settings(FORCE_SCRIPT_NAME=name):
        answer = await client.ask("PUT", "/app/send-update/room", **mounted)
        assert answer.status == 200
        answer = await client.ask("GET", "/other/updates/room", **mounted)
        assert answer.body == b"the project's"


# The lifespan


class Lifespan:
    """A server's side of the lifespan protocol."""

    def __init__(self, application: Application) -> None:
        self.sent: list[str] = []
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._news = asyncio.Event()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}

        async def run() -> None:
            await application(scope, self._events.get, self._send)

        self.task = asyncio.create_task(run())
        self.task.add_done_callback(lambda _: self._news.set())

    async def _send(self, event: Any) -> None:
        self.sent.append(event["type"])
        self._news.set()

    async def say(self, event: str) -> list[str]:
        """Say it, and return everything sent when there is an answer or the end."""
        self._events.put_nowait({"type": event})
        self._news.clear()
        await self._news.wait()
        return self.sent

    async def start(self) -> list[str]:
        return await self.say("lifespan.startup")

    async def stop(self) -> list[str]:
        await self.say("lifespan.shutdown")
        await self.task
        return self.sent


STARTED = "lifespan.startup.complete"
STOPPED = "lifespan.shutdown.complete"


async def supporting(scope: Any, receive: Any, send: Any) -> None:
    """An application with a lifespan, as in the specification."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return


async def starting_only(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": STARTED})


async def returning(scope: Any, receive: Any, send: Any) -> None:
    return


async def listening(scope: Any, receive: Any, send: Any) -> None:
    await receive()


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("only http, as Django says it")


async def refusing_late(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise AssertionError("no http request")


@pytest.mark.parametrize(
    "application",
    [None, supporting, starting_only, returning, listening, refusing, refusing_late,
     get_asgi_application(), ProtocolTypeRouter({})],
)  # fmt: skip
async def test_the_lifespan_is_answered(application: Any) -> None:
    """Once each, whether the application does it, leaves it out or refuses."""
    lifespan = Lifespan(push_application(application))
    assert await lifespan.start() == [STARTED]
    assert await lifespan.stop() == [STARTED, STOPPED]


async def test_the_state_is_the_projects() -> None:
    """The application gets the server's own scope."""
    project = Project()
    lifespan = Lifespan(push_application(project))
    await lifespan.start()
    assert "state" in project.calls[0][0]
    await lifespan.stop()


@pytest.mark.parametrize("raises", [True, False])
async def test_a_project_that_cannot_start(raises: bool) -> None:
    """Its word goes to the server, and we do not start in its place."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        if raises:
            raise RuntimeError("no database")

    lifespan = Lifespan(push_application(failing))
    assert await lifespan.start() == ["lifespan.startup.failed"]
    [result] = await asyncio.gather(lifespan.task, return_exceptions=True)
    assert isinstance(result, RuntimeError) is raises
    assert lifespan.sent == ["lifespan.startup.failed"]


@pytest.mark.parametrize("said", [STARTED, "lifespan.shutdown.failed"])
async def test_a_project_that_fails_later(said: str) -> None:
    """An application that supports the lifespan may fail in it: the server hears so."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if said != STARTED:
            await send({"type": STARTED})
            await receive()
        await send({"type": said})
        raise RuntimeError("the project's")

    lifespan = Lifespan(push_application(failing))
    await lifespan.start()
    with pytest.raises(RuntimeError, match="the project's"):
        await lifespan.stop()
    assert lifespan.sent[-1] == said


async def test_the_end_of_the_lifespan_ends_everything() -> None:
    """Held polls get their 503, receivers finish, the hub's tasks are gone."""
    finished: list[str] = []

    async def receiver(channel_id: str, **kwargs: Any) -> None:
        await asyncio.sleep(1)
        finished.append(channel_id)

    channel_unsubscribe.connect(receiver, sender=SubscriberConsumer)
    try:
        application = push_application(supporting)
        lifespan = Lifespan(application)
        await lifespan.start()
        before = asyncio.all_tasks()
        left = await Client(application).open("GET", "/updates/left").held()
        left.leave()
        await left.task
        waiting = await Client(application).open("GET", "/updates/room").held()
        assert await lifespan.stop() == [STARTED, STOPPED]
        assert (await waiting.answered()).status == 503
        assert "left" in finished
        await settled()
        assert finished == ["left", "room"]
        assert asyncio.all_tasks() <= before
    finally:
        channel_unsubscribe.disconnect(receiver, sender=SubscriberConsumer)


# Signals of the operating system

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def caught() -> Iterator[list[int]]:
    """Handlers as a server installs them before it starts the lifespan."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, lambda got, frame: numbers.append(got))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_the_held_polls(caught: list[int], number: int) -> None:
    """503 with Retry-After at once, and the server's own handler runs as before."""
    application = push_application(refusing)
    lifespan = Lifespan(application)
    await lifespan.start()
    client = Client(application)
    waiting = [await client.open("GET", "/updates/room").held() for _ in range(3)]
    signal.raise_signal(number)
    assert caught == [number]
    for each in waiting:
        answer = await each.answered()
        assert answer.status == 503
        assert answer["retry-after"] in ("1", "2", "3")
    assert (await client.ask("GET", "/updates/room")).status == 503
    await lifespan.stop()


@pytest.mark.parametrize("number", SIGNALS)
async def test_signals_are_given_back(caught: list[int], number: int) -> None:
    """After the lifespan the handlers are those of before, on a closed loop, too."""
    before = signal.getsignal(number)
    lifespan = Lifespan(push_application())
    await lifespan.start()
    assert signal.getsignal(number) is not before
    await lifespan.stop()
    assert signal.getsignal(number) is before


async def test_who_came_later_stays(caught: list[int]) -> None:
    """A handler that was put upon ours is left alone, and what it calls is harmless."""
    lifespan = Lifespan(push_application())
    await lifespan.start()
    ours: Any = signal.getsignal(signal.SIGTERM)

    def later(number: int, frame: Any) -> None:
        ours(number, frame)

    signal.signal(signal.SIGTERM, later)
    await lifespan.stop()
    assert signal.getsignal(signal.SIGTERM) is later


def test_a_signal_after_the_loop(caught: list[int]) -> None:
    """A handler that outlived its loop still hands over: the process can be ended."""

    async def serve() -> Any:
        lifespan = Lifespan(push_application())
        await lifespan.start()
        handler = signal.getsignal(signal.SIGTERM)
        lifespan.task.cancel()
        await asyncio.wait([lifespan.task])
        return handler

    signal.signal(signal.SIGTERM, asyncio.run(serve()))
    signal.raise_signal(signal.SIGTERM)
    assert caught == [signal.SIGTERM]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
async def test_a_signal_that_does_not_stop_the_server(
    caught: list[int], handler: Any
) -> None:
    """One that is ignored must not end the polls; the default needs no handler."""
    signal.signal(signal.SIGINT, handler)
    lifespan = Lifespan(push_application())
    await lifespan.start()
    assert signal.getsignal(signal.SIGINT) == handler
    await lifespan.stop()
    assert signal.getsignal(signal.SIGINT) == handler


def test_a_server_in_a_thread(caught: list[int]) -> None:
    """Only the main thread may have handlers: elsewhere the lifespan goes without."""
    before = signal.getsignal(signal.SIGTERM)
    sent: list[list[str]] = []

    async def serve() -> None:
        lifespan = Lifespan(push_application())
        await lifespan.start()
        assert signal.getsignal(signal.SIGTERM) is before
        sent.append(await lifespan.stop())

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    thread.join()
    assert sent == [[STARTED, STOPPED]]


async def test_draining_is_over_with_its_loop() -> None:
    """What a stopped server drained does not keep the next one from holding polls."""
    subscriptions.drain()
    client = Client(push_application())
    assert (await client.ask("GET", "/updates/room")).status == 503
    await subscriptions.current().close()
    waiting = await client.open("GET", "/updates/room").held()
    waiting.leave()
    await waiting.task
