"""The publisher location's table, row by row."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.target import Target, is_one_plain_line, until


@pytest.mark.nchan
@pytest.mark.parametrize(
    "body",
    [b"x", b"\x00\x01\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"\xc3\xa9" * 10_000],
    ids=["one byte", "binary", "looks like HTTP", "long"],
)
async def test_any_body_arrives(target: Target, channel: str, body: bytes) -> None:
    """What was posted is what is read, to the byte."""
    await target.publish(channel, body, content_type="application/octet-stream")
    answer = await target.poll("interval", channel)
    assert answer.body == body
    assert answer["Content-Length"] == str(len(body))


async def test_an_empty_body_is_a_message(target: Target, channel: str) -> None:
    """A message may be empty; it has a position like any other."""
    assert (await target.publish(channel, b"")).status == 202
    empty = await target.poll("interval", channel)
    assert (empty.status, empty.body) == (200, b"")
    assert (await target.poll("interval", channel, empty.cursor)).status == 304


@pytest.mark.nchan
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        'application/json; charset="utf-8"',
        "x",
        "text/html;a=b;c=%0d%0a",
    ],
)
async def test_the_content_type_is_kept(
    target: Target, channel: str, content_type: str
) -> None:
    """The Content-Type of the POST is the one of the answer."""
    await target.publish(channel, content_type=content_type)
    answer = await target.poll("interval", channel)
    assert answer.all("Content-Type") == [content_type]


@pytest.mark.nchan
async def test_no_content_type_stays_absent(target: Target, channel: str) -> None:
    """A POST without a type makes an answer without one."""
    await target.publish(channel, content_type=None)
    answer = await target.poll("interval", channel)
    assert answer.status == 200
    assert answer.get("Content-Type") is None


@pytest.mark.nchan
async def test_a_chunked_body(target: Target, channel: str) -> None:
    """A body of unknown length is put together."""
    async with target.connect() as connection:
        path = target.path("publish", channel)
        head = connection.head("POST", path, [("Transfer-Encoding", "chunked")])
        await connection.write(head + b"5\r\nhello\r\n")
        await connection.write(b"6;x=y\r\n world\r\n0\r\n\r\n")
        assert (await connection.answer()).status == 202
    assert (await target.poll("interval", channel)).body == b"hello world"


@pytest.mark.nchan
async def test_201_and_202_are_exact(target: Target, channel: str) -> None:
    """201 when a held reader gets it, 202 when nobody does, time after time."""
    statuses = []
    async with target.connect() as reader:
        cursor: list[tuple[str, str]] = []
        for number in range(10):
            await reader.send("GET", target.path("long", channel), cursor)
            await target.until_held(channel, 1)
            held = await target.publish(channel, b"held %d" % number)
            first = await reader.answer()
            between = await target.publish(channel, b"between %d" % number)
            path = target.path("long", channel)
            second = await reader.request("GET", path, first.cursor)
            assert second.body == b"between %d" % number
            cursor = second.cursor
            statuses += [held.status, between.status]
    assert statuses == [201, 202] * 10


async def test_a_post_tells_the_position(target: Target, channel: str) -> None:
    """The answer's ETag is the one readers will see, with how many were held."""
    async with target.holding("long", channel, 3) as readers:
        sent = await target.publish(channel)
        answers = [await reader.answer() for reader in readers]
    assert {answer["ETag"] for answer in answers} == {sent["ETag"]}
    assert sent["X-Push-Held"] == "3"
    assert (await target.publish(channel))["X-Push-Held"] == "0"


@pytest.mark.nchan
async def test_readers_of_other_channels_do_not_count(
    target: Target, channel: str
) -> None:
    """202 although somebody is held, elsewhere."""
    async with target.holding("long", channel + "-other"):
        assert (await target.publish(channel)).status == 202


async def test_create_on_post_false_wants_a_channel(
    target: Target, channel: str
) -> None:
    """Without `create_on_post` an unknown channel is 404 until it was PUT."""
    refused = await target.publish(channel, location="publish-known")
    assert refused.status == 404
    assert is_one_plain_line(refused)
    assert (await target.poll("interval", channel)).status == 304
    await target.request("PUT", target.path("publish-known", channel))
    assert (await target.publish(channel, location="publish-known")).status == 202


async def test_create_on_post_false_with_a_held_reader(
    target: Target, channel: str
) -> None:
    """A channel on which somebody is held exists."""
    async with target.holding("long", channel) as [reader]:
        answer = await target.publish(channel, location="publish-known")
        assert answer.status == 201
        assert (await reader.answer()).status == 200


