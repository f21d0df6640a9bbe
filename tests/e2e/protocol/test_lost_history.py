"""What is lost is said: `X-Push-Gap: 1`."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.target import Target, until

GAP = "X-Push-Gap"


async def test_dropped_by_count(target: Target, channel: str) -> None:
    """Messages after the cursor made room for newer ones: the next answer says so."""
    [first] = await target.stored(channel, b"0", location="publish-small")
    for number in range(1, 6):
        await target.publish(channel, b"%d" % number, location="publish-small")
    answer = await target.poll("small", channel, first.cursor)
    assert (answer.body, answer.get(GAP)) == (b"3", "1")
    following = await target.poll("small", channel, answer.cursor)
    assert (following.body, following.get(GAP)) == (b"4", None)


async def test_nothing_dropped(target: Target, channel: str) -> None:
    """The cursor's own message may be gone: as long as all after it are there."""
    [first] = await target.stored(channel, b"0", location="publish-small")
    for number in range(1, 4):
        await target.publish(channel, b"%d" % number, location="publish-small")
    answer = await target.poll("small", channel, first.cursor)
    assert (answer.body, answer.get(GAP)) == (b"1", None)


@pytest.mark.parametrize(
    "start",
    [
        [],
        [("If-None-Match", '"0-0"')],
        [
            ("If-None-Match", "0"),
            ("If-Modified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ],
    ],
    ids=["no cursor", "zero", "old clients"],
)
async def test_a_reader_that_starts_has_lost_nothing(
    target: Target, channel: str, start: list[tuple[str, str]]
) -> None:
    """No cursor, or zero: the oldest message kept, without a gap."""
    for number in range(5):
        await target.publish(channel, b"%d" % number, location="publish-small")
    answer = await target.poll("small", channel, start)
    assert (answer.body, answer.get(GAP)) == (b"2", None)


async def test_dropped_by_age(target: Target, channel: str) -> None:
    """Messages that grew too old are missed like the others."""
    [first] = await target.stored(channel, b"seen", location="publish-brief")
    await target.publish(channel, b"too old", location="publish-brief")

    async def empty() -> bool:
        return (await target.poll("brief", channel)).status == 304

    await until(empty)
    waiting = await target.poll("brief", channel, first.cursor)
    assert waiting.status == 304
    await target.publish(channel, b"young", location="publish-brief")
    answer = await target.poll("brief", channel, waiting.cursor)
    assert answer.body == b"young"
    assert "1" in (waiting.get(GAP), answer.get(GAP))


async def test_aged_but_seen(target: Target, channel: str) -> None:
    """A reader that has seen all that expired has lost nothing."""
    [seen] = await target.stored(channel, b"seen", location="publish-brief")

    async def empty() -> bool:
        return (await target.poll("brief", channel)).status == 304

    await until(empty)
    waiting = await target.poll("brief", channel, seen.cursor)
    await target.publish(channel, b"young", location="publish-brief")
    answer = await target.poll("brief", channel, waiting.cursor)
    assert (answer.body, answer.get(GAP)) == (b"young", None)
    assert waiting.get(GAP) is None
