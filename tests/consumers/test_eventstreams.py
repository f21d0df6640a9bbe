"""Event streams as the wire has them, in process."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.http import HttpResponse

from pushserver.consumers.roles import SubscriberConsumer
from pushserver.engine import subscriptions
from pushserver.requests import settled
from pushserver.signals import channel_subscribe, channel_unsubscribe
from tests.asgi_client import Client, Exchange
from tests.event_stream import Event, Parser, events
from tests.faults import RemoteStore
from tests.push_site import STREAM, held, publish, site

Serve = Callable[..., Client]
HERE = __name__


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one location of each type with these settings."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(site(**settings))


@pytest.fixture
def heard() -> Iterator[list[str]]:
    """What receivers of both signals were told."""
    told: list[str] = []

    def subscribed(channel_id: str, **kwargs: Any) -> None:
        told.append(f"+{channel_id}")

    def unsubscribed(channel_id: str, **kwargs: Any) -> None:
        told.append(f"-{channel_id}")

    channel_subscribe.connect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.connect(unsubscribed, sender=SubscriberConsumer)
    yield told
    channel_subscribe.disconnect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.disconnect(unsubscribed, sender=SubscriberConsumer)


def stopped(request: Any) -> HttpResponse:
    return HttpResponse("no", status=403)


def refusing(get_response: Any) -> Any:
    return stopped


async def listen(
    client: Client, path: str = "/updates/room", body: bytes = b"", **headers: str
) -> Exchange:
    """Open an event stream and return it when it has begun."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    method = "POST" if body else "GET"
    exchange = client.open(method, path, body, headers={**STREAM, **given})
    await exchange.held()
    await exchange.body_has(b"\n\n")
    return exchange


async def leave(exchange: Exchange) -> None:
    exchange.leave()
    await exchange.task


def data(exchange: Exchange) -> list[str]:
    return [event.data for event in events(exchange.answer.body)]


async def test_a_stream_says_what_it_is(serve: Serve) -> None:
    """Its type, nothing stored and nothing buffered, and what it depends on."""
    stream = await listen(serve())
    answer = stream.answer
    assert (answer.status, answer["cache-control"]) == (200, "no-store")
    assert answer["content-type"] == "text/event-stream; charset=utf-8"
    assert answer["x-accel-buffering"] == "no"
    assert "Accept" in (answer["vary"] or "")
    await leave(stream)


async def test_it_begins_with_a_position_and_goes_on(serve: Serve) -> None:
    """What is kept first, then each message as it comes, each with its id."""
    client = serve()
    first = await publish(client, "a", content_type="text/plain")
    stream = await listen(client)
    await stream.body_has(b"data: a")
    parser = Parser()
    assert parser.feed(stream.answer.body) == [Event(id=first, data="a")]
    assert parser.retry is not None
    assert 1000 <= parser.retry <= 3000
    assert stream.answer.body.partition(b"\n\n")[0].endswith(b"id: 0-0")
    second = await publish(client, "b")
    await stream.body_has(b"data: b")
    assert events(stream.answer.body)[1:] == [Event(id=second, data="b")]
    await leave(stream)


async def test_a_message_s_name_is_the_event_s(serve: Serve) -> None:
    """As it was published, and base64 says so before it."""
    client = serve()
    await publish(client, "a", x_eventsource_event="vote")
    await publish(client, b"\xff", x_eventsource_event="photo")
    stream = await listen(client)
    await stream.body_has(b"photo")
    names = [event.event for event in events(stream.answer.body)]
    assert names == ["vote", "pushserver.base64:photo"]
    await leave(stream)


@pytest.mark.parametrize("way", ["header", "since", "last_event_id", "lastEventId"])
async def test_it_resumes_like_a_poll(serve: Serve, way: str) -> None:
    """By EventSource's header or by the query, with what came after."""
    client = serve()
    first = await publish(client, "a")
    await publish(client, "b")
    if way == "header":
        stream = await listen(client, last_event_id=first)
    else:
        stream = await listen(client, f"/updates/room?{way}={first}")
    await stream.body_has(b"data: b")
    assert data(stream) == ["b"]
    assert f"id: {first}\n\n".encode() in stream.answer.body
    await leave(stream)


