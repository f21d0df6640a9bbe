"""What `concurrency` allows: how many requests may be held on one channel."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.target import Target


@pytest.mark.nchan
async def test_broadcast_reaches_everyone(target: Target, channel: str) -> None:
    """By default every held reader gets the message."""
    async with target.holding("long", channel, 5) as readers:
        assert (await target.publish(channel, b"all")).status == 201
        bodies = [(await reader.answer()).body for reader in readers]
    assert bodies == [b"all"] * 5


async def test_last_sends_the_older_one_away(target: Target, channel: str) -> None:
    """`concurrency: last`: the held request gets 409, the newcomer waits."""
    async with (
        target.holding("newcomer", channel) as [older],
        target.connect() as newer,
    ):
        await newer.send("GET", target.path("newcomer", channel))
        assert (await older.answer()).status == 409
        await target.until_held(channel, 1)
        await target.publish(channel, b"hello")
        assert (await newer.answer()).body == b"hello"


async def test_first_turns_the_newcomer_away(target: Target, channel: str) -> None:
    """`concurrency: first`: the newcomer gets 409, the held request stays."""
    async with target.holding("firstcomer", channel) as [older]:
        assert (await target.poll("firstcomer", channel)).status == 409
        await target.publish(channel, b"hello")
        assert (await older.answer()).body == b"hello"


async def test_first_is_free_again_when_the_first_left(
    target: Target, channel: str
) -> None:
    """Once the held request has gone, the next one is held."""
    async with target.holding("firstcomer", channel) as [older]:
        older.vanish()
        await target.until_held(channel, 0)
    async with target.holding("firstcomer", channel) as [reader]:
        await target.publish(channel, b"hello")
        assert (await reader.answer()).body == b"hello"


async def test_a_message_that_is_there_is_no_conflict(
    target: Target, channel: str
) -> None:
    """Only held requests conflict: history is read beside a held one."""
    [first] = await target.stored(channel, b"first")
    async with target.holding("firstcomer", channel, headers=first.cursor):
        assert (await target.poll("firstcomer", channel)).body == b"first"


async def test_channels_do_not_conflict_with_each_other(
    target: Target, channel: str
) -> None:
    """`concurrency` counts per channel."""
    async with (
        target.holding("firstcomer", channel) as [one],
        target.holding("firstcomer", channel + "-b") as [two],
    ):
        await target.publish(channel, b"a")
        await target.publish(channel + "-b", b"b")
        assert (await one.answer()).body == b"a"
        assert (await two.answer()).body == b"b"
