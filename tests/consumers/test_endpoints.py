"""The edges that all endpoints share: headers, bodies, answers, the four ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied
from django.test import override_settings

from pushserver.consumers.endpoints import (
    ClientGone,
    Outgoing,
    check_path,
    headers_of,
    labels_of,
    line,
    not_allowed,
    read_body,
    reply,
    reply_at,
    reply_to,
    retry_after,
    wait,
)
from pushserver.engine.waiters import Delivery, Ending, Waiter
from pushserver.exceptions import (
    InvalidChannelId,
    InvalidCursor,
    MessageTooBig,
    StoreUnavailable,
)
from pushserver.messages import START, Cursor, Message

Receive = Callable[[], Awaitable[dict[str, Any]]]
NEWS = Delivery([Message(id=Cursor(1, 0), previous=START, body=b"news")])
GONE = {"type": "http.disconnect"}


def giving(*events: dict[str, Any]) -> Receive:
    """A receive that gives these events, and then never another one."""
    left = list(events)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.get_running_loop().create_future()
        return left.pop(0)

    return receive


def part(body: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


# Headers


def test_headers_are_found_by_name() -> None:
    """Each header is there once, with its value."""
    found = headers_of({"headers": [(b"host", b"a"), (b"accept", b"*/*")]})
    assert found == {b"host": b"a", b"accept": b"*/*"}


def test_repeated_headers_are_joined() -> None:
    """A header that came in several lines is one list, in their order."""
    lines = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-for", b"2.2.2.2")]
    assert headers_of({"headers": lines}) == {b"x-forwarded-for": b"1.1.1.1,2.2.2.2"}


def test_a_publish_keeps_its_content_type() -> None:
    """The header's text is what readers get; none stays none, empty stays empty."""
    html = "text/html; charset=x"
    assert labels_of({b"content-type": html.encode()}) == (html, None)
    assert labels_of({b"content-type": b""}) == ("", None)
    assert labels_of({}) == (None, None)


def test_a_publish_may_name_its_event() -> None:
    """The header is UTF-8, and a name that no event stream could carry is refused."""
    header = b"x-eventsource-event"
    assert labels_of({header: "Größe 1".encode()}) == (None, "Größe 1")
    for hostile in (b"", b"a\ndata: b", b"\xff", b"x" * 256, b"pushserver.gap"):
        with pytest.raises(BadRequest):
            labels_of({header: hostile})


@pytest.mark.parametrize(
    "hostile",
    [
        b"text/plain\r\nSet-Cookie: a=b",
        b"text/plain\nX: y",
        b"text/plain\rX: y",
        b"text/plain\n",
        b"text/\x00plain",
        b"text/\x7fplain",
        "text/plain; ä=ö".encode(),
        b"text/\x85plain",
        b"x" * 256,
    ],
)
def test_a_content_type_injects_no_header(hostile: bytes) -> None:
    """A text that could end a header line, or that none can carry, is refused."""
    with pytest.raises(BadRequest, match=r"content type; accepted: .* printable"):
        labels_of({b"content-type": hostile})


# The path


@pytest.mark.parametrize(
    "raw_path",
    [
        b"",
        b"/updates/room",
        b"/updates/%C3%A4%20%2F",
        b"/updates/100%25",
        "/updates/ä".encode(),
        b"/updates/room?since=%ZZ",
        b"/updates/room?q=\xff",
    ],
)
def test_a_good_path_is_let_through(raw_path: bytes) -> None:
    """UTF-8 is fine, percent-encoded or not; the query is another matter."""
    check_path({"raw_path": raw_path})


def test_a_server_may_show_no_raw_path() -> None:
    """It is optional in ASGI: without it there is nothing to check."""
    check_path({"path": "/updates/100%"})
    check_path({"path": "/updates/100%", "raw_path": None})


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/updates/%",
        b"/updates/%4",
        b"/updates/%ZZ",
        b"/updates/%%41",
        b"/updates/a%2",
        b"/updates/%C3",
        b"/updates/%FF",
        b"/updates/%C0%AF",
        b"/updates/%ED%A0%80",
        b"/updates/%u0041",
        b"/updates/\xff",
        b"/updates/\xff%41",
        b"/updates/%?since=0",
    ],
)
def test_bad_escapes_are_refused(raw_path: bytes) -> None:
    """What decoding would replace or keep is an error that says what is accepted."""
    with pytest.raises(InvalidChannelId, match="percent-encoded UTF-8; accepted: %XX"):
        check_path({"raw_path": raw_path})


