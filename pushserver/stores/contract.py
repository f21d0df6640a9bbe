"""The contract of a store as a test suite, for any store. Needs pytest, no plugin.

Subclass ``StoreContract`` in a test module, give it ``make_store``, and pytest does
the rest (docs/how-to/write-a-store). What the tests say is explained in
``pushserver.stores.base``.
"""

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import pytest

from pushserver.messages import START, Cursor, Message
from pushserver.stores.harness import Clock, in_a_loop
from pushserver.stores.retention import RetentionContract

__all__ = ["Clock", "StoreContract"]

HOUR = 3600.0
ODD_IDS = ("a", "A", "a ", "ä", "a\u0308", "a/b", "{a}:*?[b]", "0", "\U0001f600" * 255)


class StoreContract(RetentionContract):
    """Every test of the contract; a subclass says which store keeps it."""

    # Ids and order.

    @in_a_loop
    async def test_a_message_comes_back_as_it_was_appended(self) -> None:
        """Any bytes, with content type and event name or without."""
        store = self.store()
        body = bytes(range(256))
        full = await store.append("a", body=body, content_type="a/b", event="vote")
        bare = await store.append("a", body=b"")
        assert (full.body, full.content_type, full.event) == (body, "a/b", "vote")
        assert (bare.body, bare.content_type, bare.event) == (b"", None, None)
        assert full.kept
        assert await self.messages(store, "a") == [full, bare]

    @in_a_loop
    async def test_what_no_header_can_carry_is_refused(self) -> None:
        """A ValueError leaves no channel behind."""
        store = self.store()
        with pytest.raises(ValueError, match="content type"):
            await store.append("a", body=b"x", content_type="a/b\r\nx: y")
        assert not (await self.head(store, "a")).exists

    @in_a_loop
    async def test_the_head_that_comes_with_a_message(self) -> None:
        """Where it is told it is the one that is there, with the message in it."""
        store = self.store()
        await store.delete("a")
        for keep in (True, False):
            message, head = await store.append_and_head(
                "a", body=b"x", content_type="a/b", event="vote", keep=keep
            )
            assert (message.body, message.content_type) == (b"x", "a/b")
            assert (message.event, message.kept) == ("vote", keep)
            assert await self.messages(store, "a", message.previous) == [message]
            assert head in (None, await self.head(store, "a"))

    @in_a_loop
    async def test_each_message_names_the_one_before_it(self) -> None:
        """Ids increase, and a chain of previous ids links all messages."""
        store = self.store()
        assert_linked(await self.append(store, "a", 20))

    @in_a_loop
    async def test_publishers_at_the_same_time_get_one_order(self) -> None:
        """Fifty at once, over two objects: no id twice, and none without a link."""
        store = self.store()
        peer = self.make_peer(store)
        bodies = [b"%d" % number for number in range(50)]
        appended = await asyncio.gather(
            *(
                (store, peer)[i % 2].append("a", body=body)
                for i, body in enumerate(bodies)
            )
        )
        found = await self.messages(store, "a")
        assert found == sorted(appended, key=lambda message: message.id)
        assert sorted(message.body for message in found) == sorted(bodies)
        assert_linked(found)

    @in_a_loop
    async def test_ids_increase_while_the_clock_goes_back(self) -> None:
        """An hour back, and the next id is still greater."""
        store = self.store()
        before = await self.append(store, "a", 2)
        self.clock.advance(-HOUR)
        assert_linked([*before, *await self.append(store, "a", 2)])

    @in_a_loop
    async def test_ids_increase_over_deletion(self) -> None:
        """At once, and with the clock going back meanwhile."""
        store = self.store()
        messages = await self.append(store, "a", 3)
        for seconds in (0, -HOUR):
            await store.delete("a")
            self.clock.advance(seconds)
            messages += await self.append(store, "a", 2)
        assert_linked(messages)

    @in_a_loop
    async def test_ids_increase_over_forgetting(self) -> None:
        """Also when the clock goes back before the channel comes again."""
        store = self.store(message_timeout=60, channel_timeout=60)
        high = START
        for back in (0, -HOUR, -2 * HOUR):
            for _ in range(2):
                [*_, newest] = await self.append(store, "a", 2)
                assert newest.previous > high
                await store.delete("a")
                high = (await self.head(store, "a")).deleted
                assert high > newest.id
            self.clock.advance(121)
            await store.append("other", body=b"x")
            assert not (await self.head(store, "a")).known
            self.clock.advance(back)
            [first] = await self.append(store, "a", 1)
            assert first.id > first.previous >= high

    # Reading.

    @in_a_loop
    async def test_a_read_begins_after_the_cursor(self) -> None:
        """The cursor need not be an id; beyond the newest there is nothing."""
        store = self.store()
        one, two, three = await self.append(store, "a", 3)
        assert await self.messages(store, "a", one.id) == [two, three]
        assert await self.messages(store, "a", one.previous) == [one, two, three]
        assert await self.messages(store, "a", three.id) == []
        future = three.id._replace(milliseconds=three.id.milliseconds + 10**6)
        assert await self.messages(store, "a", future) == []
        assert await self.messages(store, "a", Cursor.before_second(1)) != []

    @in_a_loop
    async def test_a_limit_gives_the_oldest_and_says_so(self) -> None:
        """A read that was cut is not complete; its head is that of the channel."""
        store = self.store()
        messages = await self.append(store, "a", 3)
        cut = await store.read("a", after=START, limit=2)
        assert (list(cut.messages), cut.complete) == (messages[:2], False)
        assert cut.head.newest == messages[2].id
        assert (await store.read("a", after=START, limit=3)).complete
        assert (await store.read("a", after=messages[0].id, limit=2)).complete

    @in_a_loop
    async def test_a_channel_that_never_was(self) -> None:
        """It reads as empty, and reading does not make it exist."""
        store = self.store()
        await store.note_requested("a", 1.0)
        history = await store.read("a", after=Cursor(5, 5))
        assert (history.messages, history.complete) == ((), True)
        for head in (history.head, await self.head(store, "a")):
            assert (head.known, head.exists, head.messages) == (False, False, 0)
            assert head.deleted == START
            assert head.requested is None

    @in_a_loop
    async def test_channels_are_told_apart_exactly(self) -> None:
        """Case, accents, spaces and slashes are kept; heads come in one go."""
        store = self.store()
        assert await store.heads([]) == {}
        appended = {each: await store.append(each, body=b"x") for each in ODD_IDS}
        heads = await store.heads([*ODD_IDS, "unknown"])
        assert set(heads) == {*ODD_IDS, "unknown"}
        for channel_id, message in appended.items():
            assert await self.messages(store, channel_id) == [message]
            assert heads[channel_id].newest == message.id
            assert heads[channel_id].messages == 1
        assert await store.delete("a")
        assert await self.messages(store, "A") == [appended["A"]]

    @in_a_loop
    async def test_only_what_has_changed_is_told(self) -> None:
        """A message or a deletion: not what others get, nor being read or created."""
        store = self.store()
        assert await store.changed({}) == {}
        ids = [*ODD_IDS, "unknown"]
        heads = await store.heads(ids)
        for step in ("nothing", "append", "append", "delete", "delete", "append"):
            known = {channel_id: head.position for channel_id, head in heads.items()}
            await store.create("unknown")
            await self.messages(store, "unknown")
            for changed in ODD_IDS[:2] if step != "nothing" else ():
                if step == "append":
                    await store.append(changed, body=b"x")
                else:
                    await store.delete(changed)
                heads = await store.heads(ids)
                assert await store.changed(known) == {changed: heads[changed]}
                known[changed] = heads[changed].position
            assert await store.changed(known) == {}

    @in_a_loop
    async def test_when_it_was_last_requested(self) -> None:
        """The seconds grow with time, until the next request."""
        store = self.store()
        await store.create("a")
        assert (await self.head(store, "a")).requested is None
        await store.note_requested("a", 10)
        self.clock.advance(5)
        assert (await self.head(store, "a")).requested == pytest.approx(15, abs=0.01)
        await store.note_requested("a", 0)
        assert (await self.head(store, "a")).requested == pytest.approx(0, abs=0.01)

    # Deletion.

    @in_a_loop
    async def test_deletion_drops_the_messages_and_leaves_a_mark(self) -> None:
        """The mark grows with each deletion, and the next message is above it."""
        store, mark = self.store(), START
        for existed in (False, True, True, False):
            if existed:
                await self.append(store, "a", 2)
            assert await store.delete("a") is existed
            head = await self.head(store, "a")
            assert (head.exists, head.messages) == (False, 0)
            assert head.deleted > mark
            mark = head.deleted
            assert await self.messages(store, "a") == []
        [after] = await self.append(store, "a", 1)
        assert after.id > mark
        assert (await self.head(store, "a")).deleted == mark

    @in_a_loop
    async def test_a_created_channel_can_be_deleted(self) -> None:
        """It existed, and does not any more."""
        store = self.store()
        await store.create("a")
        assert await store.delete("a")
        assert not (await self.head(store, "a")).exists


def assert_linked(messages: Sequence[Message]) -> None:
    """Each message has a greater id than the one before it, and names it."""
    for before, after in pairwise(messages):
        assert before.id < after.id
        assert after.previous == before.id
    assert messages[0].previous < messages[0].id
