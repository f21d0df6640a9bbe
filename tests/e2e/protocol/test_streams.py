"""Event streams, WebSockets and many channels at once, on every server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.e2e.listeners import HTTP
from tests.e2e.protocol.conftest import Servers
from tests.e2e.protocol.starting import NAMES, resident
from tests.e2e.protocol.target import Target
from tests.event_stream import Event, Parser

STREAM = {"Accept": "text/event-stream"}
WITHIN = 10.0


class Events:
    """An event stream as it comes."""

    def __init__(self, http: HTTP, headers: dict[str, str]) -> None:
        self.headers = headers
        self.parser = Parser()
        self._pieces = http.pieces()
        self._events: list[Event] = []

    async def next(self) -> Event:
        async with asyncio.timeout(WITHIN):
            while not self._events:
                self._events += self.parser.feed(await anext(self._pieces))
        return self._events.pop(0)

    async def rest(self) -> list[Event]:
        """Return what comes until the stream ends complete."""
        async with asyncio.timeout(WITHIN):
            async for piece in self._pieces:
                self._events += self.parser.feed(piece)
        return self._events


@contextlib.asynccontextmanager
async def streaming(
    target: Target, path: str, body: bytes = b"", **fields: str
) -> AsyncIterator[Events]:
    given = {name.replace("_", "-"): value for name, value in fields.items()}
    async with HTTP.open(target.port) as http:
        method = "POST" if body else "GET"
        status, headers = await http.ask(method, path, {**STREAM, **given}, body)
        assert status == 200, await http.body(status, headers)
        yield Events(http, headers)


def socket(target: Target, path: str, **options: Any) -> connect:
    return connect(f"ws://{target.host}:{target.port}{path}", **options)


async def frame(websocket: ClientConnection) -> Any:
    async with asyncio.timeout(WITHIN):
        text = await websocket.recv()
    return json.loads(text) if isinstance(text, str) else text


async def entry(websocket: ClientConnection, **wanted: Any) -> dict[str, Any]:
    """Return the next entry that has these members."""
    while True:
        for found in await frame(websocket):
            if wanted.items() <= found.items():
                return dict(found)


def many(*channels: str, **since: str) -> bytes:
    wanted: dict[str, Any] = {name: {} for name in channels}
    wanted |= {name: {"since": cursor} for name, cursor in since.items()}
    return json.dumps({"channels": wanted}).encode()


async def test_an_event_stream(target: Target, channel: str) -> None:
    """A position at once, then each message with its id, and it resumes."""
    async with streaming(target, target.path("long", channel)) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["x-accel-buffering"] == "no"
        await target.until_held(channel, 1)
        first = await target.publish(channel, b"one\r\ntwo")
        assert first.status == 201
        event = await stream.next()
        assert (event.data, event.id) == ("one\ntwo", first.message_id)
        assert stream.parser.retry is not None
    await target.until_held(channel, 0)
    second = await target.publish(channel, b"\xff", content_type=None)
    path = target.path("long", channel)
    async with streaming(target, path, Last_Event_ID=first.message_id) as stream:
        event = await stream.next()
        assert (event.event, event.id) == ("pushserver.base64", second.message_id)
        await target.request("DELETE", target.path("publish", channel))
        [end] = await stream.rest()
        assert (end.event, end.data) == ("pushserver.deleted", "410")


async def test_a_websocket(target: Target, channel: str) -> None:
    """A position at once, then each message as JSON, and it resumes."""
    path = target.path("long", channel)
    async with socket(target, path) as websocket:
        assert await frame(websocket) == {"id": "0-0"}
        await target.until_held(channel, 1)
        first = await target.publish(channel, b"news")
        assert first.status == 201
        assert await frame(websocket) == {
            "id": first.message_id,
            "type": "text/plain",
            "text": "news",
        }
    await target.until_held(channel, 0)
    await target.publish(channel, b"more")
    async with socket(target, f"{path}?since={first.message_id}") as websocket:
        assert await frame(websocket) == {"id": first.message_id}
        assert (await frame(websocket))["text"] == "more"
        await target.request("DELETE", target.path("publish", channel))
        with pytest.raises(ConnectionClosed) as closed:
            await frame(websocket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4410


async def test_nchan_s_subprotocol(target: Target, channel: str) -> None:
    """Text and binary frames, with a head of two lines."""
    path = target.path("long", channel)
    text = await target.publish(channel, b"news")
    binary = await target.publish(channel, b"\x00\xff", content_type="image/png")
    async with socket(target, path, subprotocols=["ws+meta.nchan"]) as websocket:
        assert websocket.subprotocol == "ws+meta.nchan"
        head = f"id: {text.message_id}\ncontent-type: text/plain\n\n"
        assert await websocket.recv() == f"{head}news"
        head = f"id: {binary.message_id}\ncontent-type: image/png\n\n"
        assert await websocket.recv() == head.encode() + b"\x00\xff"


@pytest.mark.parametrize(
    ("location", "query", "headers"),
    [
        ("long", "since=garbage", {}),
        ("long", "", {"Origin": "https://evil.example"}),
        ("interval", "", {}),
        ("many", "", {"Origin": "https://evil.example"}),
    ],
)
async def test_handshakes_that_are_refused(
    target: Target, channel: str, location: str, query: str, headers: dict[str, str]
) -> None:
    """Bad cursors, foreign pages, and where there is no WebSocket."""
    path = target.path(location, channel, query)
    with pytest.raises(InvalidStatus) as refused:
        async with socket(target, path, additional_headers=headers):
            pass
    assert refused.value.response.status_code in (400, 403, 404)


async def test_many_channels_by_each_way(target: Target, channel: str) -> None:
    """What waits, what comes, and what cannot be, each with its name."""
    names = [f"{channel}-{n}" for n in range(3)]
    await target.publish(names[0], b"waits", location="publish")
    path = target.path("many", "")
    asked = many(*names, "..")
    answer = await target.request("POST", path, [], asked)
    entries = json.loads(answer.body)
    assert {e["channel"]: e.get("text", e.get("error")) for e in entries} == {
        names[0]: "waits",
        "..": 400,
    }
    async with (
        streaming(target, path, many(*names)) as stream,
        socket(target, path) as websocket,
    ):
        await websocket.send(json.dumps({"subscribe": json.loads(many(*names))}))
        await target.until_held(names[1], 2)
        await target.publish(names[1], b"comes")
        assert (await entry(websocket, channel=names[1], text="comes"))["id"]
        while "comes" not in (await stream.next()).data:
            pass
        await websocket.send("nonsense")
        await entry(websocket, error=400)
        await websocket.send(json.dumps({"unsubscribe": {"channels": names[1:]}}))
        await target.until_held(names[1], 1)
        await target.request("DELETE", target.path("publish", names[0]))
        await entry(websocket, channel=names[0], error=410)
        while '"error":410' not in (await stream.next()).data:
            pass


async def test_a_thousand_channels_on_one_connection(target: Target) -> None:
    """By each way; one more is refused, and nothing of the kind ends the server."""
    prefix = uuid.uuid4().hex
    names = [f"{prefix}-{n}" for n in range(1000)]
    path = target.path("many", "")
    async with (
        streaming(target, path, many(*names)) as stream,
        socket(target, path, max_size=None) as websocket,
    ):
        await websocket.send(json.dumps({"subscribe": json.loads(many(*names))}))
        await target.until_held(names[-1], 2)
        await target.publish(names[-1], b"last")
        await entry(websocket, channel=names[-1], text="last")
        while '"last"' not in (await stream.next()).data:
            pass
        answer = await target.request("POST", path, [], many(*names))
        assert [e["text"] for e in json.loads(answer.body)] == ["last"]
        ten_thousand = many(*(f"{prefix}-{n}" for n in range(10_000)))
        assert (await target.request("POST", path, [], ten_thousand)).status == 400


async def test_lost_history_is_said_by_each_way(target: Target, channel: str) -> None:
    """And each goes on with the oldest that is left."""
    publish = "publish-small"
    first, *_ = [
        await target.publish(channel, str(n).encode(), location=publish)
        for n in range(6)
    ]
    path = target.path("narrow", channel)
    async with streaming(target, path, Last_Event_ID=first.message_id) as stream:
        found = [await stream.next() for _ in range(4)]
        assert found[0].event == "pushserver.gap"
        assert found[0].data == found[1].id
        assert [event.data for event in found[1:]] == ["3", "4", "5"]
    async with socket(target, f"{path}?since={first.message_id}") as websocket:
        frames = [await frame(websocket) for _ in range(4)]
        told = [(each.get("text"), each.get("gap")) for each in frames]
        assert told == [(None, None), ("3", True), ("4", None), ("5", None)]
    asked = {"urls": {path: {"since": first.message_id}}}
    body = json.dumps(asked).encode()
    answer = await target.request("POST", target.path("many", ""), [], body)
    many_path = target.path("many", "")
    async with streaming(target, many_path, body) as stream:
        streamed = json.loads((await stream.next()).data)[1:]
    async with socket(target, many_path) as websocket:
        await websocket.send(json.dumps({"subscribe": asked}))
        sent = (await frame(websocket))[1:]
    for entries in (json.loads(answer.body), streamed, sent):
        told = [(each["text"], each.get("gap")) for each in entries]
        assert told == [("3", True), ("4", None), ("5", None)]


async def test_clients_that_vanish_are_noticed(target: Target, channel: str) -> None:
    """A reset is seen at once, without a message."""
    async with target.connect() as connection:
        fields = list(STREAM.items())
        await connection.send("GET", target.path("long", channel), fields)
        await target.until_held(channel, 1)
        connection.vanish()
        await target.until_held(channel, 0)


async def test_a_socket_says_how_it_ended(target: Target, channel: str) -> None:
    """Its time is up, or its channel was deleted: in codes that every server sends."""
    path = target.path("fleeting", channel)
    async with socket(target, path) as one, asyncio.timeout(WITHIN):
        await one.wait_closed()
        assert one.close_code == 4000
    async with socket(target, target.path("long", channel)) as other:
        await target.until_held(channel, 1)
        await target.request("DELETE", target.path("publish", channel))
        async with asyncio.timeout(WITHIN):
            await other.wait_closed()
        assert other.close_code == 4410


async def test_a_half_open_connection_is_left_in_time(
    target: Target, channel: str
) -> None:
    """Nobody reads, nobody closes: `max_stream_seconds` ends it all the same."""
    path = target.path("fleeting", channel)
    ends: list[object] = []
    async with contextlib.AsyncExitStack() as stack:
        for head in (event_stream_head(target, path), websocket_head(target, path)):
            reader, writer = await asyncio.open_connection(
                target.host, target.port, limit=65_536
            )
            ends += [reader, writer]  # asyncio closes what nobody has any more
            stack.callback(writer.transport.abort)
            writer.write(head)
        await target.until_held(channel, 2, location="publish-small")
        for _ in range(12):
            await target.publish(channel, bytes(1_000_000), location="publish-small")
        await target.until_held(channel, 0, location="publish-small")


def event_stream_head(target: Target, path: str) -> bytes:
    fields = [("Accept", "text/event-stream")]
    return request_head(target, "GET", path, fields)


def websocket_head(target: Target, path: str) -> bytes:
    fields = [("Upgrade", "websocket"), ("Connection", "Upgrade")]
    fields += [("Sec-WebSocket-Version", "13")]
    fields += [("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")]
    return request_head(target, "GET", path, fields)


def request_head(
    target: Target, method: str, path: str, fields: list[tuple[str, str]]
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {target.host}:{target.port}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode()


# Clients that do not read

SIZE = 1_000_000
COUNT = 40


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["event stream", "websocket", "many channels"])
async def test_a_client_that_does_not_read(
    servers: Servers, channel: str, name: str, way: str
) -> None:
    """Costs a bounded amount; then it is told of its loss and has all that is left."""
    server = servers.get(name)
    target = Target(name, server.host, server.port)
    path = target.path("narrow", channel)
    first = await target.publish(channel, b"first", location="publish-small")
    since = f"{path}?since={first.message_id}"
    asked = {"urls": {path: {"since": first.message_id}}}
    async with contextlib.AsyncExitStack() as stack:
        reader, writer = await asyncio.open_connection(
            target.host, target.port, limit=65_536
        )
        stack.callback(writer.transport.abort)
        if way == "event stream":
            writer.write(event_stream_head(target, since))
        elif way == "websocket":
            writer.write(websocket_head(target, since))
        else:
            body = json.dumps(asked).encode()
            fields = [
                ("Accept", "text/event-stream"),
                ("Content-Length", f"{len(body)}"),
            ]
            writer.write(request_head(target, "POST", "/many", fields) + body)
        await target.until_held(channel, 1, location="publish-small")
        before = resident(server)
        last = first
        for n in range(COUNT):
            body = b"%03d" % n + bytes(SIZE).replace(b"\0", b"x")
            last = await target.publish(channel, body, location="publish-small")
        # The store has three of them, the sockets of both sides a few.
        assert resident(server) - before < 22 * SIZE
        received = bytearray()
        wanted = last.message_id.encode()
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(WITHIN):
                while piece := await reader.read(1_048_576):
                    received += piece
                    if wanted in received or received.endswith(b"\r\n0\r\n\r\n"):
                        break
    if wanted in received:
        assert b"gap" in received
    else:
        # Daphne cannot wait for its client: the stream has ended, and it comes back.
        assert name == "daphne"
        assert len(received) < 5 * SIZE
        async with streaming(target, path, Last_Event_ID=first.message_id) as stream:
            assert (await stream.next()).event == "pushserver.gap"
