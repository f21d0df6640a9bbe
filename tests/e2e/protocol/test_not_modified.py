"""The 304 tells the reader where it stands, so that a re-poll never starts over."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.target import Target

EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.nchan
async def test_it_carries_the_readers_own_cursor(target: Target, channel: str) -> None:
    """Nothing after the cursor: the same position comes back."""
    _, last = await target.stored(channel, b"one", b"two")
    answer = await target.poll("interval", channel, last.cursor)
    assert answer.status == 304
    assert answer.cursor == last.cursor


@pytest.mark.nchan(differs="Nchan answers 408 without a position")
async def test_a_deadline_gives_the_cursor_back(target: Target, channel: str) -> None:
    """The same after a wait."""
    _, last = await target.stored(channel, b"one", b"two")
    answer = await target.poll("quick", channel, last.cursor)
    assert answer.status == 304
    assert answer.cursor == last.cursor


@pytest.mark.nchan(differs="Nchan answers 408 without a position")
async def test_it_carries_where_newest_placed_the_reader(
    target: Target, channel: str
) -> None:
    """Placed at the end, timed out, polled again: what came between arrives."""
    _, last = await target.stored(channel, b"one", b"two")
    placed = await target.poll("newest", channel)
    assert placed.status == 304
    assert placed.cursor == last.cursor
    await target.publish(channel, b"between")
    following = await target.poll("newest", channel, placed.cursor)
    assert (following.status, following.body) == (200, b"between")


@pytest.mark.parametrize("location", ["interval", "quick", "newest", "latest"])
async def test_an_empty_channel_is_at_zero(
    target: Target, channel: str, location: str
) -> None:
    """The position before everything is `0-0` of 1970, and it can be polled."""
    answer = await target.poll(location, channel)
    assert answer.status == 304
    assert answer["ETag"] == '"0-0"'
    assert answer["Last-Modified"] == EPOCH
    for body in (b"one", b"two", b"three"):
        await target.publish(channel, body)
    following = await target.poll(location, channel, answer.cursor)
    assert (following.status, following.body) == (200, b"one")
    assert following.get("X-Push-Gap") is None


async def test_it_carries_where_the_future_was_clamped(
    target: Target, channel: str
) -> None:
    """A cursor from the future, timed out, polled again: nothing is lost."""
    [old] = await target.stored(channel, b"old")
    future = [("If-None-Match", '"9000000000000-0"')]
    clamped = await target.poll("quick", channel, future)
    assert (clamped.status, clamped.cursor) == (304, old.cursor)
    await target.publish(channel, b"between")
    assert (await target.poll("quick", channel, clamped.cursor)).body == b"between"


async def test_the_date_alone_is_no_position(target: Target, channel: str) -> None:
    """A reader that came with a date gets a full position to go on with."""
    [old] = await target.stored(channel, b"old")
    future = [("If-Modified-Since", "Wed, 14 Mar 2255 16:00:00 GMT")]
    clamped = await target.poll("interval", channel, future)
    assert (clamped.status, clamped.cursor) == (304, old.cursor)


async def test_it_has_no_body_and_no_type(target: Target, channel: str) -> None:
    """A 304 says nothing about a body that it does not have."""
    answer = await target.poll("interval", channel)
    assert answer.status == 304
    assert answer.get("Content-Type") is None
    assert answer.get("Content-Length") in (None, "0")
    assert answer.get("Transfer-Encoding") is None
