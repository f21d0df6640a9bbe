"""Connections as they occur: kept alive, pipelined, of HTTP/1.0, gone."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.protocol.target import Target, until


@pytest.mark.nchan
async def test_a_thousand_polls_on_one_connection(target: Target, channel: str) -> None:
    """Keep-alive goes on and on, through messages and through nothing new."""
    async with target.connect() as reader, target.connect() as writer:
        polling = target.path("interval", channel)
        publishing = target.path("publish", channel)
        cursor: list[tuple[str, str]] = []
        statuses = []
        for number in range(1000):
            if number % 10 == 5:
                body = b"%d" % number
                assert (
                    await writer.request("POST", publishing, body=body)
                ).status == 202
            answer = await reader.request("GET", polling, cursor)
            statuses.append(answer.status)
            if answer.status == 200:
                assert answer.body == b"%d" % number
                cursor = answer.cursor
    assert statuses == [200 if n % 10 == 5 else 304 for n in range(1000)]


@pytest.mark.nchan
async def test_held_polls_follow_each_other(target: Target, channel: str) -> None:
    """One connection is held, answered and held again."""
    async with target.connect() as reader:
        cursor: list[tuple[str, str]] = []
        for number in range(20):
            await reader.send("GET", target.path("long", channel), cursor)
            await target.until_held(channel, 1)
            await target.publish(channel, b"%d" % number)
            answer = await reader.answer()
            assert answer.body == b"%d" % number
            cursor = answer.cursor


@pytest.mark.nchan
async def test_pipelined_polls(target: Target, channel: str) -> None:
    """Requests written in one go are answered in their order."""
    names = [f"{channel}-{number}" for number in range(10)]
    for name in names[::2]:
        await target.publish(name, name.encode())
    async with target.connect() as connection:
        heads = [
            connection.head("GET", target.path("interval", name)) for name in names
        ]
        await connection.write(b"".join(heads))
        answers = [await connection.answer() for _ in names]
    assert [answer.status for answer in answers] == [200, 304] * 5
    assert [answer.body for answer in answers[::2]] == [n.encode() for n in names[::2]]


@pytest.mark.nchan
async def test_pipelined_publishes(target: Target, channel: str) -> None:
    """Messages written in one go are stored in their order."""
    bodies = [b"%d" % number for number in range(10)]
    async with target.connect() as connection:
        path = target.path("publish", channel)
        requests = [
            connection.head("POST", path, [("Content-Length", str(len(body)))]) + body
            for body in bodies
        ]
        await connection.write(b"".join(requests))
        statuses = [(await connection.answer()).status for _ in bodies]
        assert statuses == [202] * 10
        cursor: list[tuple[str, str]] = []
        for body in bodies:
            path = target.path("interval", channel)
            answer = await connection.request("GET", path, cursor)
            assert answer.body == body
            cursor = answer.cursor


@pytest.mark.nchan
async def test_pipelined_behind_a_held_poll(target: Target, channel: str) -> None:
    """What stands behind a held request waits for its turn."""
    async with target.connect() as connection:
        await connection.write(
            connection.head("GET", target.path("long", channel))
            + connection.head("GET", target.path("interval", "other-" + channel))
        )
        await target.until_held(channel, 1)
        assert await connection.silent(0.1)
        assert (await target.publish(channel, b"hello")).status == 201
        assert (await connection.answer()).body == b"hello"
        assert (await connection.answer()).status == 304


@pytest.mark.nchan
async def test_a_client_that_asks_first(target: Target, channel: str) -> None:
    """`Expect: 100-continue`, as curl sends it, is answered before the body comes."""
    async with target.connect() as connection:
        fields = [("Content-Length", "5"), ("Expect", "100-continue")]
        path = target.path("publish", channel)
        await connection.write(connection.head("POST", path, fields))
        assert await connection.told_to_continue()
        await connection.write(b"hello")
        assert (await connection.answer()).status == 202
    assert (await target.poll("interval", channel)).body == b"hello"


@pytest.mark.nchan
async def test_http_1_0(target: Target, channel: str) -> None:
    """An HTTP/1.0 client without a Host gets an answer it can read, then the end."""
    posting = target.path("publish", channel)
    sent = await target.request("POST", posting, body=b"hello", version="1.0")
    assert sent.status == 202
    async with target.connect() as connection:
        path = target.path("interval", channel)
        answer = await connection.request("GET", path, version="1.0")
        assert (answer.status, answer.body) == (200, b"hello")
        assert answer.get("Transfer-Encoding") is None
        assert await connection.at_end()


@pytest.mark.nchan
async def test_http_1_0_is_held(target: Target, channel: str) -> None:
    """Waiting needs no HTTP/1.1."""
    async with target.connect() as connection:
        path = target.path("long", channel)
        await connection.send("GET", path, [("Host", connection.host)], version="1.0")
        await target.until_held(channel, 1)
        await target.publish(channel, b"hello")
        answer = await connection.answer()
        assert answer.body == b"hello"
        assert answer.get("Transfer-Encoding") is None


@pytest.mark.nchan
@pytest.mark.parametrize("goodbye", ["reset", "close"])
async def test_clients_that_vanish_while_waiting(
    target: Target, channel: str, goodbye: str
) -> None:
    """Within a second they count no longer, and the next publish answers 202."""
    async with target.holding("long", channel, 5) as readers:
        for reader in readers:
            if goodbye == "reset":
                reader.vanish()
            else:
                reader.close()

        async def nobody() -> bool:
            return await target.subscribers(channel) == 0

        await until(nobody, within=1.0)
        assert (await target.publish(channel)).status == 202


@pytest.mark.nchan
async def test_one_of_two_vanishes(target: Target, channel: str) -> None:
    """The other one still gets the message."""
    async with target.holding("long", channel, 2) as [leaving, staying]:
        leaving.vanish()
        await target.until_held(channel, 1)
        assert (await target.publish(channel, b"hello")).status == 201
        assert (await staying.answer()).body == b"hello"


@pytest.mark.nchan
async def test_a_vanished_reader_comes_back(target: Target, channel: str) -> None:
    """With its cursor it finds what came while it was away."""
    [seen] = await target.stored(channel, b"seen")
    async with target.holding("long", channel, headers=seen.cursor) as [reader]:
        reader.vanish()
        await target.until_held(channel, 0)
    await target.publish(channel, b"missed")
    assert (await target.poll("long", channel, seen.cursor)).body == b"missed"


@pytest.mark.nchan
async def test_many_readers_of_many_channels(target: Target, channel: str) -> None:
    """A hundred held connections: each gets its own channel's message."""
    names = [f"{channel}-{number}" for number in range(20)]

    async def one(name: str) -> set[bytes]:
        async with target.holding("long", name, 5) as readers:
            await target.publish(name, name.encode())
            return {(await reader.answer()).body for reader in readers}

    got = await asyncio.gather(*map(one, names))
    assert got == [{name.encode()} for name in names]