# The body


async def test_a_body_in_parts_is_put_together() -> None:
    """Parts are joined until the last one."""
    receive = giving(part(b"a", more=True), part(b"", more=True), part(b"bc"))
    assert await read_body(receive, {}, 3) == b"abc"


async def test_events_without_a_body_are_read() -> None:
    """Both keys of an http.request event are optional."""
    assert await read_body(giving({"type": "http.request"}), {}, 3) == b""


@pytest.mark.parametrize("length", [b"4", b"4" * 25, b"9" * 5000])
async def test_an_announced_length_above_the_limit_reads_nothing(length: bytes) -> None:
    """Content-Length alone is enough to refuse, however many digits it has."""

    async def receive() -> dict[str, Any]:
        raise AssertionError("the body was asked for")

    with pytest.raises(MessageTooBig, match="accepted: 3 bytes"):
        await read_body(receive, {b"content-length": length}, 3)


@pytest.mark.parametrize("length", [b"", b"-4", b"4,4", b"+4", b"4.0", b"x", b"0" * 30])
async def test_a_length_that_is_no_number_does_not_count(length: bytes) -> None:
    """Whatever else stands there, the body itself is counted."""
    headers = {b"content-length": length}
    assert await read_body(giving(part(b"abc")), headers, 3) == b"abc"
    with pytest.raises(MessageTooBig):
        await read_body(giving(part(b"abcd")), headers, 3)


async def test_a_body_of_unknown_length_is_counted() -> None:
    """The part that goes over the limit is the last one that is read."""
    parts = [part(b"ab", more=True), part(b"cd", more=True)]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    with pytest.raises(MessageTooBig):
        await read_body(receive, {}, 3)
    assert parts == []


async def test_a_body_that_stops_halfway_is_no_body() -> None:
    """A client that leaves in the middle has sent nothing."""
    with pytest.raises(ClientGone):
        await read_body(giving(part(b"a", more=True), GONE), {}, 3)


# Answers


async def sent_by(*answer: Any) -> list[dict[str, Any]]:
    events: list[Any] = []

    async def send(event: Any) -> None:
        events.append(event)

    await reply(send, *answer)
    return events


async def test_an_answer_is_two_events() -> None:
    """Start and body, with the Content-Length that the body has."""
    headers = [(b"a", b"b")]
    assert await sent_by(200, headers, b"body") == [
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"a", b"b"), (b"content-length", b"4")],
        },
        {"type": "http.response.body", "body": b"body"},
    ]
    assert headers == [(b"a", b"b")]


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_body_has_no_length(status: int) -> None:
    """204 and 304 have no body, and announce none."""
    start, _ = await sent_by(status, [], b"")
    assert start["headers"] == []


def test_a_line_is_plain_text() -> None:
    """An answer in words is one line of UTF-8, with the headers it needs."""
    assert line(400, "Nein, schön nicht.", [(b"a", b"b")]) == (
        400,
        [(b"content-type", b"text/plain; charset=utf-8"), (b"a", b"b")],
        "Nein, schön nicht.\n".encode(),
    )


def test_another_method_is_told_which_there_are() -> None:
    """A 405 names the methods in Allow."""
    status, headers, _ = not_allowed(("GET", "PUT"))
    assert status == 405
    assert (b"allow", b"GET, PUT") in headers


