"""One consumer for each role: who reads, and who publishes."""

import asyncio
from collections.abc import Awaitable
from typing import ClassVar

from django.core.handlers.asgi import get_script_prefix
from django.http.response import HttpResponseBase

from pushserver import access
from pushserver.conf import get_config
from pushserver.consumers import answers, cors, endpoints, eventstreams
from pushserver.consumers.accepting import cursor_of, transport_of
from pushserver.consumers.endpoints import Headers, Receive, Reply
from pushserver.consumers.location import LocationConsumer
from pushserver.engine import deadlines, publishing, subscriptions
from pushserver.engine.channel_report import ChannelInfo, render
from pushserver.engine.subscription import Subscription
from pushserver.engine.waiters import Ending, Key, Outcome
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor
from pushserver.requests import (
    ConnectionSignals,
    has_listeners,
    send_response,
    through_middleware,
)

__all__ = ["PublisherConsumer", "SubscriberConsumer"]

NOT_ACCEPTABLE = endpoints.line(
    406, "What your Accept asks for is not offered here ('transports')."
)
_VARY = (b"vary", b"If-None-Match, If-Modified-Since, Accept")


class ReadingConsumer(LocationConsumer):
    """What those have in common whose answer may be long in coming."""

    def at_once(self) -> Reply | None:
        if (answer := super().at_once()) is not None:
            return answer
        access.check_host(self.scope, self.headers)
        return self._preflight() if self.scope["method"] == "OPTIONS" else None

    async def cancelled(self) -> None:
        # Daphne stops: this is the last moment at which the client can hear so.
        if not self.base_send.started:
            await self._reply(endpoints.reply_at(Ending.SHUTDOWN))

    async def signals(self) -> ConnectionSignals | HttpResponseBase:
        """Return what tells the receivers, or what a middleware answers instead."""
        scope = dict(self.scope)
        if self.channel_id is not None:
            scope["url_route"] = {"args": (self.channel_id,), "kwargs": {}}
        request = await through_middleware(scope)
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
        if not self.location.allow_origin:
            return [_VARY]
        origin = self.headers.get(b"origin", b"")
        name, value = _VARY
        vary = (name, value + cors.vary(self.location))
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

    def respond(self, receive: Receive) -> Awaitable[Reply | None]:
        key, location, headers = self.key(), self.location, self.headers
        transport = transport_of(headers, location)
        if (
            transport == "long-poll"
            and location.create_on_get
            and not has_listeners(SubscriberConsumer)
        ):
            cursor = cursor_of(self.scope, headers)
            return self._poll(key, cursor, receive, None)
        return self._prepare(key, transport, receive)

    async def _prepare(
        self, key: Key, transport: str | None, receive: Receive
    ) -> Reply | None:
        """Do what most polls need not: look for the channel, call the project."""
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
        with self._subscription(key, cursor) as subscription:
            outcome = None
            if subscription.waiter is None:
                outcome = await subscription.begin(wait=location.polling == "long")
            if outcome is None and (waiter := subscription.waiter) is not None:
                # A browser's are a kilobyte; who asks again gets them from the scope.
                self._headers = None
                timeout = deadlines.spread(location.poll_timeout)
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

    def _subscription(self, key: Key, cursor: Cursor | None) -> Subscription:
        location, readers = self.location, subscriptions.current()
        if (
            location.concurrency == "broadcast"
            and location.polling == "long"
            and (resumed := Subscription.resumed(readers, key, cursor))
        ):
            return resumed
        return Subscription(
            readers,
            key,
            cursor,
            first_message=location.first_message,
            concurrency=location.concurrency,
        )


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

    async def _post(self, key: Key, body: bytes) -> Reply:
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
        # The readers first: a turn for the fan-out and one for whom it has woken. Ten
        # of a channel were served 1.5 times as late as without us, now 1.2 times.
        for _ in range(2):
            await asyncio.sleep(0)
        try:
            headers, about = self._report(await publishing.info_with(key, published))
        except StoreUnavailable:
            # It is stored all the same: an error would have it sent again.
            headers, about = [], b""
        headers.append((b"etag", published.message.id.etag.encode()))
        headers.append((b"x-push-held", b"%d" % published.held))
        return 201 if published.held else 202, headers, about

    def _report(self, info: ChannelInfo) -> tuple[Headers, bytes]:
        accept = self.headers.get(b"accept", b"*/*").decode("latin-1")
        content_type, text = render(info, accept)
        return [(b"content-type", content_type.encode())], text.encode()
