"""What subscriber and publisher locations answer: the wire, row by row, in process."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import pytest
from channels.routing import URLRouter
from django.http import HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.test import override_settings
from django.urls import re_path

from pushserver.asgi import push_application
from pushserver.consumers.roles import SubscriberConsumer
from pushserver.engine import subscriptions
from pushserver.exceptions import StoreUnavailable
from pushserver.requests import settled
from pushserver.routing import http_urlpatterns
from pushserver.signals import channel_subscribe, channel_unsubscribe
from pushserver.stores.base import Store
from pushserver.stores.memory import MemoryStore
from pushserver.tokens import sign_publish
from tests.asgi_client import Answer, Client, Exchange

Serve = Callable[..., Client]
HERE = __name__
PAGE = "https://page.example"
VARY = "If-None-Match, If-Modified-Since, Accept"
EXPOSED = {"etag", "last-modified", "cache-control", "x-push-gap"}
START = {"if-none-match": "0", "if-modified-since": "Thu, 01 Jan 1970 00:00:00 GMT"}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve one location of each role with these settings, for the length of a test."""
    with ExitStack() as stack:

        def serve(
            *,
            subscriber: dict[str, Any] | None = None,
            publisher: dict[str, Any] | None = None,
            middleware: tuple[str, ...] = (),
            debug: bool = True,
            **push_server: Any,
        ) -> Client:
            locations = [
                {"type": "subscriber", "prefix": "/updates/", **(subscriber or {})},
                {"type": "publisher", "prefix": "/send-update/", **(publisher or {})},
            ]
            changed = override_settings(
                DEBUG=debug,
                MIDDLEWARE=[f"{HERE}.{name}" for name in middleware],
                PUSH_SERVER={"locations": locations, **push_server},
            )
            stack.enter_context(changed)
            return Client(push_application())

        yield serve


@pytest.fixture
def heard() -> Iterator[list[tuple[str, Any, str]]]:
    """Connect a receiver to both signals; the list is what they were told."""
    told: list[tuple[str, Any, str]] = []

    def subscribed(request: Any, channel_id: str, **kwargs: Any) -> None:
        told.append(("subscribe", request, channel_id))

    def unsubscribed(request: Any, channel_id: str, **kwargs: Any) -> None:
        told.append(("unsubscribe", request, channel_id))

    channel_subscribe.connect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.connect(unsubscribed, sender=SubscriberConsumer)
    yield told
    channel_subscribe.disconnect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.disconnect(unsubscribed, sender=SubscriberConsumer)


def now() -> float:
    return asyncio.get_running_loop().time()


def readers() -> int:
    return subscriptions.current().statistics().readers


async def read(client: Client, path: str = "/updates/room", **kwargs: Any) -> Answer:
    return await client.ask("GET", path, **kwargs)


async def hold(client: Client, path: str = "/updates/room", **kwargs: Any) -> Exchange:
    """Begin a poll and return it when it waits."""
    return await client.open("GET", path, **kwargs).held()


async def publish(
    client: Client, body: bytes = b"news", channel: str = "room", **kwargs: Any
) -> Answer:
    answer = await client.ask("POST", f"/send-update/{channel}", body, **kwargs)
    assert answer.status in (201, 202), answer
    return answer


async def about(client: Client, channel: str = "room") -> dict[str, Any]:
    accept = {"accept": "application/json"}
    answer = await client.ask("GET", f"/send-update/{channel}", headers=accept)
    assert answer.status == 200, answer
    return dict(json.loads(answer.body))


# Delivery


async def test_a_message_is_the_whole_answer(serve: Serve) -> None:
    """200 with the body and type as published, its position, and no storing."""
    client = serve()
    html = {"content-type": "text/html; charset=utf-8"}
    etag = (await publish(client, b"<b>\x00\xff", headers=html))["etag"]
    answer = await read(client)
    assert (answer.status, answer.body) == (200, b"<b>\x00\xff")
    assert answer["content-type"] == "text/html; charset=utf-8"
    assert answer["etag"] == etag
    assert re.fullmatch(r'"[0-9]+-[0-9]+"', etag or "")
    milliseconds = int((etag or "").strip('"').partition("-")[0])
    date = parsedate_to_datetime(answer["last-modified"] or "")
    assert date.timestamp() == milliseconds // 1000
    assert answer["cache-control"] == f"no-store, etag={etag}"
    assert answer["vary"] == VARY
    assert answer["x-push-gap"] is None


async def test_an_absent_content_type_stays_absent(serve: Serve) -> None:
    """A message that was published without a type is delivered without one."""
    client = serve()
    await publish(client)
    assert (await read(client))["content-type"] is None


async def test_waiting_makes_no_difference_to_the_answer(serve: Serve) -> None:
    """Who waited and who came late get the same status, headers and body."""
    client = serve(subscriber={"allow_origin": PAGE})
    first = await publish(client)
    headers = {"if-none-match": first["etag"], "origin": PAGE}
    waiting = await hold(client, headers=headers)
    await publish(client, b"second", headers={"content-type": "a/b"})
    assert await waiting.answered() == await read(client, headers=headers)


async def test_everybody_held_gets_the_message(serve: Serve) -> None:
    """All readers of a channel are answered, and nobody of another one."""
    client = serve()
    waiting = [await hold(client) for _ in range(3)]
    other = await hold(client, "/updates/elsewhere")
    await publish(client)
    assert [(await each.answered()).body for each in waiting] == [b"news"] * 3
    assert not other.task.done()


async def test_readers_are_answered_before_who_published(serve: Serve) -> None:
    """What they wait for is on its way before the publisher's report is written."""
    client, begun = serve(), []
    application = client.application

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def note(event: Any) -> None:
            if event["type"] == "http.response.start":
                begun.append(scope["method"])
            await send(event)

        await application(scope, receive, note)

    client.application = noting
    polls = [await hold(client) for _ in range(3)]
    await publish(client)
    await asyncio.gather(*(poll.answered() for poll in polls))
    assert begun == ["GET", "GET", "GET", "POST"]


async def test_going_on_from_the_last_answer_misses_nothing(serve: Serve) -> None:
    """Every message comes once, in order, whatever was held and what was not."""
    client = serve()
    for number in range(3):
        await publish(client, b"%d" % number)
    answer = await read(client)
    bodies = [answer.body]
    for _ in range(2):
        answer = await read(client, headers=answer.position)
        bodies.append(answer.body)
    waiting = await hold(client, headers=answer.position)
    await publish(client, b"3")
    bodies.append((await waiting.answered()).body)
    assert bodies == [b"0", b"1", b"2", b"3"]