def test_clients_are_told_to_come_back_at_different_times() -> None:
    """Retry-After is 1, 2 or 3 seconds, not always the same."""
    values = {retry_after() for _ in range(200)}
    assert values == {(b"retry-after", b"%d" % seconds) for seconds in (1, 2, 3)}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidChannelId("too long"), 400),
        (InvalidCursor("no cursor"), 400),
        (BadRequest("no content type"), 400),
        (DisallowedHost("evil"), 400),
        (PermissionDenied("not you"), 403),
        (MessageTooBig("too much"), 413),
        (StoreUnavailable("connection to 10.0.0.3 refused"), 503),
    ],
)
def test_known_errors_have_their_status(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Each known exception is one line with its status, and nothing in the log."""
    got, _, body = reply_to(error)
    assert got == status
    assert body.count(b"\n") == 1
    assert body.endswith(b"\n")
    assert caplog.records == []


def test_inner_details_stay_inside() -> None:
    """A Host is not repeated, and nobody learns where the store is."""
    assert b"evil" not in reply_to(DisallowedHost("evil"))[2]
    assert b"10.0.0.3" not in reply_to(StoreUnavailable("at 10.0.0.3"))[2]


def test_a_store_that_does_not_answer_asks_to_come_back() -> None:
    """A 503 says when to try again."""
    _, headers, _ = reply_to(StoreUnavailable("down"))
    assert b"retry-after" in dict(headers)


def test_a_body_that_is_not_read_ends_the_connection() -> None:
    """After a 413 the rest of the body must not be taken for a request."""
    _, headers, _ = reply_to(MessageTooBig("too much"))
    assert (b"connection", b"close") in headers


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "bug",
    [
        RuntimeError("inner detail"),
        ValueError("inner detail"),
        UnicodeDecodeError("utf-8", b"", 0, 1, "inner detail"),
        KeyError("inner detail"),
        ConnectionResetError("inner detail"),
    ],
)
def test_a_bug_is_one_plain_line_and_a_log_entry(
    bug: Exception, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not on the table is 500, in DEBUG too; only the log has the details."""
    with override_settings(DEBUG=debug):
        status, headers, body = reply_to(bug)
    assert status == 500
    assert (b"content-type", b"text/plain; charset=utf-8") in headers
    assert body.count(b"\n") == 1
    assert b"inner" not in body
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.name == "pushserver.consumers.endpoints"
    assert record.exc_info is not None
    assert record.exc_info[1] is bug


@pytest.mark.parametrize(
    ("ending", "status"),
    [(Ending.DELETED, 410), (Ending.CONFLICT, 409), (Ending.SHUTDOWN, 503)],
)
def test_endings_have_their_status(ending: Ending, status: int) -> None:
    """A wait that ends without a message is one line; only 503 has Retry-After."""
    got, headers, body = reply_at(ending)
    assert got == status
    assert body.count(b"\n") == 1
    assert (b"retry-after" in dict(headers)) is (status == 503)


# Sending


async def test_an_answer_is_completed_when_it_starts() -> None:
    """Whoever answers, the headers are completed once, and the body is left alone."""
    events: list[Any] = []

    async def send(event: Any) -> None:
        events.append(event)

    outgoing = Outgoing(send, lambda headers: [*headers, (b"vary", b"Origin")])
    assert [outgoing.started] == [False]
    given: list[tuple[bytes, bytes]] = []
    start = {"type": "http.response.start", "status": 200, "headers": given}
    await outgoing(start)
    assert outgoing.started
    body = {"type": "http.response.body", "body": b""}
    await outgoing(body)
    assert events == [{**start, "headers": [(b"vary", b"Origin")]}, body]
    assert given == []


async def test_a_client_that_is_gone_ends_the_answer() -> None:
    """The OSError by which ASGI says so is told from every other error."""

    async def send(event: Any) -> None:
        raise BrokenPipeError

    for answer in (partial(reply, outgoing := Outgoing(send, list)), outgoing.answer):
        with pytest.raises(ClientGone):
            await answer(200, [], b"")
        assert outgoing.started


# Waiting


@pytest.fixture
def waiter() -> Waiter:
    return Waiter(START, gap=False)


def now() -> float:
    return asyncio.get_running_loop().time()


async def until_waiting(waiter: Waiter) -> None:
    await asyncio.sleep(0)  # the one turn of the loop that a new task needs
    assert waiter.on_end is not None


async def test_a_wait_ends_with_a_message(waiter: Waiter) -> None:
    """The outcome is there in the next turns of the loop, long before the deadline."""
    task = asyncio.create_task(wait(waiter, giving(part(b"")), 25))
    await until_waiting(waiter)
    started = now()
    waiter.end(NEWS)
    assert await task is NEWS
    assert now() - started < 1


@pytest.mark.parametrize("ending", [Ending.DELETED, Ending.CONFLICT, Ending.SHUTDOWN])
async def test_a_wait_ends_with_an_ending(waiter: Waiter, ending: Ending) -> None:
    """Whatever ends the waiter ends the wait."""
    task = asyncio.create_task(wait(waiter, giving(part(b"")), 25))
    await until_waiting(waiter)
    waiter.end(ending)
    assert await task is ending


async def test_a_wait_ends_at_its_deadline(waiter: Waiter) -> None:
    """After the timeout, and not before."""
    started = now()
    assert await wait(waiter, giving(part(b"")), 25) is Ending.DEADLINE
    assert now() - started == pytest.approx(25, abs=0.5)


async def test_a_wait_ends_when_the_client_leaves(waiter: Waiter) -> None:
    """None says that there is nobody to answer; a body is no departure."""
    receive = giving(part(b"x", more=True), part(b""), GONE)
    assert await wait(waiter, receive, 25) is None


async def test_a_wait_lets_cancellation_through(waiter: Waiter) -> None:
    """The fourth end is the server's, and is not mistaken for the deadline."""
    task = asyncio.create_task(wait(waiter, giving(part(b"")), 25))
    await until_waiting(waiter)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_wait_that_has_ended_already_does_not_begin(waiter: Waiter) -> None:
    """A drain or a conflict may come between the parking and the wait."""
    waiter.end(Ending.SHUTDOWN)
    assert await wait(waiter, giving(), 25) is Ending.SHUTDOWN


async def test_a_server_may_take_the_waking_for_a_departure(waiter: Waiter) -> None:
    """Nobody is answered then, and no cancellation is left behind."""

    async def receive() -> dict[str, Any]:
        try:
            return await giving()()
        except asyncio.CancelledError:
            return GONE

    task = asyncio.create_task(wait(waiter, receive, 25))
    await until_waiting(waiter)
    waiter.end(NEWS)
    assert await task is None
    assert task.cancelling() == 0


async def test_a_message_in_the_turn_of_the_deadline_is_delivered(
    waiter: Waiter,
) -> None:
    """A reader that is timed out while its message comes gets the message."""

    async def receive() -> dict[str, Any]:
        try:
            return await giving()()
        except asyncio.CancelledError:  # the deadline has passed
            waiter.end(NEWS)
            raise

    assert await wait(waiter, receive, 25) is NEWS


@pytest.mark.parametrize("message_first", [True, False])
async def test_a_message_and_a_departure_in_one_turn(
    waiter: Waiter, message_first: bool
) -> None:
    """Either end may win; nothing is raised, and no cancellation is left behind."""
    events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    task = asyncio.create_task(wait(waiter, events.get, 25))
    await until_waiting(waiter)
    steps: list[Callable[[], None]] = [
        lambda: waiter.end(NEWS),
        lambda: events.put_nowait(GONE),
    ]
    for step in steps if message_first else reversed(steps):
        step()
    assert await task in (NEWS, None)
    assert task.cancelling() == 0


@pytest.mark.parametrize("message_first", [True, False])
async def test_a_message_and_a_cancellation_in_one_turn(
    waiter: Waiter, message_first: bool
) -> None:
    """Cancellation wins: the server waits for this task to end."""
    task = asyncio.create_task(wait(waiter, giving(part(b"")), 25))
    await until_waiting(waiter)
    steps: list[Callable[[], object]] = [lambda: waiter.end(NEWS), task.cancel]
    for step in steps if message_first else reversed(steps):
        step()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("left_by", ["departure", "deadline", "cancellation"])
async def test_a_waiter_outlives_its_wait(waiter: Waiter, left_by: str) -> None:
    """One that is still parked when its wait is over can be ended: no fan-out fails."""
    receive = giving(GONE) if left_by == "departure" else giving()
    task = asyncio.create_task(wait(waiter, receive, 25))
    if left_by == "cancellation":
        await until_waiting(waiter)
        task.cancel()
    await asyncio.wait([task])
    waiter.end(NEWS)
