"""The least that a push server has to do: what no Python application can beat.

An ASGI application without a framework: it keeps the last messages of each channel,
gives a reader the next one after its cursor, and notices a client that leaves. No
permission, no settings, no other process, no time-out, no shutdown, no gap.

GET /updates/<channel>  long poll, event stream (by Accept) or WebSocket
POST /send-update/<channel>
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

KEEP = 100
OPEN = {"type": "http.response.start", "status": 200,
        "headers": [(b"content-type", b"text/event-stream")]}  # fmt: skip

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Channel:
    __slots__ = ("by_themselves", "followers", "kept", "last", "parked")

    def __init__(self) -> None:
        self.last = 0
        self.kept: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.parked: dict[Callable[[], None], None] = {}
        self.followers: dict[Send, str] = {}
        self.by_themselves: dict[Send, str] = {}


channels: dict[str, Channel] = {}


def encoded(number: int, body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    headers = [
        (b"etag", b'"%d"' % number),
        (b"last-modified", b"Thu, 01 Jan 1970 00:00:00 GMT"),
        (b"cache-control", b"no-store"),
        (b"vary", b"If-None-Match, If-Modified-Since"),
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(body)),
    ]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    return start, {"type": "http.response.body", "body": body}


async def app(scope: dict[str, Any], receive: Any, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    name = scope["path"].rpartition("/")[2]
    channel = channels.get(name)
    if channel is None:
        channel = channels[name] = Channel()
    if scope["type"] == "websocket":
        await receive()
        accepting = send({"type": "websocket.accept"})
        # Granian's goes on by itself, in threads of its own: to wait for each before
        # the next one begins would be to wait for threads (84 us each, else 13).
        by_itself = not asyncio.iscoroutine(accepting)
        await accepting
        followers = channel.by_themselves if by_itself else channel.followers
        await follow(followers, "websocket", receive, send)
    elif scope["method"] == "POST":
        await publish(channel, receive, send)
    else:
        since = 0
        for header, value in scope["headers"]:
            if header == b"if-none-match":
                since = int(value.strip(b'"'))
            elif header == b"accept" and value == b"text/event-stream":
                await send(OPEN)
                await follow(channel.followers, "http", receive, send)
                return
        await poll(channel, since, receive, send)


async def publish(channel: Channel, receive: Any, send: Send) -> None:
    body = b""
    while True:
        event = await receive()
        body += event.get("body", b"")
        if not event.get("more_body", False):
            break
    channel.last += 1
    channel.kept.append(encoded(channel.last, body))
    del channel.kept[:-KEEP]
    parked, channel.parked = channel.parked, {}
    for wake in parked:
        wake()
    if channel.followers or channel.by_themselves:
        data = b"id: %d\ndata: %s\n\n" % (channel.last, body)
        events = {
            "http": {"type": "http.response.body", "body": data, "more_body": True},
            "websocket": {"type": "websocket.send", "text": body.decode()},
        }
        for follower, kind in list(channel.followers.items()):
            await follower(events[kind])
        begun = [send(events["websocket"]) for send in channel.by_themselves]
        for each in begun:
            await each
    done = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 201, "headers": done})
    await send({"type": "http.response.body", "body": b""})


async def poll(channel: Channel, since: int, receive: Any, send: Send) -> None:
    if since >= channel.last:
        task = asyncio.current_task()
        assert task is not None
        woken = False

        def wake() -> None:
            nonlocal woken
            woken = True
            task.cancel()

        channel.parked[wake] = None
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        except asyncio.CancelledError:
            if not woken:
                raise
            task.uncancel()
        else:
            return
        finally:
            channel.parked.pop(wake, None)
    start, body = channel.kept[max(0, len(channel.kept) - (channel.last - since))]
    await send(start)
    await send(body)


async def follow(
    followers: dict[Send, str], kind: str, receive: Any, send: Send
) -> None:
    followers[send] = kind
    try:
        while (await receive())["type"] != f"{kind}.disconnect":
            pass
    finally:
        followers.pop(send, None)