async def test_a_poll_without_news_ends_before_its_timeout(serve: Serve) -> None:
    """304 at 80 to 100 % of poll_timeout, with the position and no body."""
    client = serve(subscriber={"poll_timeout": 10})
    first = await publish(client)
    started = now()
    answer = await read(client, headers={"if-none-match": first["etag"]})
    assert 8 <= now() - started <= 10.5
    assert (answer.status, answer.body) == (304, b"")
    assert answer["etag"] == first["etag"]
    assert answer["cache-control"] == f"no-store, etag={first['etag']}"
    assert answer["content-length"] is None
    assert answer["content-type"] is None


async def test_deadlines_are_spread(serve: Serve) -> None:
    """Polls that began together do not end together."""
    client = serve()
    ends: set[float] = set()

    async def poll() -> None:
        await read(client)
        ends.add(round(now(), 2))

    await asyncio.gather(*(poll() for _ in range(20)))
    assert len(ends) > 5


async def test_an_empty_channel_has_a_position(serve: Serve) -> None:
    """A reader without a cursor is told where it waited, and goes on from there."""
    client = serve(subscriber={"poll_timeout": 1})
    answer = await read(client)
    assert answer.status == 304
    assert answer["etag"] == '"0-0"'
    assert answer["last-modified"] == "Thu, 01 Jan 1970 00:00:00 GMT"
    await publish(client)
    again = await read(client, headers=answer.position)
    assert (again.status, again["x-push-gap"]) == (200, None)


async def test_interval_polling_never_waits(serve: Serve) -> None:
    """304 at once when there is nothing, 200 when there is."""
    client = serve(subscriber={"polling": "interval"})
    started = now()
    assert (await read(client)).status == 304
    assert now() - started < 1
    await publish(client)
    answer = await read(client)
    assert answer.body == b"news"
    again = await read(client, headers=answer.position)
    assert (again.status, again["etag"]) == (304, answer["etag"])


@pytest.mark.parametrize(
    ("first_message", "body"), [("oldest", b"0"), (2, b"1"), (99, b"0")]
)
async def test_where_a_reader_starts(
    serve: Serve, first_message: str | int, body: bytes
) -> None:
    """Without a position: the oldest message, or so many from the end."""
    client = serve(subscriber={"first_message": first_message})
    for number in range(3):
        await publish(client, b"%d" % number)
    assert (await read(client)).body == body


async def test_a_reader_may_start_at_the_end(serve: Serve) -> None:
    """ "newest" waits for what comes, and its 304 says where it waited."""
    client = serve(subscriber={"first_message": "newest", "poll_timeout": 1})
    old = await publish(client, b"old")
    answer = await read(client)
    assert (answer.status, answer["etag"]) == (304, old["etag"])
    await publish(client, b"new")
    assert (await read(client, headers=answer.position)).body == b"new"


async def test_a_location_may_create_no_channel(serve: Serve) -> None:
    """create_on_get False: 404 until the channel exists, and looking creates none."""
    client = serve(subscriber={"create_on_get": False, "poll_timeout": 1})
    for _ in range(2):
        answer = await read(client)
        assert answer.status == 404
        assert answer["cache-control"] == "no-store"
    await client.ask("PUT", "/send-update/room")
    assert (await read(client)).status == 304


async def test_looking_allocates_nothing(serve: Serve) -> None:
    """A channel that was only looked at does not exist afterwards."""
    client = serve(subscriber={"poll_timeout": 1})
    await read(client)
    assert (await client.ask("GET", "/send-update/room")).status == 404


async def test_what_is_lost_is_said(serve: Serve) -> None:
    """X-Push-Gap on the answer that goes on after messages were dropped, once."""
    client = serve(store={"max_messages": 2})
    first = await publish(client)
    for number in range(3):
        await publish(client, b"%d" % number)
    answer = await read(client, headers={"if-none-match": first["etag"]})
    assert (answer.body, answer["x-push-gap"]) == (b"1", "1")
    assert (await read(client, headers=answer.position))["x-push-gap"] is None
    assert (await read(client))["x-push-gap"] is None
    assert (await read(client, headers=START))["x-push-gap"] is None


async def test_a_deleted_channel_ends_the_wait(serve: Serve) -> None:
    """410 to everybody held, one plain line that is not to be stored."""
    client = serve()
    waiting = [await hold(client) for _ in range(2)]
    assert (await client.ask("DELETE", "/send-update/room")).status == 200
    for each in waiting:
        answer = await each.answered()
        assert (answer.status, answer.text.count("\n")) == (410, 1)
        assert answer["cache-control"] == "no-store"


async def test_the_newest_reader_may_push_the_others_out(serve: Serve) -> None:
    """concurrency "last": who was held gets 409, who comes is held."""
    client = serve(subscriber={"concurrency": "last"})
    older = await hold(client)
    newer = await hold(client)
    assert (await older.answered()).status == 409
    await publish(client)
    assert (await newer.answered()).status == 200


async def test_the_oldest_reader_may_keep_the_others_out(serve: Serve) -> None:
    """concurrency "first": who comes gets 409, who was held stays."""
    client = serve(subscriber={"concurrency": "first"})
    older = await hold(client)
    assert (await read(client)).status == 409
    await publish(client)
    assert (await older.answered()).status == 200


async def test_a_stopping_server_sends_its_readers_away(serve: Serve) -> None:
    """Draining: 503 with Retry-After to who is held and to who would wait."""
    client = serve()
    waiting = await hold(client)
    subscriptions.drain()
    for answer in (await waiting.answered(), await read(client)):
        assert answer.status == 503
        assert answer["retry-after"] in ("1", "2", "3")
        assert answer["cache-control"] == "no-store"
    await publish(client)
    assert (await read(client)).status == 200


# The position


@pytest.mark.parametrize(
    "spelling",
    ['"{id}"', "{id}", 'W/"{id}"', '"{id}-gzip"', 'W/"{id}-gzip"', '"{id}";br'],
)
async def test_spellings_of_a_tag(serve: Serve, spelling: str) -> None:
    """If-None-Match counts however a proxy has rewritten it."""
    client = serve()
    etag = (await publish(client, b"1"))["etag"] or ""
    await publish(client, b"2")
    tag = spelling.format(id=etag.strip('"'))
    assert (await read(client, headers={"if-none-match": tag})).body == b"2"


@pytest.mark.parametrize("name", ["since", "last_event_id", "lastEventId"])
async def test_a_position_in_the_query(serve: Serve, name: str) -> None:
    """Clients that cannot set headers have three parameters to choose from."""
    client = serve()
    etag = (await publish(client, b"1"))["etag"] or ""
    await publish(client, b"2")
    tag = etag.strip('"')
    for query in (f"{name}={tag}", f"a=b&{name}={tag}&{name}=0", f"{name}=&x={tag}"):
        answer = await read(client, f"/updates/room?{query}")
        assert answer.body == (b"1" if "x=" in query else b"2"), query


