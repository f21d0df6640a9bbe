"""Input that no honest client sends. Each test opens with the attack.

The answer is a status of the tables, never a 500 with a traceback, and the others on
the channel notice nothing.
"""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.protocol import starting
from tests.e2e.protocol.client import Closed, Connection
from tests.e2e.protocol.target import Target, is_one_plain_line, until
from tests.e2e.servers import Server

MEBIBYTE = 1 << 20


@pytest.mark.nchan
async def test_ten_mebibytes_announced(target: Target, channel: str) -> None:
    """Publish ten times the limit of 1 MiB, honestly announced: 413, nothing stored."""
    answer = await target.publish(channel, bytes(10 * MEBIBYTE))
    assert answer.status == 413
    assert await target.info(channel) is None


@pytest.mark.nchan
async def test_ten_mebibytes_in_chunks(target: Target, channel: str) -> None:
    """Publish ten times the limit without saying how much it is: 413."""
    async with target.connect() as connection:
        path = target.path("publish", channel)
        head = connection.head("POST", path, [("Transfer-Encoding", "chunked")])
        await connection.write(head)
        for _ in range(10):
            await connection.write(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")
        await connection.write(b"0\r\n\r\n")
        assert (await connection.answer()).status == 413
    assert await target.info(channel) is None


async def test_a_limit_is_no_cliff(target: Target, channel: str) -> None:
    """Publish exactly the limit: the honest neighbour of the attack works."""
    assert (await target.publish(channel, bytes(MEBIBYTE))).status == 202
    answer = await target.poll("interval", channel)
    assert len(answer.body) == MEBIBYTE


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
async def test_bodies_do_not_fill_the_memory(
    counting: Server, channel: str, announced: bool
) -> None:
    """Eight clients send 9 MiB of 10 and wait: the process must not hold it all."""
    target = starting.target(counting)
    path = target.path("publish", channel)

    async def attack(connection: Connection) -> None:
        if announced:
            length = ("Content-Length", str(10 * MEBIBYTE))
            await connection.write(connection.head("POST", path, [length]))
            for _ in range(9):
                await connection.write(bytes(MEBIBYTE))
        else:
            length = ("Transfer-Encoding", "chunked")
            await connection.write(connection.head("POST", path, [length]))
            for _ in range(9):
                await connection.write(b"100000\r\n" + bytes(MEBIBYTE) + b"\r\n")

    # What one body of the full size costs is paid before, so only growth counts.
    await target.publish(channel, bytes(MEBIBYTE))
    before = starting.resident(counting)
    async with asyncio.timeout(30):
        connections = await asyncio.gather(
            *(Connection.open(target.host, target.port) for _ in range(8))
        )
        attacks = [asyncio.ensure_future(attack(each)) for each in connections]
        answers = [await each.answer() for each in connections]
        grown = starting.resident(counting) - before
        for task in attacks:
            task.cancel()
        await asyncio.gather(*attacks, return_exceptions=True)
        for connection in connections:
            connection.vanish()
    assert {answer.status for answer in answers} == {413}
    assert grown < 24 * MEBIBYTE, f"{grown / MEBIBYTE:.1f} MiB for 72 MiB of bodies"


@pytest.mark.nchan
@pytest.mark.parametrize("goodbye", ["reset", "close"])
async def test_bodies_that_stop_halfway(
    target: Target, channel: str, goodbye: str
) -> None:
    """Announce 100 bytes, send 50, leave: half a message is none."""
    async with target.holding("long", channel) as [reader]:
        for _ in range(5):
            async with target.connect() as connection:
                path = target.path("publish", channel)
                length = [("Content-Length", "100")]
                head = connection.head("POST", path, length)
                await connection.write(head + b"x" * 50)
                if goodbye == "reset":
                    connection.vanish()
        assert await reader.silent(0.1)
        await target.publish(channel, b"whole")
        assert (await reader.answer()).body == b"whole"


@pytest.mark.nchan
async def test_a_chunked_body_that_stops_halfway(target: Target, channel: str) -> None:
    """Send some chunks and leave without the last one: no message."""
    async with target.holding("long", channel) as [reader]:
        async with target.connect() as connection:
            path = target.path("publish", channel)
            head = connection.head("POST", path, [("Transfer-Encoding", "chunked")])
            await connection.write(head + b"5\r\nhello\r\n")
        assert await reader.silent(0.1)
        await target.publish(channel, b"whole")
        assert (await reader.answer()).body == b"whole"


@pytest.mark.nchan
@pytest.mark.parametrize(
    "value",
    [
        b"text/plain\rX-Evil: 1",
        b"text/plain\nX-Evil: 1",
        b"text/plain\r\n X-Evil: 1",
        b"text/plain\r\n\tX-Evil: 1",
        b"text/plain\x00X-Evil: 1",
        b"text/plain\x0bX-Evil: 1",
        b"text/plain\xc4\x8d\xc4\x8aX-Evil: 1",
        b"text/plain\x7f",
    ],
    ids=repr,
)
async def test_header_injection_through_the_content_type(
    target: Target, channel: str, value: bytes
) -> None:
    """Put a line break, or what may become one, into Content-Type."""
    async with target.connect() as connection:
        path = target.path("publish", channel)
        head = connection.head("POST", path, [("Content-Length", "4")])
        head = head[:-2] + b"Content-Type: " + value + b"\r\n\r\n"
        await connection.write(head + b"news")
        try:
            sent = await connection.answer()
        except Closed:
            return
    assert sent.status in (202, 400)
    answer = await target.poll("interval", channel)
    assert answer.status == (200 if sent.status == 202 else 304)
    assert answer.get("X-Evil") is None
    assert not set(answer.get("Content-Type") or "") & set("\r\n\0")


async def test_an_endless_content_type(target: Target, channel: str) -> None:
    """Put a novel into Content-Type: it is kept whole or refused, never a 500."""
    sent = await target.publish(channel, content_type="text/" + "x" * 7000)
    assert sent.status in (202, 400, 431)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /interval/a\x00b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /interval/\xff\xfe HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /interval/a b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://127.0.0.1/interval/.. HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /interval/%00 HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /publish/a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
    ],
    ids=range(9),
)
async def test_requests_that_are_none(target: Target, channel: str, raw: bytes) -> None:
    """Send bytes that are no request: an error or a closed door, no traceback."""
    async with target.connect() as connection:
        await connection.write(raw)
        try:
            answer = await connection.answer(within=1.0)
        except (Closed, TimeoutError):
            pass
        else:
            assert 400 <= answer.status < 500
            assert b"Traceback" not in answer.body
    await target.publish(channel, b"still here")
    assert (await target.poll("interval", channel)).body == b"still here"