async def test_lost_history_is_said(serve: Serve) -> None:
    """Before the oldest message that is left, once."""
    client = serve(store={"type": "memory", "max_messages": 2})
    first = await publish(client, "a")
    ids = [await publish(client, body) for body in "bcd"]
    stream = await listen(client, last_event_id=first)
    await stream.body_has(b"data: d")
    found = events(stream.answer.body)
    assert found[0] == Event(event="pushserver.gap", data=ids[1])
    assert [event.data for event in found[1:]] == ["c", "d"]
    await leave(stream)


async def test_lost_history_without_anything_newer_is_said_too(serve: Serve) -> None:
    """With the position where the reader stands now."""
    client = serve(store={"type": "tests.faults.VirtualStore", "message_timeout": 1})
    first = await publish(client, "a")
    last = await publish(client, "b")
    await asyncio.sleep(2)
    stream = await listen(client, last_event_id=first)
    await stream.body_has(b"gap")
    [gap] = events(stream.answer.body)
    assert gap == Event(event="pushserver.gap", data=last)
    assert f"id: {last}\n\n".encode() in stream.answer.body
    await leave(stream)


async def test_a_deletion_ends_it_for_good(serve: Serve) -> None:
    """With an event that says so."""
    client = serve()
    stream = await listen(client)
    await client.ask("DELETE", "/send-update/room")
    answer = await stream.answered()
    assert events(answer.body) == [Event(event="pushserver.deleted", data="410")]


async def test_conflicts_end_streams_too(serve: Serve) -> None:
    """The older or the newer one, as the location has it; polls count like them."""
    client = serve(subscriber={"concurrency": "last"})
    older = await listen(client)
    newer = await client.open("GET", "/updates/room").held()
    answer = await older.answered()
    assert events(answer.body) == [Event(event="pushserver.conflict", data="409")]
    newest = await listen(client)
    assert (await newer.answered()).status == 409
    await leave(newest)


async def test_a_newcomer_that_is_not_let_in_hears_it(serve: Serve) -> None:
    """With ``first``, though there is a message for it."""
    client = serve(subscriber={"concurrency": "first"})
    await publish(client, "a")
    holder = await listen(client)
    newcomer = await client.ask("GET", "/updates/room", headers=STREAM)
    assert events(newcomer.body) == [Event(event="pushserver.conflict", data="409")]
    await leave(holder)


async def test_it_counts_as_a_held_reader(serve: Serve) -> None:
    """201 while it is open, also between two messages; 202 when it has gone."""
    client = serve()
    stream = await listen(client)
    assert await held(client) == 1
    for body in "ab":
        answer = await client.ask("POST", "/send-update/room", body.encode())
        assert (answer.status, answer["x-push-held"]) == (201, "1")
    await leave(stream)
    assert await held(client) == 0
    assert (await client.ask("POST", "/send-update/room", b"c")).status == 202


async def test_receivers_are_told_once(serve: Serve, heard: list[str]) -> None:
    """One subscribe, one unsubscribe, however many messages."""
    client = serve()
    stream = await listen(client)
    for body in "ab":
        await publish(client, body)
    await stream.body_has(b"data: b")
    await settled()
    assert heard == ["+room"]
    await leave(stream)
    await settled()
    assert heard == ["+room", "-room"]


async def test_a_middleware_may_answer_instead(serve: Serve, heard: list[str]) -> None:
    """While there are receivers, as for a poll."""
    client = serve(middleware=(f"{HERE}.refusing",))
    answer = await client.ask("GET", "/updates/room", headers=STREAM)
    assert (answer.status, answer.body) == (403, b"no")
    many = json.dumps({"channels": {"room": {}}}).encode()
    answer = await client.ask("POST", "/updates", many, headers=STREAM)
    assert (answer.status, answer.body) == (403, b"no")
    assert heard == []


