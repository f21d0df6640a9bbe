"""The part of the contract on what is kept, for how long, and how loss can be told."""

# ruff: noqa: S101 (a test suite, shipped)
from pushserver.stores.harness import StoreHarness, in_a_loop

__all__ = ["RetentionContract"]

HOUR = 3600.0


class RetentionContract(StoreHarness):
    """Limits of count and age, forgetting, links over what was lost, waived storage."""

    # Dropping.

    @in_a_loop
    async def test_only_so_many_messages_are_kept(self) -> None:
        """The newest ``max_messages``; 0 keeps them all."""
        store, endless = self.store(max_messages=3), self.store(max_messages=0)
        messages = await self.append(store, "a", 5)
        assert await self.messages(store, "a") == messages[2:]
        assert (await self.head(store, "a")).messages == 3
        await self.append(endless, "a", 205)
        assert len(await self.messages(endless, "a")) == 205

    @in_a_loop
    async def test_old_messages_are_dropped(self) -> None:
        """Each at ``message_timeout``; the channel stays known, and exists no more."""
        store = self.store(message_timeout=60)
        [old] = await self.append(store, "a", 1)
        self.clock.advance(30)
        [young] = await self.append(store, "a", 1)
        self.clock.advance(29)
        assert await self.messages(store, "a") == [old, young]
        self.clock.advance(1.1)
        assert await self.messages(store, "a") == [young]
        self.clock.advance(30)
        head = await self.head(store, "a")
        assert (head.messages, head.exists, head.known) == (0, False, True)
        assert head.newest == young.id

    @in_a_loop
    async def test_the_newest_few_have_no_age(self) -> None:
        """``min_messages`` stay until the channel is forgotten."""
        store = self.store(min_messages=2, message_timeout=60, channel_timeout=HOUR)
        messages = await self.append(store, "a", 5)
        self.clock.advance(HOUR)
        assert await self.messages(store, "a") == messages[3:]
        self.clock.advance(61)
        await store.append("b", body=b"")
        assert await self.messages(store, "a") == []

    @in_a_loop
    async def test_without_an_age_limit_messages_stay(self) -> None:
        """A ``message_timeout`` of 0 keeps them until the channel is forgotten."""
        store = self.store(message_timeout=0, channel_timeout=HOUR)
        messages = await self.append(store, "a", 2)
        self.clock.advance(HOUR - 1)
        assert await self.messages(store, "a") == messages

    @in_a_loop
    async def test_an_idle_channel_is_forgotten(self) -> None:
        """After both timeouts without ``append`` or ``create``, with all it had."""
        store = self.store(message_timeout=60, channel_timeout=60)
        await store.create("a")
        await store.create("b")
        self.clock.advance(100)
        await store.create("a")
        assert (await self.head(store, "b")).exists
        self.clock.advance(21)
        await store.append("c", body=b"")
        assert (await self.head(store, "a")).exists
        assert not (await self.head(store, "b")).exists

    @in_a_loop
    async def test_a_created_channel_exists(self) -> None:
        """Creating twice, or what has messages, changes nothing."""
        store = self.store()
        for _ in range(2):
            await store.create("a")
            head = await self.head(store, "a")
            assert (head.exists, head.known, head.messages) == (True, False, 0)
        messages = await self.append(store, "a", 2)
        await store.create("a")
        assert await self.messages(store, "a") == messages

    # Loss can be told.

    @in_a_loop
    async def test_a_lost_message_leaves_a_gap_in_the_links(self) -> None:
        """By count: the first one kept names the last one dropped."""
        store = self.store(max_messages=2)
        messages = await self.append(store, "a", 5)
        [first, _] = await self.messages(store, "a", messages[0].id)
        assert first.previous == messages[2].id

    @in_a_loop
    async def test_the_newest_id_outlives_its_message(self) -> None:
        """After age and after deletion it says what a reader has missed."""
        store = self.store(message_timeout=60)
        [*_, last] = await self.append(store, "a", 3)
        self.clock.advance(61)
        assert (await self.head(store, "a")).newest == last.id
        [again] = await self.append(store, "a", 1)
        assert again.previous == last.id
        await store.delete("a")
        assert (await self.head(store, "a")).newest == again.id

    @in_a_loop
    async def test_what_was_forgotten_is_below_every_head(self) -> None:
        """A cursor of a forgotten channel cannot pass for having seen everything."""
        store = self.store(message_timeout=60, channel_timeout=60)
        [*_, last] = await self.append(store, "a", 3)
        self.clock.advance(121)
        await self.append(store, "b", 1)
        assert (await self.head(store, "a")).newest >= last.id
        [first] = await self.append(store, "a", 1)
        assert first.previous >= last.id

    @in_a_loop
    async def test_where_memory_begins(self) -> None:
        """Below everything that is published, whatever is forgotten meanwhile."""
        store = self.store(message_timeout=60, channel_timeout=60)
        since = (await self.head(store, "a")).since
        [message] = await self.append(store, "a", 1)
        assert since <= message.previous
        self.clock.advance(121)
        await self.append(store, "b", 1)
        head = await self.head(store, "a")
        assert (head.known, head.since) == (False, since)

    # Waived storage.

    @in_a_loop
    async def test_a_waived_message_is_for_the_cursor_just_before_it(self) -> None:
        """Nobody further behind or at the start gets it; a chain of them holds."""
        store = self.store(transient_timeout=10)
        [kept] = await self.append(store, "a", 1)
        one = await store.append("a", body=b"1", keep=False)
        two = await store.append("a", body=b"2", keep=False)
        [last] = await self.append(store, "a", 1)
        assert (one.kept, two.kept) == (False, False)
        assert await self.messages(store, "a", kept.id) == [one, two, last]
        assert await self.messages(store, "a", one.id) == [two, last]
        assert await self.messages(store, "a", kept.previous) == [kept, one, two, last]
        between = kept.id._replace(sequence=kept.id.sequence + 1)
        assert between == one.id or await self.messages(store, "a", between) == [last]

    @in_a_loop
    async def test_a_waived_message_has_its_time(self) -> None:
        """After ``transient_timeout`` it is gone, and its id tells so."""
        store = self.store(transient_timeout=10)
        [kept] = await self.append(store, "a", 1)
        waived = await store.append("a", body=b"1", keep=False)
        self.clock.advance(9)
        assert await self.messages(store, "a", kept.id) == [waived]
        self.clock.advance(1.1)
        history = await store.read("a", after=kept.id)
        assert history.messages == ()
        assert history.head.newest == waived.id
        assert await self.messages(store, "a") == [kept]

    @in_a_loop
    async def test_a_waived_message_that_is_over_takes_no_place(self) -> None:
        """Of ``max_messages``: those that are kept stay."""
        store = self.store(max_messages=2, transient_timeout=10)
        [kept] = await self.append(store, "a", 1)
        await store.append("a", body=b"1", keep=False)
        self.clock.advance(11)
        [last] = await self.append(store, "a", 1)
        assert await self.messages(store, "a") == [kept, last]

    @in_a_loop
    async def test_a_first_message_waived_is_for_whoever_was_there(self) -> None:
        """Whoever read a head of the empty channel, however many others are gone."""
        store = self.store(message_timeout=60, channel_timeout=60)
        await self.append(store, "other", 1)
        empty = (await self.head(store, "a")).newest
        self.clock.advance(121)
        await self.append(store, "another", 1)
        waived = await store.append("a", body=b"1", keep=False)
        assert await self.messages(store, "a", empty) == [waived]
        assert await self.messages(store, "a", waived.previous) == [waived]
        assert await self.messages(store, "a") == []