async def test_a_hundred_cursors_in_one_request(target: Target, channel: str) -> None:
    """Repeat the cursor headers and parameters: one of the table's answers."""
    await target.publish(channel)
    headers = [("If-None-Match", '"1-0"')] * 50
    query = "&".join(["since=1-0"] * 100)
    answer = await target.request(
        "GET", target.path("interval", channel, query), headers
    )
    assert answer.status in (200, 400)


@pytest.mark.nchan(differs="a look leaves a channel for a while")
async def test_many_channels_looked_at(target: Target, channel: str) -> None:
    """Poll names that nobody publishes to: none of them becomes a channel."""
    async with target.connect() as connection:
        names = [f"{channel}-{number}" for number in range(200)]
        for name in names:
            path = target.path("interval", name)
            assert (await connection.request("GET", path)).status == 304
        for name in names[::20]:
            path = target.path("publish", name)
            assert (await connection.request("GET", path)).status == 404


async def test_a_poll_with_a_body(target: Target, channel: str) -> None:
    """Send a body where none belongs: it is dropped, the poll is held and answered."""
    async with target.connect() as connection:
        path = target.path("long", channel)
        cursor: list[tuple[str, str]] = []
        for number in range(2):
            await connection.send("GET", path, cursor, b"x" * 1000)
            await target.until_held(channel, 1)
            assert (await target.publish(channel, b"%d" % number)).status == 201
            answer = await connection.answer()
            assert answer.body == b"%d" % number
            cursor = answer.cursor


async def test_refusals_leave_the_others_alone(target: Target, channel: str) -> None:
    """Do every wrong thing at once beside a held reader: it gets its message."""
    wrong = [
        target.poll("long", channel, [("If-None-Match", "abc")]),
        target.request("POST", target.path("long", channel), body=b"x"),
        target.request("GET", target.path("long", channel), [("Host", "x.example")]),
        target.publish(channel, b"x" * 101, location="publish-tiny"),
        target.publish(channel, headers=[("Origin", "https://evil.example")]),
        target.request("PATCH", target.path("publish", channel)),
    ]
    async with target.holding("long", channel) as [reader]:
        answers = await asyncio.gather(*wrong)
        assert [a.status for a in answers] == [400, 405, 400, 413, 403, 405]
        assert await target.subscribers(channel) == 1
        await target.publish(channel, b"hello")
        assert (await reader.answer()).body == b"hello"

    async def nobody() -> bool:
        return await target.subscribers(channel) == 0

    await until(nobody)


async def test_a_413_says_why(target: Target, channel: str) -> None:
    """Send a little too much: the refusal is a line that a person can read."""
    answer = await target.publish(channel, b"x" * 101, location="publish-tiny")
    assert answer.status == 413
    assert is_one_plain_line(answer)
