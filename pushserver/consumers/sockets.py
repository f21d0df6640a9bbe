"""The same subscriptions on a WebSocket: one channel, or as many as are asked for.

A request that no socket could come of is refused before it is one, by a status where
the server can send that. What concerns a channel is said on the open socket, by close
code or entry: a page gets to see that, and not why a handshake failed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any

from django.core.exceptions import BadRequest
from django.core.handlers.asgi import get_script_prefix
from django.http.response import HttpResponseBase

from pushserver import access
from pushserver.conf import get_config
from pushserver.conf.locations import Location
from pushserver.consumers import endpoints, frames, subscribing
from pushserver.consumers.accepting import cursor_of
from pushserver.consumers.endpoints import Receive, Reply, Scope, Send
from pushserver.consumers.feeds import Feed
from pushserver.consumers.roles import SubscriberConsumer
from pushserver.consumers.spellings import (
    Frames,
    MultiplexFrames,
    NchanFrames,
    Spelling,
)
from pushserver.consumers.streams import Stream
from pushserver.consumers.writing import Writer
from pushserver.engine import subscriptions
from pushserver.names import validate_channel_id
from pushserver.reach import serve_here
from pushserver.requests import (
    ConnectionSignals,
    has_listeners,
    through_middleware,
)

__all__ = ["MultiplexSocket", "SubscriberSocket"]

NCHAN = "ws+meta.nchan"

# Nobody has more to say to a socket that only listens.
_MOST_IGNORED = 65_536  # bytes


class LocationSocket(ABC):
    """Serves one location. The channel id is the first argument of the URL."""

    def __init__(self, *, location: Location) -> None:
        self.location = location
        serve_here()

    @classmethod
    def as_asgi(cls, *, location: Location) -> Callable[..., Any]:
        """Return an application that makes a socket of its own for each handshake."""

        async def application(scope: Scope, receive: Receive, send: Send) -> None:
            await cls(location=location)(scope, receive, send)

        return application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers = endpoints.headers_of(scope)
        self.accepted = False
        if (await receive())["type"] != "websocket.connect":
            return
        with suppress(endpoints.ClientGone):
            try:
                refusal = await self.serve(receive, send)
            except Exception as error:  # the table tells what is known from a bug
                if self.accepted or isinstance(error, endpoints.ClientGone):
                    raise
                refusal = endpoints.reply_to(error)
            if refusal is not None:
                await self._refuse(send, *refusal)

    async def serve(self, receive: Receive, send: Send) -> Reply | None:
        """Serve the socket to its end; return an answer where it may not be one."""
        endpoints.check_path(self.scope)
        access.check_origin(self.scope, self.headers, self.location)
        if not self.location.offers("websocket"):
            return endpoints.line(404, "There is no WebSocket here ('transports').")
        return await self.listen(receive, send)

    @abstractmethod
    async def listen(self, receive: Receive, send: Send) -> Reply | None:
        """Serve a handshake that is all right so far."""

    async def signals(self) -> ConnectionSignals | Reply | None:
        """Return what tells the receivers, or what a middleware answers instead."""
        if not has_listeners(SubscriberConsumer):
            return None
        scheme = {"ws": "http", "wss": "https"}.get(self.scope.get("scheme", "ws"))
        # To the middleware it is a GET, as the handshake was on the wire.
        request = await through_middleware(
            {"http_version": "1.1", **self.scope, "type": "http", "scheme": scheme}
        )
        if isinstance(request, HttpResponseBase):
            request.close()
            return endpoints.line(request.status_code, request.reason_phrase)
        return ConnectionSignals(sender=SubscriberConsumer, request=request)

    async def accept(self, send: Send, subprotocol: str | None = None) -> None:
        """Open the socket."""
        self.accepted = True
        try:
            await send({"type": "websocket.accept", "subprotocol": subprotocol})
        except OSError as error:
            raise endpoints.ClientGone from error

    def stream(
        self, feed: Feed, spelling: Spelling, send: Send, *, many: bool
    ) -> Stream:
        """Return what writes the feed to the socket."""
        limit = self.location.max_stream_bytes
        writer = Writer(self.scope, send, limit=limit)
        return Stream(feed, spelling, writer, self.location, many=many)

    async def _refuse(
        self, send: Send, status: int, headers: endpoints.Headers, body: bytes
    ) -> None:
        if "websocket.http.response" not in (self.scope.get("extensions") or {}):
            await send({"type": "websocket.close"})
            return
        start = {"status": status, "headers": headers}
        await send({"type": "websocket.http.response.start", **start})
        await send({"type": "websocket.http.response.body", "body": body})


class SubscriberSocket(LocationSocket):
    """Sends the messages of one channel after the client's cursor."""

    async def listen(self, receive: Receive, send: Send) -> Reply | None:
        location = self.location
        channel_id = validate_channel_id(self.scope["url_route"]["args"][-1])
        cursor = cursor_of(self.scope, self.headers)
        signals = await self.signals()
        if isinstance(signals, tuple):
            return signals
        nchan = NCHAN in self.scope.get("subprotocols", ())
        spelling: Spelling = NchanFrames() if nchan else Frames()
        with Feed(subscriptions.current(), spelling, limit=location.max_answer) as feed:
            feed.tell(signals)
            stream = self.stream(feed, spelling, send, many=False)
            feed.open("", (location.store, channel_id), cursor, location)
            entries = await feed.collect()
            await self.accept(send, NCHAN if nchan else None)

            def ignore(frame: MutableMapping[str, Any]) -> None:
                if _size(frame) > _MOST_IGNORED:
                    stream.end(413)

            await stream.run(receive, entries, ignore)
        return None


class MultiplexSocket(LocationSocket):
    """Sends the messages of the channels that the client subscribes to."""

    async def listen(self, receive: Receive, send: Send) -> Reply | None:
        location, config = self.location, get_config()
        prefix = get_script_prefix(self.scope)
        signals = await self.signals()
        if isinstance(signals, tuple):
            return signals
        spelling = MultiplexFrames()
        too_many = f"One connection has {location.max_channels} channels at most."
        with Feed(subscriptions.current(), spelling, limit=location.max_answer) as feed:
            feed.tell(signals)
            await self.accept(send)
            stream = self.stream(feed, spelling, send, many=True)

            def obey(event: MutableMapping[str, Any]) -> None:
                if _size(event) > location.max_request:
                    stream.end(413)
                    return
                try:
                    frame = subscribing.read_frame(_text(event))
                except BadRequest as error:
                    feed.note(frames.error("", 400, str(error)))
                else:
                    for asked in frame.unsubscribe:
                        feed.close(asked.head)
                    for asked in frame.subscribe:
                        found = subscribing.find(asked, config, prefix=prefix)
                        if not feed.has_room(found.head, location.max_channels):
                            found = subscribing.Refused(found.head, 400, too_many)
                        feed.take(found)
                stream.work()

            await stream.run(receive, (), obey)
        return None


def _text(event: MutableMapping[str, Any]) -> str:
    text = event.get("text")
    if not isinstance(text, str):
        raise BadRequest("A frame is text; this one is binary.")
    return text


def _size(event: MutableMapping[str, Any]) -> int:
    return len(event.get("text") or event.get("bytes") or b"")