@pytest.mark.nchan(differs="Nchan publishes what is PUT")
async def test_put_creates_and_changes_nothing(target: Target, channel: str) -> None:
    """PUT is 200 however often, and leaves messages alone."""
    path = target.path("publish", channel)
    statuses = [(await target.request("PUT", path)).status for _ in range(2)]
    await target.publish(channel, b"kept")
    statuses.append((await target.request("PUT", path)).status)
    assert statuses == [200, 200, 200]
    assert (await target.poll("interval", channel)).body == b"kept"


@pytest.mark.nchan(differs="a deleted channel stays for a while")
async def test_delete_removes_the_messages(target: Target, channel: str) -> None:
    """DELETE is 200 once, then there is nothing to delete."""
    path = target.path("publish", channel)
    await target.publish(channel)
    assert (await target.request("DELETE", path)).status == 200
    assert (await target.request("DELETE", path)).status == 404
    assert await target.info(channel) is None
    assert (await target.poll("interval", channel)).status == 304


@pytest.mark.nchan
async def test_no_channel_is_404(target: Target, channel: str) -> None:
    """GET and DELETE of a channel that does not exist."""
    for method in ("GET", "DELETE"):
        answer = await target.request(method, target.path("publish", channel))
        assert answer.status == 404


@pytest.mark.nchan(differs="a channel without readers stays for a while")
async def test_a_held_reader_makes_a_channel(target: Target, channel: str) -> None:
    """It exists while somebody is held on it, and no longer."""
    path = target.path("publish", channel)
    async with target.holding("long", channel) as [reader]:
        assert (await target.request("GET", path)).status == 200
        assert (await target.request("DELETE", path)).status == 200
        assert (await reader.answer()).status == 410

    async def gone() -> bool:
        return (await target.request("GET", path)).status == 404

    await until(gone, within=3.0)


@pytest.mark.nchan(differs="a deleted channel stays for a while")
async def test_a_put_channel_can_be_deleted(target: Target, channel: str) -> None:
    """PUT alone makes a channel that GET and DELETE find."""
    path = target.path("publish", channel)
    await target.request("PUT", path)
    assert (await target.request("GET", path)).status == 200
    assert (await target.request("DELETE", path)).status == 200
    assert (await target.request("GET", path)).status == 404


@pytest.mark.nchan(differs="Nchan answers 403")
@pytest.mark.parametrize("method", ["PATCH", "PROPFIND"])
async def test_other_methods(target: Target, channel: str, method: str) -> None:
    """405 says which methods there are, and publishes nothing."""
    path = target.path("publish", channel)
    answer = await target.request(method, path, body=b"x")
    assert answer.status == 405
    assert answer.tokens("Allow") >= {"get", "post", "put", "delete"}
    assert method.lower() not in answer.tokens("Allow")
    assert await target.info(channel) is None


async def test_head_is_no_information(target: Target, channel: str) -> None:
    """HEAD is one of the other methods."""
    await target.publish(channel)
    answer = await target.request("HEAD", target.path("publish", channel))
    assert answer.status == 405
    assert "get" in answer.tokens("Allow")


@pytest.mark.nchan
async def test_bodies_up_to_the_limit(target: Target, channel: str) -> None:
    """`max_body` bytes are accepted, one more is 413 and is not published."""
    exact = await target.publish(channel, b"x" * 100, location="publish-tiny")
    beyond = await target.publish(channel, b"x" * 101, location="publish-tiny")
    assert (exact.status, beyond.status) == (202, 413)
    answer = await target.poll("interval", channel)
    assert answer.body == b"x" * 100
    assert (await target.poll("interval", channel, answer.cursor)).status == 304


async def test_the_limit_counts_chunks(target: Target, channel: str) -> None:
    """A chunked body cannot hide its size."""
    async with target.connect() as connection:
        path = target.path("publish-tiny", channel)
        head = connection.head("POST", path, [("Transfer-Encoding", "chunked")])
        await connection.write(head + b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n")
        answer = await connection.answer()
    assert answer.status == 413
    assert is_one_plain_line(answer)
    assert await target.info(channel) is None


async def test_storage_waived_reaches_the_held(target: Target, channel: str) -> None:
    """With `store_messages` False a held reader gets the message, later ones not."""
    async with target.holding("long", channel) as [reader]:
        sent = await target.publish(channel, b"now", location="publish-passing")
        assert sent.status == 201
        assert (await reader.answer()).body == b"now"
    assert (await target.poll("interval", channel)).status == 304


async def test_storage_waived_bridges_two_polls(target: Target, channel: str) -> None:
    """A reader whose cursor is the message just before gets it, a new one does not."""
    [kept] = await target.stored(channel, b"kept")
    passing = await target.publish(channel, b"passing", location="publish-passing")
    assert passing.status == 202
    between = await target.poll("interval", channel, kept.cursor)
    assert (between.status, between.body) == (200, b"passing")
    newcomer = await target.poll("interval", channel)
    assert newcomer.body == b"kept"
