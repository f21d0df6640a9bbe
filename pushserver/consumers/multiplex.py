"""Many channels on one request: a long poll of all of them, or an event stream."""

from typing import ClassVar

from django.core.handlers.asgi import get_script_prefix
from django.http.response import HttpResponseBase

from pushserver.conf import get_config
from pushserver.consumers import endpoints, eventstreams, subscribing
from pushserver.consumers.accepting import transport_of
from pushserver.consumers.endpoints import Receive, Reply
from pushserver.consumers.polls import Poll
from pushserver.consumers.roles import (
    NOT_ACCEPTABLE,
    ReadingConsumer,
    SubscriberConsumer,
)
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.engine import deadlines, subscriptions
from pushserver.engine.waiters import Ending
from pushserver.requests import ConnectionSignals, has_listeners, send_response

__all__ = ["MultiplexConsumer"]


class MultiplexConsumer(ReadingConsumer):
    """Answers with what waits in all the channels that the client names."""

    methods: ClassVar[tuple[str, ...]] = ("POST", "OPTIONS")

    async def respond(self, receive: Receive) -> Reply | None:
        location, config = self.location, get_config()
        transport = transport_of(self.headers, location)
        if transport is None:
            return NOT_ACCEPTABLE
        body = await endpoints.read_body(receive, self.headers, location.max_request)
        prefix = get_script_prefix(self.scope)
        wanted = [
            subscribing.find(asked, config, prefix=prefix)
            for asked in subscribing.read_body(body, most=location.max_channels)
        ]
        signals = await self.signals() if has_listeners(SubscriberConsumer) else None
        if isinstance(signals, HttpResponseBase):
            await send_response(signals, self.base_send)
            return None
        if transport == "long-poll":
            return await self._poll(wanted, receive, signals)
        await eventstreams.many_channels(
            self.scope, receive, self.base_send, location, wanted, signals
        )
        return None

    async def _poll(
        self,
        wanted: list[Wanted | Refused],
        receive: Receive,
        signals: ConnectionSignals | None,
    ) -> Reply | None:
        running, limit = subscriptions.current(), self.location.max_answer
        with Poll(running, limit=limit) as poll:
            await poll.begin(wanted)
            if signals is not None:
                poll.tell(signals)
            timeout = deadlines.spread(self.location.poll_timeout)
            if await endpoints.wait(poll.news, receive, timeout) is None:
                return None
            entries = poll.entries()
            if not entries:
                if running.draining:
                    return endpoints.reply_at(Ending.SHUTDOWN)
                entries = poll.places()
        body = f"[{','.join(entries)}]".encode()
        return 200, [(b"content-type", b"application/json")], body