@pytest.mark.parametrize("name", ["last_event_id", "lastEventId"])
async def test_where_a_client_was_counts_before_since(serve: Serve, name: str) -> None:
    """A page's URL says where it started; coming back, a client adds where it was."""
    client = serve()
    first = (await publish(client, b"1"))["etag"] or ""
    second = (await publish(client, b"2"))["etag"] or ""
    await publish(client, b"3")
    start, place = first.strip('"'), second.strip('"')
    for query in (f"since={start}&{name}={place}", f"{name}={place}&since={start}"):
        assert (await read(client, f"/updates/room?{query}")).body == b"3", query


async def test_a_position_in_last_event_id(serve: Serve) -> None:
    """What EventSource sends counts before the query, and after If-None-Match."""
    client = serve()
    etag = (await publish(client, b"1"))["etag"] or ""
    await publish(client, b"2")
    header = {"last-event-id": etag.strip('"')}
    assert (await read(client, headers=header)).body == b"2"
    assert (await read(client, "/updates/room?since=0", headers=header)).body == b"2"
    both = {"if-none-match": "0-0", **header}
    assert (await read(client, headers=both)).body == b"1"


async def test_a_date_alone_never_skips(serve: Serve) -> None:
    """If-Modified-Since begins with the first message of its second."""
    client = serve()
    first = await publish(client, b"1")
    await publish(client, b"2")
    date = (await read(client, headers=START))["last-modified"]
    assert (await read(client, headers={"if-modified-since": date})).body == b"1"
    tagged = {"if-none-match": first["etag"], "if-modified-since": date}
    assert (await read(client, headers=tagged)).body == b"2"


async def test_a_position_from_the_future_is_the_newest_one(serve: Serve) -> None:
    """Nothing old comes, the next message does, and the 304 says where that is."""
    client = serve(subscriber={"poll_timeout": 1})
    newest = await publish(client, b"old")
    future = {"if-none-match": '"99999999999999-0"'}
    answer = await read(client, headers=future)
    assert (answer.status, answer["etag"]) == (304, newest["etag"])
    waiting = await hold(client, headers=future)
    await publish(client, b"new")
    assert (await waiting.answered()).body == b"new"


@pytest.mark.parametrize(
    "tag",
    [
        "abc",
        '"abc"',
        "1-",
        "-1",
        "1-2-3",
        "1.5-0",
        "*",
        '"1-0", "2-0"',
        '"1-0',
        "5",
        "0x1-0",
        "1 -0",
        "\u0661-\u0660",
        "9" * 30 + "-0",
        "0" * 10_000,
        "1-99999999999999999999",
        "\x1b[2J",
    ],
)
@pytest.mark.parametrize("place", ["if-none-match", "dated", "last-event-id", "since"])
async def test_a_malformed_position_is_refused(
    serve: Serve, tag: str, place: str
) -> None:
    """400 in one line, with or without a date: never silently from the start."""
    if not tag.isascii():
        tag = tag.encode().decode("latin-1")
    client = serve()
    await publish(client)
    date = {"if-modified-since": "Thu, 01 Jan 2026 00:00:00 GMT"}
    if place == "dated":
        if tag == "5":
            tag = "5x"  # a bare number beside a date is how old clients start
        answer = await read(client, headers={"if-none-match": tag, **date})
    elif place == "since":
        answer = await read(client, f"/updates/room?since={quote(tag)}")
    else:
        answer = await read(client, headers={place: tag})
    assert answer.status == 400
    assert answer.text.count("\n") == 1
    assert len(answer.text) < 200
    assert answer.text[:-1].isprintable()
    assert answer["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "date", ["yesterday", "2026-01-01", "0", "Thu, 99 Jan 2026 00:00:00 GMT", "\x00"]
)
async def test_a_malformed_date_is_refused(serve: Serve, date: str) -> None:
    """400, alone and beside the number of an old client."""
    client = serve()
    alone = {"if-modified-since": date}
    for headers in (alone, {"if-none-match": "0", **alone}):
        answer = await read(client, headers=headers)
        assert answer.status == 400
        assert "If-Modified-Since" in answer.text


# Requests that are refused


@pytest.mark.parametrize(
    "method", ["HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"]
)
async def test_a_reader_has_two_methods(serve: Serve, method: str) -> None:
    """405 with Allow for everything but GET and OPTIONS, and nothing is published."""
    client = serve()
    answer = await client.ask(method, "/updates/room", b"body")
    assert answer.status == 405
    assert answer["allow"] == "GET, OPTIONS"
    assert answer["cache-control"] == "no-store"
    assert (await client.ask("GET", "/send-update/room")).status == 404


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PATCH", "TRACE", "post"])
async def test_a_publisher_has_four_methods(serve: Serve, method: str) -> None:
    """405 with Allow for everything else, whoever asks."""
    client = serve()
    answer = await client.ask(method, "/send-update/room", headers={"origin": PAGE})
    assert answer.status == 405
    assert answer["allow"] == "GET, POST, PUT, DELETE"
    assert answer["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "channel",
    [
        "%",
        "%4",
        "%ZZ",
        "a%C3",
        "%FF%FE",
        "%C0%AF",
        "%ED%A0%80",
        "a%00b",
        "a%0D%0Ab",
        "a%0A",
        "%7F",
        "%C2%85",
        ".",
        "..",
        "%2e%2e",
        "%2E",
        "x" * 256,
        "%C3%A4" * 256,
    ],
)
@pytest.mark.parametrize(
    ("method", "place"),
    [("GET", "updates"), ("POST", "send-update"), ("PUT", "send-update")],
)
async def test_bad_channel_ids_are_refused(
    serve: Serve, channel: str, method: str, place: str
) -> None:
    """400 in one line that does not repeat the id."""
    answer = await serve().ask(method, f"/{place}/{channel}")
    assert answer.status == 400
    assert answer.text.count("\n") == 1
    assert answer.text[:-1].isprintable()
    assert answer["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "channel",
    [
        "x" * 255,
        "%C3%A4" * 255,
        "a/b",
        "a%2Fb",
        "a..b",
        "...",
        "%20",
        "a+b",
        "%F0%9F%90%99",
        "100%25",
        "%25ZZ",
        "%3Fsince=x",
        "a%22%3Cscript%3E",
        "%E2%80%AE",
    ],
)
async def test_channel_ids_are_any_text(serve: Serve, channel: str) -> None:
    """What is no control character is an id, up to 255 characters of it."""
    client = serve()
    assert (await publish(client, channel=channel)).status == 202
    assert (await read(client, f"/updates/{channel}")).body == b"news"


