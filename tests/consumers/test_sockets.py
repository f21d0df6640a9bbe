"""WebSockets of one channel and of many, in process."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pushserver.engine import subscriptions
from pushserver.requests import settled
from tests.asgi_client import Client
from tests.asgi_socket import Socket
from tests.consumers.test_eventstreams import heard
from tests.faults import RemoteStore
from tests.push_site import held, publish, site

__all__ = ["heard"]

Serve = Callable[..., Client]
PAGE = "https://page.example"
EXTENSION: dict[str, Any] = {"extensions": {"websocket.http.response": {}}}
HERE = "tests.consumers.test_eventstreams"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one location of each type with these settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(site(**settings))


async def connect(client: Client, path: str = "/updates/room", **scope: Any) -> Socket:
    """Open a socket and return it with its first frame there."""
    socket = Socket(client.application, path, **scope)
    await socket.until(1)
    return socket


async def leave(socket: Socket) -> None:
    socket.leave()
    await socket.ended()


async def test_frames_are_messages_with_their_ids(serve: Serve) -> None:
    """After one that says where the reader stands."""
    client = serve()
    first = await publish(client, '{"n":1}', content_type="application/json")
    socket = await connect(client)
    second = await publish(client, b"\xff", x_eventsource_event="photo")
    place, one, two = await socket.until(3)
    assert place == {"id": "0-0"}
    assert one == {"id": first, "type": "application/json", "data": {"n": 1}}
    assert two == {"id": second, "type": None, "base64": "/w==", "event": "photo"}
    await leave(socket)


@pytest.mark.parametrize("way", ["header", "query"])
async def test_it_resumes_like_a_poll(serve: Serve, way: str) -> None:
    """By header or by query."""
    client = serve()
    first = await publish(client, "a")
    await publish(client, "b")
    if way == "header":
        socket = await connect(client, headers={"last-event-id": first})
    else:
        socket = await connect(client, f"/updates/room?since={first}")
    place, message = await socket.until(2)
    assert (place, message["text"]) == ({"id": first}, "b")
    await leave(socket)


async def test_lost_history_is_said(serve: Serve) -> None:
    """On the first message that is left."""
    client = serve(store={"type": "memory", "max_messages": 2})
    first = await publish(client, "a")
    for body in "bcd":
        await publish(client, body)
    socket = await connect(client, f"/updates/room?since={first}")
    _, one, two = await socket.until(3)
    assert (one["text"], one["gap"]) == ("c", True)
    assert "gap" not in two
    await leave(socket)


async def test_nchan_s_subprotocol(serve: Serve) -> None:
    """Only where the client offers it; a burst is one frame for each message."""
    client = serve()
    ids = [await publish(client, "a", content_type="text/plain")]
    ids.append(await publish(client, b"\xff"))
    offer: dict[str, Any] = {"subprotocols": ["other", "ws+meta.nchan"]}
    socket = Socket(client.application, "/updates/room", **offer)
    await wait_frames(socket, 2)
    assert socket.accepted == {
        "type": "websocket.accept",
        "subprotocol": "ws+meta.nchan",
    }
    assert socket.frames[0] == f"id: {ids[0]}\ncontent-type: text/plain\n\na"
    assert socket.frames[1] == f"id: {ids[1]}\n\n".encode() + b"\xff"
    await leave(socket)
    path = f"/updates/room?last_event_id={ids[0]}"
    again = Socket(client.application, path, **offer)
    await wait_frames(again, 1)
    assert again.frames == socket.frames[1:]
    await client.ask("DELETE", "/send-update/room")
    await again.ended()
    assert again.closed is not None
    assert again.closed["code"] == 4410


async def wait_frames(socket: Socket, count: int) -> None:
    async with asyncio.timeout(10):
        while len(socket.frames) < count:  # noqa: ASYNC110 (the time is virtual)
            await asyncio.sleep(0.01)


async def test_several_messages_at_once_are_several_frames(serve: Serve) -> None:
    """In their order, though they come by one wake-up."""
    client = serve()
    socket = await connect(client)
    socket.reading.clear()
    for n in range(10):
        await publish(client, str(n))
    socket.reading.set()
    frames = await socket.until(11)
    assert [frame["text"] for frame in frames[1:]] == [str(n) for n in range(10)]
    await leave(socket)


@pytest.mark.parametrize(
    ("settings", "path", "headers", "status"),
    [
        ({}, "/updates/%FF", {}, 400),
        ({}, "/updates/a?since=garbage", {}, 400),
        ({}, "/updates/a", {"last-event-id": "garbage"}, 400),
        ({}, "/updates/a", {"host": "evil.example"}, 400),
        ({}, "/updates/a", {"origin": PAGE}, 403),
        ({}, "/updates", {"origin": PAGE}, 403),
        ({}, "/updates/a", {"origin": "null"}, 403),
        ({"subscriber": {"transports": ["long-poll"]}}, "/updates/a", {}, 404),
        ({"subscriber": {"polling": "interval"}}, "/updates/a", {}, 404),
        ({"multiplex": {"transports": ["long-poll"]}}, "/updates", {}, 404),
    ],
)
async def test_what_no_socket_can_come_of_is_refused(
    serve: Serve, settings: Any, path: str, headers: Any, status: int
) -> None:
    """With a status where the server can send one; else it is closed, which is 403."""
    client = serve(**settings)
    told = await Socket(client.application, path, headers=headers, **EXTENSION).ended()
    assert told.refusal is not None
    assert told.refusal["status"] == status
    assert told.refusal["body"].count(b"\n") == 1
    closed = await Socket(client.application, path, headers=headers).ended()
    assert closed.closed == {"type": "websocket.close"}
    assert (told.accepted, closed.accepted) == (None, None)


@pytest.mark.parametrize(
    "origin", [None, "http://testserver", "HTTP://TestServer", PAGE]
)
async def test_whose_handshakes_are_let_in(serve: Serve, origin: str | None) -> None:
    """No page, a page of this host, and pages of allowed origins."""
    client = serve(subscriber={"allow_origin": PAGE}, multiplex={"allow_origin": "*"})
    headers = {"origin": origin} if origin else {}
    await leave(await connect(client, headers=headers))


async def test_any_origin_may_be_allowed(serve: Serve) -> None:
    """By ``*``."""
    client = serve(subscriber={"allow_origin": "*"})
    await leave(await connect(client, headers={"origin": "null"}))


async def test_a_deletion_closes_it_for_good(serve: Serve) -> None:
    """With a code that says why."""
    client = serve()
    socket = await connect(client)
    await client.ask("DELETE", "/send-update/room")
    await socket.ended()
    assert socket.closed == {
        "type": "websocket.close",
        "code": 4410,
        "reason": "The channel was deleted.",
    }


async def test_a_conflict_closes_the_older_one(serve: Serve) -> None:
    """Where the last one stays."""
    client = serve(subscriber={"concurrency": "last"})
    older = await connect(client)
    newer = await connect(client)
    await older.ended()
    assert older.closed is not None
    assert older.closed["code"] == 4409
    await leave(newer)


async def test_a_channel_that_there_is_not(serve: Serve) -> None:
    """Is said by a code, for a page does not see why a handshake failed."""
    client = serve(subscriber={"create_on_get": False})
    socket = await Socket(client.application, "/updates/room").ended()
    assert socket.closed is not None
    assert socket.closed["code"] == 4404


async def test_a_store_that_is_down_is_told_by_a_code(serve: Serve) -> None:
    """Of one channel; of many by an entry, and the others go on."""
    client = serve(store={"type": "tests.faults.RemoteStore"})
    await leave(await connect(client))
    store = subscriptions.current().live(("default", "room"))._store
    assert isinstance(store, RemoteStore)
    store.go_down()
    socket = await Socket(client.application, "/updates/other").ended()
    assert socket.closed is not None
    assert socket.closed["code"] == 4503
    many = Socket(client.application, "/updates")
    many.say({"subscribe": {"channels": {"a": {}}}})
    [[entry]] = await many.until(1)
    assert (entry["channel"], entry["error"]) == ("a", 503)
    store.error = None
    many.say({"subscribe": {"channels": {"a": {}}}})
    frames = await many.until(2)
    assert frames[1] == [{"channel": "a", "id": "0-0"}]
    await leave(many)


async def test_shutdown_and_time_close_it_for_now(serve: Serve) -> None:
    """With 4000: the client comes back."""
    loop = asyncio.get_running_loop()
    client = serve(max_stream_seconds=100)
    timed = await connect(client)
    began = loop.time()
    await timed.ended()
    assert 79 < loop.time() - began < 101
    stopped = await connect(client)
    subscriptions.drain()
    await stopped.ended()
    late = await Socket(client.application, "/updates/late").ended()
    for socket in (timed, stopped, late):
        assert socket.closed is not None
        assert socket.closed["code"] == 4000


async def test_cancellation_closes_it(serve: Serve) -> None:
    """As plain daphne stops."""
    socket = await connect(serve())
    socket.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await socket.task
    assert socket.closed is not None
    assert socket.closed["code"] == 4000


async def test_what_clients_of_one_channel_say_is_ignored(serve: Serve) -> None:
    """Up to a size."""
    client = serve()
    socket = await connect(client)
    socket.say("hello")
    socket.say(b"\x00" * 65_536)
    await publish(client, "a")
    await socket.until(2)
    socket.say(b"\x00" * 65_537)
    await socket.ended()
    assert socket.closed is not None
    assert socket.closed["code"] == 4413


async def test_it_counts_and_receivers_are_told_once(
    serve: Serve, heard: list[str]
) -> None:
    """As a held poll."""
    client = serve()
    socket = await connect(client)
    assert await held(client) == 1
    await publish(client, "a")
    await socket.until(2)
    await leave(socket)
    await settled()
    assert heard == ["+room", "-room"]
    assert await held(client) == 0


async def test_a_middleware_may_refuse_the_handshake(
    serve: Serve, heard: list[str]
) -> None:
    """With its status, while there are receivers."""
    client = serve(middleware=(f"{HERE}.refusing",))
    for path in ("/updates/room", "/updates"):
        socket = await Socket(client.application, path, **EXTENSION).ended()
        assert socket.refusal is not None
        assert socket.refusal["status"] == 403
    assert heard == []


async def test_who_leaves_before_the_handshake_is_done(serve: Serve) -> None:
    """Is nobody."""
    client = serve()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {"type": "websocket", "path": "/updates/room", "headers": []}
    await client.application(scope, receive, send)
    assert sent == []


async def test_who_is_gone_when_it_is_accepted_is_no_error(serve: Serve) -> None:
    """Servers raise OSError then."""
    client = serve()

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        raise OSError("gone")

    headers = [(b"host", b"testserver")]
    scope = {"type": "websocket", "path": "/updates/room", "headers": headers}
    await client.application(scope, receive, send)
    assert subscriptions.current().statistics().readers == 0


async def test_an_error_of_ours_after_the_accept_is_the_server_s(serve: Serve) -> None:
    """It closes the connection."""
    socket = await connect(serve(), "/updates/room")
    await leave(socket)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        raise ZeroDivisionError

    headers = [(b"host", b"testserver")]
    scope = {"type": "websocket", "path": "/updates/room", "headers": headers}
    with pytest.raises(ZeroDivisionError):
        await serve().application(scope, receive, send)


# Many channels


def subscribe(*names: str, **since: str) -> dict[str, Any]:
    channels: dict[str, Any] = {name: {} for name in names}
    channels |= {name: {"since": cursor} for name, cursor in since.items()}
    return {"subscribe": {"channels": channels}}


def entries(socket: Socket) -> list[dict[str, Any]]:
    return [entry for frame in socket.heard for entry in frame]


async def until(socket: Socket, **wanted: Any) -> None:
    """Wait for an entry that has these members."""
    async with asyncio.timeout(10):
        while not any(wanted.items() <= entry.items() for entry in entries(socket)):
            assert not socket.task.done(), socket.task
            await asyncio.sleep(0.01)


async def many(client: Client, *frames: Any, **scope: Any) -> Socket:
    socket = Socket(client.application, "/updates", **scope)
    for frame in frames:
        socket.say(frame)
    return socket


async def test_channels_come_and_go_on_one_socket(serve: Serve) -> None:
    """By frames; each begins with its position, and what was left is heard no more."""
    client = serve()
    await publish(client, "a0", "a")
    socket = await many(client, subscribe("a", "b"))
    await until(socket, channel="a", text="a0")
    await until(socket, channel="b", id="0-0")
    await publish(client, "b0", "b")
    await until(socket, channel="b", text="b0")
    socket.say({"unsubscribe": {"channels": ["a"]}, **subscribe("c")})
    await until(socket, channel="c", id="0-0")
    assert [await held(client, name) for name in "abc"] == [0, 1, 1]
    await publish(client, "a1", "a")
    await publish(client, "c0", "c")
    await until(socket, channel="c", text="c0")
    assert not any(entry.get("text") == "a1" for entry in entries(socket))
    await leave(socket)


async def test_a_channel_may_be_asked_for_again(serve: Serve) -> None:
    """Then it begins anew, from the place that was given."""
    client = serve()
    first = await publish(client, "a0", "a")
    socket = await many(client, subscribe("a"))
    await until(socket, text="a0")
    socket.say(subscribe(a=first))
    await publish(client, "a1", "a")
    await until(socket, text="a1")
    socket.say(subscribe("a"))
    await asyncio.sleep(1)
    assert [e["text"] for e in entries(socket) if "text" in e] == ["a0", "a1"] * 2
    assert await held(client, "a") == 1
    await leave(socket)


@pytest.mark.parametrize("frame", ["nonsense", "{}", "[" * 100_000, b"\x00", ""])
async def test_a_bad_frame_ends_nothing(serve: Serve, frame: str | bytes) -> None:
    """It is answered by one entry."""
    client = serve()
    socket = await many(client, subscribe("a"), frame)
    await until(socket, error=400)
    await publish(client, "x", "a")
    await until(socket, text="x")
    await leave(socket)


async def test_a_frame_that_is_too_big_closes_it(serve: Serve) -> None:
    """With 4413."""
    client = serve(multiplex={"max_request": 100})
    socket = await (await many(client, "x" * 101)).ended()
    assert socket.closed is not None
    assert socket.closed["code"] == 4413


async def test_there_are_so_many_channels_on_a_socket(serve: Serve) -> None:
    """What is too much is refused alone, and one that is there may be renewed."""
    client = serve(multiplex={"max_channels": 2})
    socket = await many(client, subscribe("a", "b", "c"))
    await until(socket, channel="c", error=400)
    socket.say(subscribe("a"))
    await publish(client, "x", "a")
    await until(socket, channel="a", text="x")
    await leave(socket)


async def test_ends_of_channels_are_entries(serve: Serve) -> None:
    """410 and 404 and 409; the socket stays."""
    no_gets = {"type": "subscriber", "prefix": "/known/", "create_on_get": False}
    one = {"type": "subscriber", "prefix": "/one/", "concurrency": "last"}
    client = serve(locations=(one, no_gets))
    paths = ("/one/x", "/known/no")
    socket = await many(client, {"subscribe": {"urls": {p: {} for p in paths}}})
    await until(socket, url="/known/no", error=404)
    other = await many(client, {"subscribe": {"urls": {"/one/x": {}}}})
    await until(socket, url="/one/x", error=409)
    await until(other, url="/one/x", id="0-0")
    await client.ask("DELETE", "/send-update/x")
    await until(other, url="/one/x", error=410)
    for each in (socket, other):
        assert each.closed is None
        await leave(each)


async def test_an_idle_socket_says_nothing_now_and_then(serve: Serve) -> None:
    """So that the page knows that it is not half-open."""
    client = serve(heartbeat=5)
    socket = await many(client, subscribe("a"))
    await until(socket, channel="a", id="0-0")
    await asyncio.sleep(16)
    assert socket.heard[1:] == [[], [], []]
    await leave(socket)


async def test_a_slow_socket_has_no_backlog(serve: Serve) -> None:
    """While it does not read, nothing is queued; then it hears what is left."""
    client = serve(store={"type": "memory", "max_messages": 3})
    socket = await many(client, subscribe("a", "b"), blocks=True)
    await until(socket, channel="b", id="0-0")
    await publish(client, "a-first", "a")
    await until(socket, text="a-first")
    socket.reading.clear()
    for n in range(10):
        for name in "ab":
            await publish(client, f"{name}{n}", name)
            await asyncio.sleep(0.01)
    socket.reading.set()
    await until(socket, text="a9")
    await until(socket, text="b9")
    got = [e for e in entries(socket) if e.get("channel") == "a" and "text" in e]
    assert [e["text"] for e in got] == ["a-first", "a0", "a7", "a8", "a9"]
    assert [e.get("gap") for e in got] == [None, None, True, None, None]
    await leave(socket)


async def test_receivers_are_told_of_each_channel(
    serve: Serve, heard: list[str]
) -> None:
    """When it is let in, and when it goes."""
    client = serve()
    socket = await many(client, subscribe("a", "b"))
    await until(socket, channel="b", id="0-0")
    socket.say({"unsubscribe": {"channels": ["a", "never there"]}})
    await publish(client, "x", "b")
    await until(socket, text="x")
    await leave(socket)
    await settled()
    assert heard == ["+a", "+b", "-a", "-b"]


async def test_a_refused_channel_can_be_asked_for_again(serve: Serve) -> None:
    """A bad cursor is told of the channel alone, and the next try counts."""
    client = serve()
    socket = await many(client, subscribe(a="garbage"))
    await until(socket, channel="a", error=400)
    socket.say(json.dumps(subscribe("a")))
    await until(socket, channel="a", id="0-0")
    await leave(socket)


async def test_below_a_router_of_channels(serve: Serve) -> None:
    """A socket of its own for each handshake."""
    from channels.routing import URLRouter

    from pushserver.routing import websocket_urlpatterns

    client = serve()
    router = Client(URLRouter(websocket_urlpatterns()))
    one = await connect(router, "/updates/a")
    other = await many(router, subscribe("a"))
    await publish(client, "x", "a")
    await until(other, text="x")
    assert (await one.until(2))[1]["text"] == "x"
    await leave(one)
    await leave(other)
