"""One consumer for each role, with the face of Channels' AsyncHttpConsumer.

Its dispatcher delivers neither a disconnect nor anything else while ``handle`` waits,
and opens a layer channel for each request (channels issues 1249, 1302, 1350, 1747).
So ``__call__`` is our own: the request is served in the task of the server's call,
which waits in ``receive`` itself.
"""

import asyncio
import random
from collections.abc import Awaitable
from contextlib import suppress
from typing import ClassVar

from channels.generic.http import AsyncHttpConsumer
from django.core.handlers.asgi import get_script_prefix
from django.http.response import HttpResponseBase

from pushserver import (
    access,
    answers,
    cors,
    endpoints,
    eventstreams,
    publishing,
    subscriptions,
)
from pushserver.accepting import cursor_of, transport_of
from pushserver.channel_report import ChannelInfo, render
from pushserver.conf import get_config
from pushserver.endpoints import Headers, Receive, Reply, Scope, Send
from pushserver.exceptions import StoreUnavailable
from pushserver.locations import Location
from pushserver.messages import Cursor
from pushserver.names import validate_channel_id
from pushserver.reach import serve_here
from pushserver.requests import (
    ConnectionSignals,
    has_listeners,
    send_response,
    through_middleware,
)
from pushserver.subscriptions import Subscription
from pushserver.waiters import Ending, Key, Outcome

__all__ = ["LocationConsumer", "PublisherConsumer", "SubscriberConsumer"]

# A poll ends at 80 to 100 % of its time, so that readers spread.
_DEADLINE_FROM = 0.8

NOT_ACCEPTABLE = endpoints.line(
    406, "What your Accept asks for is not offered here ('transports')."
)
NO_STORE = (b"cache-control", b"no-store")
_VARY = b"If-None-Match, If-Modified-Since, Accept"


class LocationConsumer(AsyncHttpConsumer):
    """Serves one location. The channel id is the first argument of the URL."""

    channel_layer_alias: ClassVar[None] = None
    methods: ClassVar[tuple[str, ...]]

    def __init__(self, *, location: Location) -> None:
        super().__init__()
        self.location = location
        serve_here()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.headers = endpoints.headers_of(scope)
        self.base_send = endpoints.Outgoing(send, self.complete)
        try:
            answer = self.at_once()
            if answer is None:
                answer = await self.respond(receive)
        except endpoints.ClientGone:
            return
        except asyncio.CancelledError:
            await self.cancelled()
            raise
        except Exception as error:  # the table tells what is known from a bug
            if self.base_send.started:
                raise  # half an answer is for the server to cut off
            answer = endpoints.reply_to(error)
        if answer is not None:
            await self._reply(answer)

    async def _reply(self, answer: Reply) -> None:
        with suppress(endpoints.ClientGone):
            await endpoints.reply(self.base_send, *answer)

    def at_once(self) -> Reply | None:
        """Return the answer to what asks for no channel at all, or may not."""
        if self.scope["method"] not in self.methods:
            return endpoints.not_allowed(self.methods)
        endpoints.check_path(self.scope)
        return None

    async def cancelled(self) -> None:
        """Say something to the client before the cancellation goes on."""

    async def respond(self, receive: Receive) -> Reply | None:
        """Return the answer to a request of a known method, None if it is sent."""
        raise NotImplementedError

    def key(self) -> Key:
        """Return the channel of the URL. Raises InvalidChannelId."""
        # The last one: routers around ours may have taken some before it.
        channel_id = validate_channel_id(self.scope["url_route"]["args"][-1])
        return self.location.store, channel_id

    def complete(self, headers: Headers) -> Headers:
        """Return an answer's headers with those that every answer has."""
        if any(name.lower() == b"cache-control" for name, _ in headers):
            return [*headers]
        return [*headers, NO_STORE]


class ReadingConsumer(LocationConsumer):
    """What those have in common whose answer may be long in coming."""

    def at_once(self) -> Reply | None:
        answer = super().at_once()
        if answer is None:
            access.check_host(self.scope, self.headers)
            if self.scope["method"] == "OPTIONS":
                return self._preflight()
        return answer

    async def cancelled(self) -> None:
        # Daphne stops: this is the last moment at which the client can hear so.
        if not self.base_send.started:
            await self._reply(endpoints.reply_at(Ending.SHUTDOWN))

    async def signals(self) -> ConnectionSignals | HttpResponseBase:
        """Return what tells the receivers, or what a middleware answers instead."""
        request = await through_middleware(dict(self.scope))
        if isinstance(request, HttpResponseBase):
            return request
        return ConnectionSignals(sender=SubscriberConsumer, request=request)

    def complete(self, headers: Headers) -> Headers:
        headers = super().complete(headers)
        vary, *permission = self._shared()
        headers.append(vary)
        # A middleware that answers may have an opinion of its own.
        if not any(name.lower().startswith(b"access-control-") for name, _ in headers):
            headers += permission
        return headers

    def _shared(self) -> Headers:
        """Return the Vary of every answer, and what lets other sites read it."""
        origin = self.headers.get(b"origin", b"")
        vary = (b"vary", _VARY + cors.vary(self.location))
        return [vary, *cors.permission(self.location, origin)]

    def _preflight(self) -> Reply:
        headers = [(b"allow", ", ".join(self.methods).encode())]
        for location in get_config().locations:
            if location.type == "multiplex":
                prefix = get_script_prefix(self.scope).rstrip("/")
                path = prefix + location.reverse("")
                headers.append((b"x-push-multiplex", path.encode()))
                break
        if permission := self._shared()[1:]:
            headers += [*permission, *cors.preflight(self.methods)]
        return 204, headers, b""