async def test_channel_ids_are_compared_exactly(serve: Serve) -> None:
    """Case, composition and spaces make different channels; spelling in a URL not."""
    client = serve(subscriber={"polling": "interval"})
    await publish(client, channel="caf%C3%A9")
    for other in ("Caf%C3%A9", "cafe%CC%81", "caf%C3%A9%20", "caf%C3%A9/"):
        assert (await read(client, f"/updates/{other}")).status == 304
    assert (await read(client, "/updates/c%61f%c3%a9")).status == 200


async def test_a_server_that_shows_no_raw_path(serve: Serve) -> None:
    """raw_path is optional: then the decoded path is all there is."""
    client = serve()
    await publish(client, channel="100%25", raw_path=None)
    assert (await read(client, "/updates/100%25", raw_path=None)).status == 200
    assert (await read(client, "/updates/a%00", raw_path=None)).status == 400


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
@pytest.mark.parametrize("host", ["evil.example", "testserver:x", "a b", "@", "[::"])
async def test_a_host_that_is_not_ours_is_refused(
    serve: Serve, method: str, host: str
) -> None:
    """ALLOWED_HOSTS hold here as everywhere: 400, and the Host is not repeated."""
    client = serve(debug=False)
    answer = await client.ask(method, "/updates/room", headers={"host": host})
    assert answer.status == 400
    assert "ALLOWED_HOSTS" in answer.text
    assert host not in answer.text


async def test_the_host_is_looked_at_before_anything_is_published(
    serve: Serve,
) -> None:
    """A rebound name in the browser's address bar does not reach the publisher."""
    client = serve(publisher={"allow": ["127.0.0.1"]})
    evil = {"host": "evil.example"}
    assert (
        await client.ask("POST", "/send-update/room", b"x", headers=evil)
    ).status == 400
    assert (await client.ask("GET", "/send-update/room")).status == 404


# Failures


class DownStore(MemoryStore):
    """A store that does not answer."""

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("10.0.0.3:6379 refused")

    append = create = delete = heads = read