async def test_silence_is_broken_by_comments(serve: Serve) -> None:
    """Every heartbeat, and nobody dispatches them."""
    stream = await listen(serve(heartbeat=5))
    await asyncio.sleep(26)
    parser = Parser()
    assert parser.feed(stream.answer.body) == []
    assert parser.comments == 5
    await leave(stream)


async def test_who_does_not_read_gets_no_comments(serve: Serve) -> None:
    """There is something to write already."""
    client = serve(heartbeat=5)
    stream = await listen(client)
    stream.reading.clear()
    await publish(client, "a")
    await asyncio.sleep(16)
    stream.reading.set()
    await stream.body_has(b"data: a")
    parser = Parser()
    parser.feed(stream.answer.body)
    assert parser.comments == 0
    await asyncio.sleep(5)
    parser.feed(stream.answer.body)
    assert parser.comments == 1
    await leave(stream)


async def test_it_ends_in_time(serve: Serve) -> None:
    """After 80 to 100 % of the time, complete, for the client to come back."""
    loop = asyncio.get_running_loop()
    stream = await listen(serve(subscriber={"max_stream_seconds": 100}))
    began = loop.time()
    await stream.answered()
    assert 79 < loop.time() - began < 101


async def test_a_shutdown_ends_it_at_once(serve: Serve) -> None:
    """Complete; whoever comes now gets nothing but that."""
    client = serve()
    stream = await listen(client)
    subscriptions.drain()
    answer = await stream.answered()
    assert events(answer.body) == []
    late = await client.ask("GET", "/updates/room", headers=STREAM)
    assert (late.status, events(late.body)) == (200, [])


async def test_cancellation_ends_it_complete(serve: Serve) -> None:
    """As plain daphne stops: the client hears the end before we go."""
    stream = await listen(serve())
    stream.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream.task
    assert stream.complete


async def test_the_client_s_end_ends_it(serve: Serve) -> None:
    """Nothing is left of it; nothing is sent to nobody."""
    client = serve()
    for refuse in (None, OSError("gone")):
        stream = client.open("GET", "/updates/room", headers=STREAM, refuse=refuse)
        await stream.held()
        stream.gone = True
        await publish(client, "a")
        if refuse is None:
            stream.leave()
        await stream.task
        assert await held(client) == 0
    assert subscriptions.current().statistics().readers == 0


async def test_what_is_not_offered_is_406(serve: Serve) -> None:
    """For the stream alone; who takes something else gets a poll."""
    client = serve(subscriber={"transports": ["long-poll"]})
    assert (await client.ask("GET", "/updates/a", headers=STREAM)).status == 406
    await publish(client, "x", "a")
    either = {"accept": "text/event-stream, */*"}
    assert (await client.ask("GET", "/updates/a", headers=either)).body == b"x"


async def test_a_channel_that_there_is_not(serve: Serve) -> None:
    """404 where reading creates none."""
    client = serve(subscriber={"create_on_get": False})
    assert (await client.ask("GET", "/updates/a", headers=STREAM)).status == 404
    await publish(client, "x", "a")
    stream = await listen(client, "/updates/a")
    await leave(stream)


async def test_a_store_that_is_down_is_503(serve: Serve) -> None:
    """Before it begins; later the stream ends, and the client comes back."""
    client = serve(store={"type": "tests.faults.RemoteStore"})
    stream = await listen(client)
    store = subscriptions.current().live(("default", "room"))._store
    assert isinstance(store, RemoteStore)
    store.go_down()
    answer = await client.ask("GET", "/updates/other", headers=STREAM)
    assert (answer.status, answer["retry-after"] is None) == (503, False)
    await leave(stream)


async def test_a_bad_cursor_is_400(serve: Serve) -> None:
    """As for a poll."""
    headers = {**STREAM, "last-event-id": "garbage"}
    assert (await serve().ask("GET", "/updates/a", headers=headers)).status == 400


