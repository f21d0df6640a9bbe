"""Many channels on one request: a long poll of all of them, or an event stream."""

import random
from typing import ClassVar

from django.core.handlers.asgi import get_script_prefix
from django.http.response import HttpResponseBase

from pushserver import endpoints, eventstreams, subscribing, subscriptions
from pushserver.accepting import transport_of
from pushserver.conf import get_config
from pushserver.consumers import (
    NOT_ACCEPTABLE,
    ReadingConsumer,
    SubscriberConsumer,
)
from pushserver.endpoints import Receive, Reply
from pushserver.feeds import Feed, Reader
from pushserver.messages import START
from pushserver.requests import ConnectionSignals, has_listeners, send_response
from pushserver.spellings import Entry, MultiplexPoll
from pushserver.subscribing import Refused, Wanted
from pushserver.waiters import Ending, Outcome, Waiter

__all__ = ["MultiplexConsumer"]

# A poll ends at 80 to 100 % of its time, so that readers spread.
_DEADLINE_FROM = 0.8

Found = list[Wanted | Refused]


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
        found = [
            subscribing.find(asked, config, prefix=prefix)
            for asked in subscribing.read_body(body, most=location.max_channels)
        ]
        signals = await self.signals() if has_listeners(SubscriberConsumer) else None
        if isinstance(signals, HttpResponseBase):
            await send_response(signals, self.base_send)
            return None
        if transport == "long-poll":
            return await self._poll(found, receive, signals)
        await eventstreams.many_channels(
            self.scope, receive, self.base_send, location, found, signals
        )
        return None

    async def _poll(
        self, found: Found, receive: Receive, signals: ConnectionSignals | None
    ) -> Reply | None:
        spelling = MultiplexPoll()
        limit = self.location.max_answer
        with Feed(subscriptions.current(), spelling, limit=limit) as feed:
            for one in found:
                feed.take(one)
            entries = await feed.collect()
            if not entries and not feed.draining:
                feed.tell(signals)
                for reader in feed.readers.values():
                    feed.on_begin(reader)
                held = await self._hold(feed, receive)
                if held is None or isinstance(held, Ending):
                    return None if held is None else endpoints.reply_at(held)
                entries = held or [
                    entry
                    for reader in feed.readers.values()
                    if reader.position != reader.given
                    for entry in spelling.place(
                        reader.head, reader.position, gap=reader.gap
                    )
                ]
            if feed.draining and not entries:
                return endpoints.reply_at(Ending.SHUTDOWN)
        headers = [(b"content-type", b"application/json")]
        return 200, headers, spelling.array(entries)

    async def _hold(self, feed: Feed, receive: Receive) -> list[Entry] | Ending | None:
        """Return what comes in time, maybe nothing; None when the client is gone."""
        news = Waiter(START, gap=False)

        def hear(reader: Reader, outcome: Outcome | None) -> None:
            feed.put_behind(reader)
            news.end(outcome or Ending.DEADLINE)

        feed.on_news = hear
        timeout = self.location.poll_timeout * random.uniform(_DEADLINE_FROM, 1)
        outcome = await endpoints.wait(news, receive, timeout)
        if outcome is None or outcome is Ending.SHUTDOWN:
            return outcome
        return await feed.collect()