class BuggyStore(MemoryStore):
    """A store with a bug that looks like a mistake of the client."""

    async def read(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError("inner detail")

    append = create = delete = heads = read


ALL = [
    ("GET", "/updates/room"),
    ("GET", "/send-update/room"),
    ("POST", "/send-update/room"),
    ("PUT", "/send-update/room"),
    ("DELETE", "/send-update/room"),
]


@pytest.mark.parametrize(("method", "path"), ALL)
async def test_a_store_that_is_down(serve: Serve, method: str, path: str) -> None:
    """503 with Retry-After, without saying where the store is; nobody is left over."""
    client = serve(store={"type": f"{HERE}.DownStore"})
    answer = await client.ask(method, path)
    assert answer.status == 503
    assert answer["retry-after"] in ("1", "2", "3")
    assert "10.0.0.3" not in answer.text
    assert readers() == 0


class ForgetfulStore(MemoryStore):
    """A store that takes a message, and then does not answer."""

    append_and_head = Store.append_and_head  # it does not tell by itself

    async def heads(self, *args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("down")


async def test_a_message_that_was_stored_is_no_error(serve: Serve) -> None:
    """A 503 would have it sent again, where only the information is lacking."""
    client = serve(store={"type": f"{HERE}.ForgetfulStore"})
    answer = await client.ask("POST", "/send-update/room", b"x")
    assert (answer.status, answer.text) == (202, "")
    assert answer["etag"]


class SilentStore(MemoryStore):
    """A store that does not say by itself where a channel stands."""

    append_and_head = Store.append_and_head


async def test_who_was_held_is_counted_whatever_the_store_tells(serve: Serve) -> None:
    """As they were when it was published: by the time of the report they have it."""
    client = serve(store={"type": f"{HERE}.SilentStore"})
    waiting = await hold(client)
    answer = await publish(client)
    assert "active subscribers: 1\n" in answer.text
    assert "queued messages: 1\n" in answer.text
    assert (await waiting.answered()).body == b"news"


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(("method", "path"), ALL)
async def test_a_bug_is_a_plain_500(
    serve: Serve, method: str, path: str, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, in DEBUG too, and the log has the rest: a bug is not the client's."""
    client = serve(
        debug=debug,
        publisher={"allow": ["127.0.0.1"]},
        store={"type": f"{HERE}.BuggyStore"},
    )
    answer = await client.ask(method, path)
    assert (answer.status, answer.text.count("\n")) == (500, 1)
    assert "inner" not in answer.text
    assert answer["content-type"] == "text/plain; charset=utf-8"
    [record] = [r for r in caplog.records if r.name == "pushserver.consumers.endpoints"]
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert readers() == 0


# Who leaves


async def test_who_leaves_is_not_held_any_more(serve: Serve) -> None:
    """A reader that vanishes is not counted, and the next publish is 202."""
    client = serve()
    waiting = await hold(client)
    assert (await about(client))["subscribers"] == 1
    waiting.leave()
    await waiting.task
    assert not waiting.started
    assert readers() == 0
    assert (await publish(client)).status == 202


GONE = [None, BrokenPipeError(), ConnectionResetError(), OSError("gone")]


@pytest.mark.parametrize("refuse", GONE)
@pytest.mark.parametrize("message_first", [True, False])
async def test_a_message_for_who_just_left(
    serve: Serve,
    message_first: bool,
    refuse: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In the same turn of the loop: no second attempt to answer, nothing in the log."""
    client = serve()
    waiting = await hold(client, refuse=refuse)
    if message_first:
        await publish(client)
        waiting.leave()
    else:
        waiting.leave()
        await publish(client)
    await waiting.task
    assert readers() == 0
    assert caplog.records == []


@pytest.mark.parametrize("refuse", GONE)
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/updates/%"), ("PUT", "/send-update/room"), ("BREW", "/updates/a")],
)
async def test_answering_who_has_left(
    serve: Serve,
    method: str,
    path: str,
    refuse: Exception | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An answer that cannot be sent is no error of anybody."""
    exchange = serve().open(method, path, refuse=refuse)
    exchange.leave()
    await exchange.task
    assert caplog.records == []


async def test_a_server_that_cannot_send_is_heard(serve: Serve) -> None:
    """Any other error of the server's send passes: it is no second answer's turn."""
    exchange = serve().open("PUT", "/send-update/room", refuse=RuntimeError("bug"))
    exchange.leave()
    with pytest.raises(RuntimeError, match="bug"):
        await exchange.task


# Cancellation: plain Daphne stops


async def test_a_cancelled_poll_is_answered(serve: Serve) -> None:
    """503 with Retry-After reaches the client, and the cancellation the server."""
    client = serve()
    waiting = await hold(client)
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert waiting.complete
    assert waiting.answer.status == 503
    assert waiting.answer["retry-after"] in ("1", "2", "3")
    assert waiting.answer["cache-control"] == "no-store"
    assert readers() == 0


@pytest.mark.parametrize("refuse", GONE)
async def test_a_cancelled_poll_of_who_has_left(
    serve: Serve, refuse: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The cancellation passes, whatever the server says to the last answer."""
    client = serve()
    waiting = await hold(client, refuse=refuse)
    waiting.gone = True
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert readers() == 0
    assert caplog.records == []


@pytest.mark.parametrize("message_first", [True, False])
async def test_a_message_for_a_poll_that_is_cancelled(
    serve: Serve, message_first: bool
) -> None:
    """In one turn: one answer, then the cancellation; the message can be read later."""
    client = serve()
    waiting = await hold(client)
    if message_first:
        publishing = asyncio.create_task(publish(client))
        while subscriptions.current().statistics().held:  # noqa: ASYNC110
            await asyncio.sleep(0)  # until the fan-out has woken it
        waiting.task.cancel()
        await publishing
    else:
        waiting.task.cancel()
        await publish(client)
    with pytest.raises(asyncio.CancelledError):
        await waiting.task
    assert waiting.complete
    assert waiting.answer.status in (200, 503)
    assert (await read(client)).body == b"news"


async def test_a_slow_goodbye_holds_nobody_up(serve: Serve) -> None:
    """While one poll is sent its 503, its channel's others still get the message."""
    client = serve()
    full = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        async def blocked(event: Any) -> None:
            await full.wait()
            await send(event)

        await client.application(scope, receive, blocked)

    leaving = await Client(slow).open("GET", "/updates/room").held()
    others = [await hold(client) for _ in range(2)]
    leaving.task.cancel()
    await asyncio.sleep(0)  # it begins to say goodbye
    published = await publish(client)
    assert [(await each.answered()).body for each in others] == [b"news"] * 2
    assert published["x-push-held"] == "2"
    full.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving.task
    assert leaving.answer.status == 503


async def test_a_cancelled_publish_has_no_answer(serve: Serve) -> None:
    """Nobody knows whether it was stored: silence says that, a 503 would say no."""
    exchange = serve().open("POST", "/send-update/room", [b"a"], whole=False)
    await exchange.held()
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    assert not exchange.started


# Signals


async def ended_by(end: str, client: Client, waiting: Exchange) -> None:
    """End a held poll in one of the ways there are."""
    match end:
        case "message":
            await publish(client)
        case "deletion":
            await client.ask("DELETE", "/send-update/room")
        case "departure":
            waiting.leave()
        case "drain":
            subscriptions.drain()
        case "cancellation":
            waiting.task.cancel()
    await asyncio.wait([waiting.task])
    await settled()


ENDS = ["message", "deletion", "departure", "drain", "deadline", "cancellation"]


@pytest.mark.parametrize("end", ENDS)
async def test_one_unsubscribe_for_each_subscribe(
    serve: Serve, heard: list[tuple[str, Any, str]], end: str
) -> None:
    """Whatever ends a held poll, both signals were sent once, with one request."""
    client = serve()
    headers = {"x-mine": "yes"}
    waiting = await hold(client, "/updates/r%C3%B6m?a=b", headers=headers)
    if end in ("message", "deletion"):
        await ended_by("departure", client, waiting)
        heard.clear()
        waiting = await hold(client, headers=headers)
    await ended_by(end, client, waiting)
    assert [kind for kind, _, _ in heard] == ["subscribe", "unsubscribe"]
    assert heard[0][1] is heard[1][1]
    assert heard[0][1].headers["x-mine"] == "yes"
    assert heard[0][1].resolver_match.args in {("röm",), ("room",)}
    assert {channel for _, _, channel in heard} <= {"röm", "room"}


async def test_below_a_router_receivers_get_its_match(
    serve: Serve, heard: list[tuple[str, Any, str]]
) -> None:
    """With whatever the routers around ours have taken."""
    serve()
    tenants = re_path(r"^tenant/(\w+)/", URLRouter(http_urlpatterns()))
    client = Client(URLRouter([tenants]))
    waiting = await hold(client, "/tenant/a/updates/room")
    await ended_by("departure", client, waiting)
    assert heard[0][1].resolver_match.args == ("a", "room")


async def test_who_does_not_wait_does_not_subscribe(
    serve: Serve, heard: list[tuple[str, Any, str]]
) -> None:
    """A poll that is answered at once, whatever the answer, is no subscription."""
    client = serve(subscriber={"create_on_get": False, "concurrency": "first"})
    assert (await read(client)).status == 404
    await publish(client)
    assert (await read(client)).status == 200
    assert (await read(client, headers={"if-none-match": "x"})).status == 400
    assert (await client.ask("OPTIONS", "/updates/room")).status == 204
    assert (await client.ask("POST", "/updates/room")).status == 405
    assert heard == []
    waiting = await hold(client, "/updates/room?since=99999999999999-0")
    assert (await read(client, "/updates/room?since=99999999999999-0")).status == 409
    await ended_by("departure", client, waiting)
    assert [kind for kind, _, _ in heard] == ["subscribe", "unsubscribe"]


async def test_interval_polls_subscribe_to_nothing(
    serve: Serve, heard: list[tuple[str, Any, str]]
) -> None:
    """They never wait, so nobody is told of them."""
    client = serve(subscriber={"polling": "interval"})
    assert (await read(client)).status == 304
    await settled()
    assert heard == []


async def test_a_receiver_that_raises_changes_nothing(serve: Serve) -> None:
    """The poll is answered as ever."""

    def receiver(**kwargs: Any) -> None:
        raise RuntimeError("as the test asked for")

    client = serve()
    channel_subscribe.connect(receiver)
    channel_unsubscribe.connect(receiver)
    try:
        waiting = await hold(client)
        await publish(client)
        assert (await waiting.answered()).body == b"news"
        await settled()
    finally:
        channel_subscribe.disconnect(receiver)
        channel_unsubscribe.disconnect(receiver)


# Middleware that answers


def moved(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        response = HttpResponseRedirect("/login/")
        response["Cache-Control"] = "max-age=5"
        response["Vary"] = "Cookie"
        return response

    return middleware


def forbidden(get_response: Any) -> Any:
    return lambda request: HttpResponse("not you", status=403)


def raising(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        raise RuntimeError("inner detail")

    return middleware


def sharing(get_response: Any) -> Any:
    """Give permission as a CORS middleware of the project would."""

    def middleware(request: Any) -> Any:
        headers = {"Access-Control-Allow-Origin": "*"}
        return HttpResponse("mine", status=403, headers=headers)

    return middleware


def breaking_off(get_response: Any) -> Any:
    """Answer with a stream that fails after its first part."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"begin "
        raise RuntimeError("as the test asked for")

    return lambda request: StreamingHttpResponse(parts())


def streaming(get_response: Any) -> Any:
    async def parts() -> AsyncIterator[bytes]:
        yield b"begin "
        await asyncio.sleep(3600)
        yield b"end"

    return lambda request: StreamingHttpResponse(parts())


def slow(get_response: Any) -> Any:
    async def middleware(request: Any) -> Any:
        await asyncio.sleep(3600)

    return middleware


slow.sync_capable = False  # type: ignore[attr-defined]
slow.async_capable = True  # type: ignore[attr-defined]


async def test_a_middleware_answers_in_our_place(
    serve: Serve, heard: list[tuple[str, Any, str]]
) -> None:
    """Its answer goes to the client as it is, with what every answer has besides."""
    client = serve(middleware=("moved",))
    answer = await read(client)
    assert (answer.status, answer["location"]) == (302, "/login/")
    assert answer["cache-control"] == "max-age=5"
    assert answer.all("vary") == ["Cookie", VARY]
    await settled()
    assert heard == []


async def test_a_middleware_that_says_nothing_of_storing(
    serve: Serve, heard: list[Any]
) -> None:
    """Then its answer is not stored, as every answer of a location."""
    answer = await read(serve(middleware=("forbidden",)))
    assert (answer.status, answer.text) == (403, "not you")
    assert answer["cache-control"] == "no-store"


async def test_middleware_runs_only_while_somebody_listens(serve: Serve) -> None:
    """Without receivers the project's middleware is not asked."""
    client = serve(middleware=("forbidden",), subscriber={"polling": "interval"})
    assert (await read(client)).status == 304


@pytest.mark.parametrize("debug", [True, False])
async def test_a_middleware_that_raises(
    serve: Serve, heard: list[Any], debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """500 in one plain line, in DEBUG too, that the page of another origin can see."""
    client = serve(
        middleware=("raising",), debug=debug, subscriber={"allow_origin": PAGE}
    )
    answer = await read(client, headers={"origin": PAGE})
    assert (answer.status, answer.text.count("\n")) == (500, 1)
    assert "inner" not in answer.text
    assert answer["access-control-allow-origin"] == PAGE
    assert "django.request" in {record.name for record in caplog.records}


async def test_an_answer_that_breaks_off_is_not_answered_again(
    serve: Serve, heard: list[Any]
) -> None:
    """What was sent cannot be taken back: the server is told, and cuts it off."""
    exchange = serve(middleware=("breaking_off",)).open("GET", "/updates/room")
    with pytest.raises(RuntimeError, match="as the test asked for"):
        await exchange.task
    assert exchange.answer.body == b"begin "
    assert not exchange.complete


async def test_who_leaves_in_the_middle_of_a_middlewares_answer(
    serve: Serve, heard: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent after that, and nothing is logged."""
    client = serve(middleware=("streaming",))
    exchange = client.open("GET", "/updates/room", refuse=BrokenPipeError())
    await asyncio.sleep(1)
    assert exchange.answer.body == b"begin "
    exchange.leave()
    await exchange.task
    assert caplog.records == []


@pytest.mark.parametrize("middleware", ["slow", "streaming"])
async def test_cancelling_a_poll_before_it_waits(
    serve: Serve, heard: list[Any], middleware: str
) -> None:
    """503 when nothing was sent yet; else what was begun is cut off."""
    exchange = serve(middleware=(middleware,)).open("GET", "/updates/room")
    await asyncio.sleep(1)
    exchange.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await exchange.task
    if middleware == "slow":
        assert exchange.complete
        assert exchange.answer.status == 503
    else:
        assert exchange.answer.body == b"begin "
    await settled()
    assert heard == []


# Other origins


async def answers(client: Client, **kwargs: Any) -> AsyncIterator[tuple[int, Answer]]:
    """Every status that a reader can get from a location that works."""
    waiting = await hold(client, **kwargs)
    await client.ask("DELETE", "/send-update/room")
    yield 410, await waiting.answered()
    yield 304, await read(client, **kwargs)
    yield 400, await read(client, "/updates/%", **kwargs)
    yield 400, await read(client, "/updates/room?since=x", **kwargs)
    yield 405, await client.ask("POST", "/updates/room", **kwargs)
    older = await hold(client, **kwargs)
    newer = await hold(client, **kwargs)
    yield 409, await older.answered()
    await publish(client)
    yield 200, await newer.answered()
    yield 200, await read(client, **kwargs)
    waiting = await hold(client, "/updates/elsewhere", **kwargs)
    subscriptions.drain()
    yield 503, await waiting.answered()
    yield 503, await read(client, "/updates/elsewhere", **kwargs)


@pytest.mark.parametrize(
    ("location", "origin", "allowed", "by_origin"),
    [
        ({}, PAGE, None, False),
        ({"allow_origin": PAGE}, PAGE, PAGE, True),
        ({"allow_origin": [PAGE, "http://b:1"]}, "http://b:1", "http://b:1", True),
        ({"allow_origin": PAGE}, "https://page.example.evil", None, True),
        ({"allow_origin": PAGE}, "null", None, True),
        ({"allow_origin": PAGE}, f"{PAGE},{PAGE}", None, True),
        ({"allow_origin": PAGE}, "", None, True),
        ({"allow_origin": "*"}, PAGE, "*", False),
    ],
)
async def test_permission_is_given_on_every_status(
    serve: Serve, location: dict[str, Any], origin: str, allowed: Any, by_origin: bool
) -> None:
    """Who may read gets it on 200 to 503 alike; others get the same answers without."""
    client = serve(subscriber={"concurrency": "last", "poll_timeout": 1, **location})
    headers = {"origin": origin} if origin else {}
    async for status, answer in answers(client, headers=headers):
        assert answer.status == status
        assert answer["access-control-allow-origin"] == allowed, status
        exposed = (answer["access-control-expose-headers"] or "").lower().split(", ")
        assert (set(exposed) >= EXPOSED) is (allowed is not None)
        assert answer["access-control-allow-credentials"] is None
        assert ("Origin" in (answer["vary"] or "")) is by_origin, status
        assert (answer["cache-control"] or "").startswith("no-store")


@pytest.mark.parametrize(("store", "status"), [("DownStore", 503), ("BuggyStore", 500)])
async def test_permission_is_given_on_failures(
    serve: Serve, store: str, status: int
) -> None:
    """A page of another origin sees what failed, and not a network error."""
    client = serve(store={"type": f"{HERE}.{store}"}, subscriber={"allow_origin": PAGE})
    answer = await read(client, headers={"origin": PAGE})
    assert answer.status == status
    assert answer["access-control-allow-origin"] == PAGE


async def test_permission_is_given_on_404(serve: Serve) -> None:
    """A channel that does not exist is seen as such."""
    client = serve(subscriber={"create_on_get": False, "allow_origin": PAGE})
    answer = await read(client, headers={"origin": PAGE})
    assert (answer.status, answer["access-control-allow-origin"]) == (404, PAGE)


async def test_cookies_are_allowed_where_the_location_says_so(serve: Serve) -> None:
    """allow_credentials goes with the permission, and with nothing else."""
    client = serve(
        subscriber={
            "allow_origin": PAGE,
            "allow_credentials": True,
            "polling": "interval",
        }
    )
    for origin, allowed in ((PAGE, "true"), ("http://b", None)):
        answer = await read(client, headers={"origin": origin})
        assert answer["access-control-allow-credentials"] == allowed


async def test_a_middleware_may_give_permission_itself(
    serve: Serve, heard: list[Any]
) -> None:
    """Two opinions in one answer would be none: the project's middleware wins."""
    client = serve(
        middleware=("sharing",),
        subscriber={"allow_origin": PAGE, "allow_credentials": True},
    )
    answer = await read(client, headers={"origin": PAGE})
    assert answer["access-control-allow-origin"] == "*"
    assert answer["access-control-allow-credentials"] is None


PREFLIGHT = {
    "access-control-request-method": "GET",
    "access-control-request-headers": "if-none-match,x-cookie",
}


async def test_a_preflight_is_answered(serve: Serve) -> None:
    """204 with what pages may send, to be remembered, without a body."""
    client = serve(subscriber={"allow_origin": PAGE, "allow_credentials": True})
    headers = {"origin": PAGE, **PREFLIGHT}
    answer = await client.ask("OPTIONS", "/updates/room", headers=headers)
    assert (answer.status, answer.body) == (204, b"")
    assert answer["allow"] == "GET, OPTIONS"
    assert answer["access-control-allow-origin"] == PAGE
    assert answer["access-control-allow-credentials"] == "true"
    assert answer["access-control-allow-methods"] == "GET, OPTIONS"
    sent = (answer["access-control-allow-headers"] or "").lower().split(", ")
    needed = {"if-modified-since", "if-none-match", "last-event-id", "x-cookie"}
    assert set(sent) >= needed
    assert int(answer["access-control-max-age"] or 0) > 0
    assert "Origin" in (answer["vary"] or "")
    assert readers() == 0


@pytest.mark.parametrize("location", [{}, {"allow_origin": "http://b"}])
async def test_a_preflight_of_a_stranger(
    serve: Serve, location: dict[str, Any]
) -> None:
    """The same 204, without any permission."""
    client = serve(subscriber=location)
    headers = {"origin": PAGE, **PREFLIGHT}
    answer = await client.ask("OPTIONS", "/updates/room", headers=headers)
    assert answer.status == 204
    names = [name for name, _ in answer.raw_headers]
    assert not [name for name in names if name.startswith(b"access-control")]


async def test_a_publisher_gives_no_permission(serve: Serve) -> None:
    """No page may publish, so none is told that it may."""
    client = serve(subscriber={"allow_origin": "*"})
    answer = await client.ask("POST", "/send-update/a", headers={"origin": PAGE})
    assert answer.status == 403
    assert answer["access-control-allow-origin"] is None


# Publishing


async def test_who_is_held_is_counted(serve: Serve) -> None:
    """201 with the count when readers were held, 202 when nobody was there."""
    client = serve()
    first = await publish(client)
    assert (first.status, first["x-push-held"]) == (202, "0")
    position = {"if-none-match": first["etag"]}
    waiting = [await hold(client, headers=position) for _ in range(2)]
    second = await publish(client)
    assert (second.status, second["x-push-held"]) == (201, "2")
    for each in waiting:
        assert (await each.answered())["etag"] == second["etag"]
    assert (await publish(client)).status == 202


async def test_a_message_may_be_empty(serve: Serve) -> None:
    """No body is a body of no bytes."""
    client = serve()
    await publish(client, b"")
    answer = await read(client)
    assert (answer.status, answer["content-length"]) == (200, "0")


async def test_a_location_may_publish_to_existing_channels_only(serve: Serve) -> None:
    """create_on_post False: 404 and nothing kept, until the channel exists."""
    client = serve(publisher={"create_on_post": False})
    assert (await client.ask("POST", "/send-update/room", b"x")).status == 404
    assert (await client.ask("GET", "/send-update/room")).status == 404
    await client.ask("PUT", "/send-update/room")
    assert (await publish(client)).status == 202
    waiting = await hold(client, "/updates/other")
    assert (await publish(client, channel="other")).status == 201
    assert (await waiting.answered()).status == 200


async def test_a_channel_is_created_once(serve: Serve) -> None:
    """PUT is 200 however often, and changes nothing that is there."""
    client = serve()
    for _ in range(2):
        assert (await client.ask("PUT", "/send-update/room", b"ignored")).status == 200
    assert (await about(client))["messages"] == 0
    await publish(client)
    await client.ask("PUT", "/send-update/room")
    assert (await about(client))["messages"] == 1


async def test_information_about_a_channel(serve: Serve) -> None:
    """Messages, seconds since a reader came, readers held, the last id."""
    client = serve()
    etag = (await publish(client))["etag"] or ""
    assert await about(client) == {
        "messages": 1,
        "requested": -1,
        "subscribers": 0,
        "last_message_id": etag.strip('"'),
    }
    await hold(client, headers={"if-none-match": etag})
    await asyncio.sleep(3.5)
    known = await about(client)
    assert (known["requested"], known["subscribers"]) == (3, 1)


async def test_a_held_reader_makes_a_channel_exist(serve: Serve) -> None:
    """GET and DELETE are 200 while somebody is held, and 404 when nobody is left."""
    client = serve()
    assert (await client.ask("GET", "/send-update/room")).status == 404
    assert (await client.ask("DELETE", "/send-update/room")).status == 404
    waiting = await hold(client)
    assert (await about(client))["subscribers"] == 1
    assert (await client.ask("DELETE", "/send-update/room")).status == 200
    assert (await waiting.answered()).status == 410
    assert (await client.ask("DELETE", "/send-update/room")).status == 404


async def test_deleting_drops_the_messages(serve: Serve) -> None:
    """Afterwards the channel is empty; an old position gets what comes next."""
    client = serve()
    first = await publish(client)
    assert (await client.ask("DELETE", "/send-update/room")).status == 200
    assert (await client.ask("GET", "/send-update/room")).status == 404
    await publish(client, b"new")
    answer = await read(client, headers={"if-none-match": first["etag"]})
    assert answer.body == b"new"


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/json", "application/json"),
        ("text/xml", "text/xml"),
        (None, "text/plain; charset=utf-8"),
    ],
)
async def test_every_good_answer_tells_of_the_channel(
    serve: Serve, method: str, accept: str | None, content_type: str
) -> None:
    """Each 2xx has the information as the client accepts it, not to be stored."""
    client = serve()
    await publish(client)
    headers = {} if accept is None else {"accept": accept}
    answer = await client.ask(method, "/send-update/room", b"x", headers=headers)
    assert 200 <= answer.status < 300
    assert answer["content-type"] == content_type
    assert "messages" in answer.text
    assert answer["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "accept", [";q=x", "a/b;x*=nonsense''%41", "*/*;" * 3000, ",,,", "\xff/\xff"]
)
async def test_an_unreadable_accept_is_no_reason_to_fail(
    serve: Serve, accept: str
) -> None:
    """What was published is not answered with an error, or it would be sent again."""
    client = serve()
    answer = await publish(client, headers={"accept": accept})
    assert answer["content-type"] == "text/plain; charset=utf-8"


async def test_waived_storage_keeps_nothing(serve: Serve) -> None:
    """store_messages False: who is held gets it, who starts later does not."""
    client = serve(publisher={"store_messages": False}, subscriber={"polling": "long"})
    waiting = await hold(client)
    assert (await publish(client)).status == 201
    answer = await waiting.answered()
    assert answer.body == b"news"
    assert (await publish(client, b"between")).status == 202
    assert (await read(client, headers=answer.position)).body == b"between"
    later = await hold(client)
    later.leave()
    await later.task


# Bodies


async def test_a_body_above_the_limit_is_not_published(serve: Serve) -> None:
    """413 by its length, before any of it is read, and by counting."""
    client = serve(publisher={"max_body": 10})
    announced = client.open(
        "POST", "/send-update/room", [b"x"] * 11, headers={"content-length": "11"}
    )
    assert (await announced.answered()).status == 413
    assert announced.received == 0
    counted = client.open("POST", "/send-update/room", [b"xxxx"] * 1000)
    answer = await counted.answered()
    assert answer.status == 413
    assert counted.received == 3
    assert answer["connection"] == "close"
    assert answer["cache-control"] == "no-store"
    assert (await client.ask("GET", "/send-update/room")).status == 404
    assert (await publish(client, b"x" * 10)).status == 202


async def test_a_length_of_thousands_of_digits(serve: Serve) -> None:
    """It is too big, not a failure: Python refuses to convert such numbers."""
    headers = {"content-length": "9" * 5000}
    answer = await serve().ask("POST", "/send-update/room", headers=headers)
    assert answer.status == 413


async def test_a_body_that_stops_halfway_is_not_published(serve: Serve) -> None:
    """The client gets no answer, and the channel no message."""
    client = serve()
    exchange = await client.open(
        "POST", "/send-update/room", [b"hal"], whole=False
    ).held()
    exchange.leave()
    await exchange.task
    assert not exchange.started
    assert (await client.ask("GET", "/send-update/room")).status == 404


async def test_a_reader_may_send_a_body(serve: Serve) -> None:
    """It is not asked for, and does no harm: what a GET carries is thrown away."""
    client = serve()
    waiting = await hold(client, body=[b"x" * 100_000] * 20)
    assert waiting.received == 20
    await publish(client)
    assert (await waiting.answered()).body == b"news"


@pytest.mark.parametrize(
    "hostile", ["a/b\r\nSet-Cookie: x=y", "a/b\nX: y", "a/b\0", "a/ä", "x" * 256]
)
async def test_a_content_type_that_injects_headers(serve: Serve, hostile: str) -> None:
    """400, one line, and nothing is published."""
    client = serve()
    headers = {"content-type": hostile}
    answer = await client.ask("POST", "/send-update/room", b"x", headers=headers)
    assert (answer.status, answer.text.count("\n")) == (400, 1)
    assert answer.text[:-1].isprintable()
    assert (await client.ask("GET", "/send-update/room")).status == 404


# Who may publish


def bearer(method: str, channel: str, body: bytes = b"", **headers: str) -> Any:
    token = sign_publish(method, channel, body)
    return {"headers": {"authorization": f"Bearer {token}", **headers}}


STRANGER: dict[str, Any] = {"client": ("192.0.2.7", 4711)}


@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
async def test_the_project_itself_may_publish_from_anywhere(
    serve: Serve, method: str
) -> None:
    """A signed request is let in by whatever Host, Origin, proxy and address."""
    client = serve(debug=False)
    body = b"x" if method == "POST" else b""
    odd = {"host": "10.0.0.5:8001", "origin": PAGE, "x-forwarded-for": "1.2.3.4"}
    signed = bearer(method, "röm", body, **odd)
    answer = await client.ask(
        method, "/send-update/r%C3%B6m", body, **STRANGER, **signed
    )
    assert answer.status == {"POST": 202, "PUT": 200}.get(method, 404)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/send-update/room", b"x"),
        ("POST", "/send-update/other", b"x"),
        ("POST", "/send-update/room", b"y"),
        ("DELETE", "/send-update/room", b""),
    ],
)
async def test_a_token_is_good_for_its_own_request_only(
    serve: Serve, method: str, path: str, body: bytes
) -> None:
    """403 for another method, channel or body, from the allowed address too."""
    client = serve()
    signed = bearer("POST", "room", b"x")
    answer = await client.ask(method, path, body, **signed)
    assert answer.status == 403
    assert "SECRET_KEY" in answer.text
    assert (await client.ask("GET", "/send-update/room")).status == 404


@pytest.mark.parametrize("authorization", ["Bearer ", "Bearer x:y:z", "Bearer \xff"])
async def test_a_forged_token_is_refused(serve: Serve, authorization: str) -> None:
    """What nobody signed is 403, in one line."""
    headers = {"authorization": authorization}
    answer = await serve().ask("PUT", "/send-update/room", headers=headers)
    assert (answer.status, answer.text.count("\n")) == (403, 1)


async def test_a_stranger_may_not_publish(serve: Serve) -> None:
    """403 for every method, with nothing read of the body and nothing told."""
    client = serve()
    await publish(client)
    for method in ("POST", "PUT", "GET", "DELETE"):
        exchange = client.open(method, "/send-update/room", b"x", **STRANGER)
        answer = await exchange.answered()
        assert (answer.status, exchange.received) == (403, 0)
        assert answer["cache-control"] == "no-store"
    assert (await about(client))["messages"] == 1


async def test_another_scheme_of_authorization_is_no_token(serve: Serve) -> None:
    """A proxy's Basic password neither helps nor harms: the address decides."""
    client = serve()
    basic = {"headers": {"authorization": "Basic YTpi"}}
    assert (await client.ask("PUT", "/send-update/room", **basic)).status == 200
    strange = await client.ask("PUT", "/send-update/room", **basic, **STRANGER)
    assert strange.status == 403