async def test_a_client_that_does_not_read_costs_a_cursor(serve: Serve) -> None:
    """Nothing is queued for it; then it gets what is left, and hears of the loss."""
    client = serve(store={"type": "memory", "max_messages": 5})
    stream = await listen(client)
    await publish(client, "first")
    await stream.body_has(b"first")
    stream.reading.clear()
    for n in range(20):
        await publish(client, f"n{n}")
        await asyncio.sleep(0.1)
    assert await held(client) == 1
    assert b"n0" not in stream.answer.body
    stream.reading.set()
    await stream.body_has(b"n19")
    found = [event.data for event in events(stream.answer.body)]
    # The first one was on its way already.
    assert found[1] == "n0"
    assert found[3:] == [f"n{n}" for n in range(15, 20)]
    assert events(stream.answer.body)[2].event == "pushserver.gap"
    await leave(stream)


async def test_a_shutdown_does_not_wait_for_who_does_not_read(serve: Serve) -> None:
    """It says goodbye for a second at most."""
    loop = asyncio.get_running_loop()
    client = serve()
    stream = await listen(client)
    stream.reading.clear()
    await publish(client, "a")
    await publish(client, "b")
    began = loop.time()
    subscriptions.drain()
    await stream.task
    assert loop.time() - began < 2
    assert not stream.complete


async def test_where_servers_do_not_wait_it_ends_by_bytes(serve: Serve) -> None:
    """A scope that names no version of ASGI is plain daphne's."""
    client = serve(max_stream_bytes=1000)
    daphne: dict[str, Any] = {"asgi": {"version": "3.0"}}
    stream = client.open("GET", "/updates/room", headers=STREAM, **daphne)
    await stream.held()
    for n in range(20):
        await publish(client, f"{n:0100}")
        await asyncio.sleep(0.01)
        if stream.complete:
            break
    answer = await stream.answered()
    assert 1000 < len(answer.body) < 1300


async def test_a_burst_goes_out_in_pieces(serve: Serve) -> None:
    """History of any size is written in answers of ``max_answer``, all of it."""
    client = serve(store={"type": "memory", "max_messages": 1000})
    for n in range(250):
        await publish(client, f"{n:04000}")
    stream = await listen(client)
    await stream.body_has(f"{249:04000}".encode())
    assert data(stream) == [f"{n:04000}" for n in range(250)]
    await leave(stream)


async def test_an_error_of_a_server_is_no_one_else_s(serve: Serve) -> None:
    """Half an answer is for the server to cut off; other readers have theirs."""
    client = serve()
    error = ZeroDivisionError()
    bad = client.open("GET", "/updates/room", headers=STREAM, refuse=error)
    await bad.held()
    good = await listen(client)
    bad.gone = True
    await publish(client, "a")
    await good.body_has(b"data: a")
    with pytest.raises(ZeroDivisionError):
        await bad.task
    await leave(good)


async def test_many_channels_in_one_stream(serve: Serve) -> None:
    """Arrays of entries; a channel that cannot be is told of alone."""
    client = serve()
    await publish(client, '{"n": 1}', "a", content_type="application/json")
    body: dict[str, Any] = {
        "channels": {"a": {}, "b": {}, "..": {}},
        "urls": {"/updates/c": {}},
    }
    stream = await listen(client, "/updates", json.dumps(body).encode())
    await publish(client, "x", "c")
    await stream.body_has(b'"x"')
    entries = [entry for text in data(stream) for entry in json.loads(text)]
    assert entries[0]["error"] == 400
    assert {"channel": "b", "id": "0-0"} in entries
    told = [entry for entry in entries if "type" in entry]
    assert [entry.get("data", entry.get("text")) for entry in told] == [{"n": 1}, "x"]
    assert told[1]["url"] == "/updates/c"
    assert all(event.id is None for event in events(stream.answer.body))
    await client.ask("DELETE", "/send-update/a")
    await stream.body_has(b'"error":410')
    await publish(client, "still here", "b")
    await stream.body_has(b"still here")
    await leave(stream)
