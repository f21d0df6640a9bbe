"""Nothing lost, nothing twice, in order: a thousand messages and what they meet."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.e2e.protocol.client import Answer
from tests.e2e.protocol.target import Target

PUBLISHERS = 50
EACH = 20
TOTAL = PUBLISHERS * EACH


async def publish_burst(target: Target, channel: str, location: str) -> Counter[int]:
    """Fifty connections at once, each with twenty messages in a row."""
    statuses: Counter[int] = Counter()
    path = target.path(location, channel)

    async def publisher(number: int) -> None:
        async with target.connect() as connection:
            for count in range(EACH):
                body = b"%d %d" % (number, count)
                answer = await connection.request("POST", path, body=body)
                statuses[answer.status] += 1

    async with asyncio.TaskGroup() as group:
        for number in range(PUBLISHERS):
            group.create_task(publisher(number))
    return statuses


async def read(
    target: Target,
    location: str,
    channel: str,
    count: int,
    cursor: list[tuple[str, str]] | None = None,
) -> list[Answer]:
    """Poll after poll on one connection until that many messages have come."""
    answers: list[Answer] = []
    cursor = cursor or []
    path = target.path(location, channel)
    async with target.connect() as connection:
        while len(answers) < count:
            answer = await connection.request("GET", path, cursor)
            assert answer.status == 200, answer
            answers.append(answer)
            cursor = answer.cursor
    return answers


def assert_complete(answers: list[Answer]) -> None:
    """Every message once, and those of one publisher in the order it sent them."""
    seen: dict[int, list[int]] = {}
    for answer in answers:
        publisher, count = map(int, answer.body.split())
        seen.setdefault(publisher, []).append(count)
    assert seen == {number: list(range(EACH)) for number in range(PUBLISHERS)}


@pytest.mark.nchan
async def test_a_burst_reaches_readers_that_poll(target: Target, channel: str) -> None:
    """Fifty publishers at once, three readers between and within their polls."""
    readers = [
        asyncio.create_task(read(target, "deep", channel, TOTAL)) for _ in range(3)
    ]
    await target.until_held(channel, 3, location="publish-deep")
    statuses = await publish_burst(target, channel, "publish-deep")
    assert statuses.total() == TOTAL
    assert set(statuses) <= {201, 202}
    results = await asyncio.gather(*readers)
    for answers in results:
        assert_complete(answers)
        assert not any(answer.get("X-Push-Gap") for answer in answers)
    assert len({tuple(answer.body for answer in answers) for answers in results}) == 1


@pytest.mark.nchan
async def test_between_two_polls(target: Target, channel: str) -> None:
    """A thousand messages while nobody waits: a returning reader gets them all."""
    [seen] = await target.stored(channel, b"seen", location="publish-deep")
    statuses = await publish_burst(target, channel, "publish-deep")
    assert statuses == {202: TOTAL}
    answers = await read(target, "deep", channel, TOTAL, seen.cursor)
    assert_complete(answers)
    assert not any(answer.get("X-Push-Gap") for answer in answers)


async def test_more_than_is_kept(target: Target, channel: str) -> None:
    """With the default limit: the notice, then the newest hundred in order."""
    [seen] = await target.stored(channel, b"seen")
    all_of_them: list[bytes] = []
    async with target.connect() as connection:
        path = target.path("publish", channel)
        for number in range(TOTAL):
            body = b"%d" % number
            all_of_them.append(body)
            sent = await connection.request("POST", path, body=body)
            assert sent.status == 202
    answers = await read(target, "interval", channel, 100, seen.cursor)
    assert [answer.body for answer in answers] == all_of_them[-100:]
    assert [answer.get("X-Push-Gap") for answer in answers] == ["1"] + [None] * 99
    last = await target.poll("interval", channel, answers[-1].cursor)
    assert last.status == 304


async def test_a_burst_of_more_than_is_kept(target: Target, channel: str) -> None:
    """The same with fifty publishers: a hundred are kept, the loss is said once."""
    [seen] = await target.stored(channel, b"seen")
    assert await publish_burst(target, channel, "publish") == {202: TOTAL}
    answers = await read(target, "interval", channel, 100, seen.cursor)
    assert len({answer.body for answer in answers}) == 100
    assert [answer.get("X-Push-Gap") for answer in answers] == ["1"] + [None] * 99
    information = await target.info(channel)
    assert information is not None
    assert information["messages"] == 100