class SubscriberConsumer(ReadingConsumer):
    """Answers with the message after the client's cursor, when there is one."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "OPTIONS")

    async def respond(self, receive: Receive) -> Reply | None:
        key = self.key()
        transport = transport_of(self.headers, self.location)
        if transport is None:
            return NOT_ACCEPTABLE
        cursor = cursor_of(self.scope, self.headers)
        must_exist = not self.location.create_on_get and transport == "long-poll"
        if must_exist and not await publishing.exists(key):
            return endpoints.line(404, "There is no such channel.")
        signals = await self.signals() if has_listeners(SubscriberConsumer) else None
        if isinstance(signals, HttpResponseBase):
            await send_response(signals, self.base_send)
            return None
        if transport == "event-stream":
            outgoing = self.base_send
            return await eventstreams.one_channel(
                self.scope, receive, outgoing, self.location, key, cursor, signals
            )
        return await self._poll(key, cursor, receive, signals)

    async def _poll(
        self,
        key: Key,
        cursor: Cursor | None,
        receive: Receive,
        signals: ConnectionSignals | None,
    ) -> Reply | None:
        location = self.location
        with Subscription(
            subscriptions.current(),
            key,
            cursor,
            first_message=location.first_message,
            concurrency=location.concurrency,
        ) as subscription:
            outcome = await subscription.begin(wait=location.polling == "long")
            if outcome is None and (waiter := subscription.waiter) is not None:
                timeout = location.poll_timeout * random.uniform(_DEADLINE_FROM, 1)
                held = endpoints.wait(waiter, receive, timeout)
                outcome = await (_telling(signals, key[1], held) if signals else held)
                if outcome is None:
                    return None
        if outcome is None or outcome is Ending.DEADLINE:
            position = answers.position(subscription.position, gap=subscription.gap)
            return 304, [*position], b""
        if isinstance(outcome, Ending):
            return endpoints.reply_at(outcome)
        message = outcome.messages[0]
        headers = [*answers.delivered(message, gap=outcome.gap), *self._shared()]
        await self.base_send.answer(200, headers, message.body)
        return None


async def _telling(
    signals: ConnectionSignals, channel_id: str, held: Awaitable[Outcome | None]
) -> Outcome | None:
    """Wait, and tell receivers of the beginning and of the end."""
    signals.subscribe(channel_id)
    try:
        return await held
    finally:
        signals.unsubscribe(channel_id)


class PublisherConsumer(LocationConsumer):
    """Takes messages, and tells about channels."""

    methods: ClassVar[tuple[str, ...]] = ("GET", "POST", "PUT", "DELETE")

    async def respond(self, receive: Receive) -> Reply | None:
        key = self.key()
        signed = self.headers.get(b"authorization", b"").startswith(b"Bearer ")
        if not signed:
            # A signed request comes from the project, by whatever name it knows us.
            access.check_host(self.scope, self.headers)
            access.check_publisher_address(
                self.scope, self.headers, self.location, get_config()
            )
        method = self.scope["method"]
        body = await endpoints.read_body(receive, self.headers, self.location.max_body)
        if signed:
            access.check_publisher_token(self.headers, method, key[1], body)
        match method:
            case "POST":
                return await self._post(key, body)
            case "PUT":
                await publishing.create(key)
                found = True
            case "DELETE":
                found = await publishing.delete(key)
            case _:
                found = await publishing.exists(key)
        if found:
            return 200, *self._report(await publishing.info(key))
        return endpoints.line(404, "There is no such channel.")

    async def _post(self, key: Key, body: bytes) -> Reply | None:
        location = self.location
        if not location.create_on_post and not await publishing.exists(key):
            return endpoints.line(404, "There is no such channel.")
        content_type, event = endpoints.labels_of(self.headers)
        published = await publishing.publish(
            key,
            body=body,
            content_type=content_type,
            event=event,
            keep=location.store_messages,
            max_body=location.max_body,
        )
        try:
            headers, about = self._report(await publishing.info_with(key, published))
        except StoreUnavailable:
            # It is stored all the same: an error would have it sent again.
            headers, about = [], b""
        headers.append((b"etag", published.message.id.etag.encode()))
        headers.append((b"x-push-held", b"%d" % published.held))
        headers += [(b"content-length", b"%d" % len(about)), NO_STORE]
        await self.base_send.answer(201 if published.held else 202, headers, about)
        return None

    def _report(self, info: ChannelInfo) -> tuple[Headers, bytes]:
        accept = self.headers.get(b"accept", b"*/*").decode("latin-1")
        content_type, text = render(info, accept)
        return [(b"content-type", content_type.encode())], text.encode()
