"""A subscriber or multiplex location as an event stream, until it ends."""

from collections.abc import Iterable

from pushserver.conf.locations import Location
from pushserver.consumers import endpoints
from pushserver.consumers.endpoints import Outgoing, Receive, Reply, Scope
from pushserver.consumers.feeds import Feed
from pushserver.consumers.spellings import EventStream, MultiplexStream, reason_of
from pushserver.consumers.streams import Stream
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.consumers.writing import Writer
from pushserver.engine import subscriptions
from pushserver.engine.waiters import Key
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor
from pushserver.requests import ConnectionSignals

__all__ = ["many_channels", "one_channel"]

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        # nginx would keep what it gets until it has a few kilobytes.
        (b"x-accel-buffering", b"no"),
    ],
}


async def one_channel(
    scope: Scope,
    receive: Receive,
    send: Outgoing,
    location: Location,
    key: Key,
    cursor: Cursor | None,
    signals: ConnectionSignals | None,
) -> Reply | None:
    """Stream a channel; return an answer where that cannot even begin."""
    spelling = EventStream()
    with Feed(subscriptions.current(), spelling, limit=location.max_answer) as feed:
        feed.tell(signals)
        writer = Writer(scope, send.server_send, limit=location.max_stream_bytes)
        stream = Stream(feed, spelling, writer, location, many=False)
        feed.open("", key, cursor, location)
        entries = await feed.collect()
        if feed.status == 503:
            raise StoreUnavailable("The store does not answer.")
        if feed.status == 404:
            return endpoints.line(404, reason_of(404))
        await send(_START)
        await stream.run(receive, entries)
    return None


async def many_channels(
    scope: Scope,
    receive: Receive,
    send: Outgoing,
    location: Location,
    wanted: Iterable[Wanted | Refused],
    signals: ConnectionSignals | None,
) -> None:
    """Stream all of these channels."""
    spelling = MultiplexStream()
    with Feed(subscriptions.current(), spelling, limit=location.max_answer) as feed:
        feed.tell(signals)
        for found in wanted:
            feed.take(found)
        await send(_START)
        writer = Writer(scope, send.server_send, limit=location.max_stream_bytes)
        await Stream(feed, spelling, writer, location, many=True).run(receive)
