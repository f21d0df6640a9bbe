import asyncio
from functools import partial

import pytest

from pushserver.engine import publishing
from pushserver.engine.publishing import ChannelInfo
from pushserver.engine.waiters import Ending
from pushserver.exceptions import InvalidChannelId, MessageTooBig, StoreUnavailable
from pushserver.messages import START, Message
from pushserver.stores import get_store
from tests.faults import ScriptedLayer
from tests.readers import KEY, POLL_TIMEOUT, Reader, publish, serving

WRONG_IDS = ["", "x" * 256, "a\x00b", "a\r\nb", "..", ".", "\ud800"]


async def kept() -> list[Message]:
    history = await get_store().read(KEY[1], after=START)
    return list(history.messages)


async def test_what_is_published_is_stored_as_it_is():
    """With its content type and its event, and its id comes back."""
    async with serving():
        published = await publishing.publish(
            KEY, body=b"\x00", content_type="a/b", event="vote", max_body=1
        )
        assert await kept() == [published.message]
        message = published.message
        assert (message.body, message.content_type, message.event) == (
            b"\x00",
            "a/b",
            "vote",
        )
        waived = await publish(keep=False)
        assert not waived.kept


async def test_held_counts_who_is_parked_just_then():
    """Not who is between two polls, and not who reads something else."""
    async with serving() as running:
        readers = [Reader(running) for _ in range(3)]
        other = Reader(running, key=("default", "b"))

        async def count() -> int:
            published = await publishing.publish(KEY, body=b"x", max_body=1)
            return published.held

        assert await count() == 0
        for reader in readers:
            await reader.hear(1, 1)
        assert await count() == 0
        for reader in readers:
            await reader.hear(1, 1)
        async with readers[0].holding(), readers[1].holding(), other.holding():
            assert await count() == 2
            # Woken, but not gone yet: nobody is held any more.
            await asyncio.sleep(0.1)
            assert await count() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await readers[2].hear(9, POLL_TIMEOUT)
        assert await count() == 0  # a client that vanished is held no more


async def test_a_message_over_the_limit_is_refused():
    """The error names the limit and its setting; nothing is stored."""
    async with serving():
        with pytest.raises(MessageTooBig, match=r"5 bytes; accepted: 4 .*max_body"):
            await publishing.publish(KEY, body=b"12345", max_body=4)
        assert await kept() == []
        await publishing.publish(KEY, body=b"1234", max_body=4)


@pytest.mark.parametrize("channel_id", WRONG_IDS)
async def test_wrong_channel_ids_are_refused_everywhere(channel_id):
    """Before the store is asked."""
    key = ("default", channel_id)
    async with serving(store="RemoteStore"):
        for call in (
            publishing.publish(key, body=b"", max_body=1),
            publishing.create(key),
            publishing.delete(key),
            publishing.exists(key),
            publishing.info(key),
        ):
            with pytest.raises(InvalidChannelId):
                await call


async def test_what_no_header_can_carry_is_refused():
    """A content type or an event name that would inject something."""
    async with serving():
        with pytest.raises(ValueError, match="content type"):
            await publishing.publish(
                KEY, body=b"", content_type="a\r\nb: c", max_body=1
            )
        with pytest.raises(ValueError, match="event name"):
            await publishing.publish(KEY, body=b"", event="a\nb", max_body=1)
        assert not await publishing.exists(KEY)


async def test_what_is_checked_before_a_message_goes_anywhere():
    """The same errors, without a store."""
    check = partial(publishing.check, content_type=None, event=None, max_body=1)
    check("a", body=b"1", content_type="a/b", event="vote")
    with pytest.raises(InvalidChannelId):
        check("", body=b"")
    with pytest.raises(ValueError, match="content type"):
        check("a", body=b"", content_type="ä/b")
    with pytest.raises(ValueError, match="event name"):
        check("a", body=b"", event="")
    with pytest.raises(MessageTooBig):
        check("a", body=b"12")


async def test_a_wake_up_that_fails_is_no_error(caplog):
    """The message is kept, and the log says what happened."""
    ScriptedLayer.script["group_send"] = OSError("no route")
    try:
        async with serving("tests.faults.ScriptedLayer"):
            message = await publish()
            assert await kept() == [message]
            await asyncio.sleep(1)
    finally:
        ScriptedLayer.script.clear()
    assert "The channel layer is down: no route" in caplog.text


async def test_a_store_that_is_down_is_an_error():
    """What could not be stored is not taken for sent."""
    async with serving(store="RemoteStore"):
        store = get_store()
        store.go_down()  # type: ignore[attr-defined]
        for call in (publish(), publishing.delete(KEY), publishing.info(KEY)):
            with pytest.raises(StoreUnavailable):
                await call


async def test_a_loop_without_a_hub_only_appends():
    """Where nobody reads there is nobody to wake."""
    async with serving() as running:
        await running.close()
        message = await publish()
        assert await kept() == [message]


async def test_when_a_channel_exists():
    """While it was created, has messages, or somebody is held on it."""
    async with serving() as running:
        assert not await publishing.exists(KEY)
        await publishing.create(KEY)
        assert await publishing.exists(KEY)
        assert await publishing.delete(KEY)
        assert not await publishing.exists(KEY)
        assert not await publishing.delete(KEY)
        await publish()
        assert await publishing.exists(KEY)
        assert await publishing.delete(KEY)
        reader = Reader(running)
        async with reader.holding() as poll:
            assert await publishing.exists(KEY)
            assert await publishing.delete(KEY)
            assert await poll is Ending.DELETED
        assert not await publishing.exists(KEY)


async def test_deletion_starts_anew():
    """What comes after it is greater than all before, and all that is kept."""
    async with serving():
        old = [await publish() for _ in range(3)]
        await publishing.delete(KEY)
        assert await kept() == []
        new = await publish()
        assert new.id > old[-1].id
        assert await kept() == [new]


async def test_what_is_told_of_a_channel():
    """Messages, seconds since the last request, readers held, the last id."""
    async with serving(linger=10) as running:
        nothing = ChannelInfo(
            messages=0, requested=-1, subscribers=0, last_message_id="0-0"
        )
        assert await publishing.info(KEY) == nothing
        [*_, last] = [await publish() for _ in range(3)]
        reader = Reader(running, last.id)
        async with reader.holding():
            await asyncio.sleep(2.5)
            assert await publishing.info(KEY) == ChannelInfo(
                messages=3, requested=2, subscribers=1, last_message_id=str(last.id)
            )
        await asyncio.sleep(100)
        assert running.statistics().channels == 0
        about = await publishing.info(KEY)
        assert (about.requested, about.subscribers) == (102, 0)
        await publishing.delete(KEY)
        about = await publishing.info(KEY)
        assert (about.messages, about.last_message_id) == (0, str(last.id))
