"""What a connection has yet to be told, of however many channels."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from pushserver.conf import get_config
from pushserver.consumers.feeds import Feed, Reader
from pushserver.consumers.frames import channel_head
from pushserver.consumers.spellings import MultiplexFrames
from pushserver.consumers.subscribing import Refused, Wanted
from pushserver.engine.subscriptions import Subscriptions
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Cursor
from pushserver.stores import get_store
from tests.readers import publish, serving


def feed_of(
    running: Subscriptions,
    *names: str,
    limit: int = 10_000,
    cursor: Cursor | None = None,
    **terms: Any,
) -> Feed:
    feed = Feed(running, MultiplexFrames(), limit=limit)
    feed.on_news = lambda reader, outcome: feed.put_behind(reader)
    location = replace(get_config().locations[0], **terms)
    for name in names:
        feed.take(Wanted(head(name), ("default", name), cursor, location))
    return feed


def head(name: str) -> str:
    return channel_head("channel", name)


async def collect(feed: Feed) -> list[dict[str, Any]]:
    return [json.loads(entry) for entry in await feed.collect()]


async def test_what_waits_is_collected_in_pieces():
    """Of about the size that was given; a reader goes on where it was."""
    async with serving() as running:
        for n in range(10):
            await publish(f"{n:0100}", key=("default", "a"))
        with feed_of(running, "a", limit=400) as feed:
            sizes, texts = [], []
            while feed.waiting:
                entries = await collect(feed)
                sizes.append(len(entries))
                texts += [int(entry["text"]) for entry in entries if "text" in entry]
            assert texts == list(range(10))
            assert max(sizes) <= 4


async def test_a_channel_that_was_full_has_its_turn_later():
    """What was looked up and did not fit is looked up again."""
    async with serving() as running:
        for name in "abc":
            await publish("x" * 300, key=("default", name))
        with feed_of(running, "a", "b", "c", limit=100) as feed:
            found: list[str] = []
            while feed.waiting:
                entries = await collect(feed)
                found += [entry["channel"] for entry in entries if "text" in entry]
            assert found == ["a", "b", "c"]


async def test_readers_are_told_of_in_pairs():
    """Who was let in, and its end, whichever way."""
    async with serving() as running:
        told: list[str] = []
        with feed_of(running, "a", "b") as feed:
            feed.on_begin = lambda reader: told.append(f"+{reader.key[1]}")
            feed.on_close = lambda reader: told.append(f"-{reader.key[1]}")
            await feed.collect()
            feed.close(head("a"))
            feed.close(head("a"))
            feed.take(Refused(head("never"), 404, "There is none."))
            assert (await collect(feed))[0]["error"] == 404
        assert told == ["+a", "+b", "-a", "-b"]
        assert running.statistics().readers == 0


async def test_a_reader_that_is_closed_meanwhile_is_not_told_of():
    """What it has found is dropped."""
    async with serving() as running:
        with feed_of(running, "a", "b") as feed:
            feed.on_begin = lambda reader: feed.close(head("b"))
            entries = await collect(feed)
            assert [entry["channel"] for entry in entries] == ["a"]
            assert list(feed.readers) == [head("a")]


async def test_the_end_of_one_channel_is_an_entry():
    """With a status that stays known, and a place for another."""
    async with serving() as running:
        location = replace(get_config().locations[0], create_on_get=False)
        with feed_of(running) as feed:
            feed.open(head("a"), ("default", "a"), None, location)
            assert not feed.has_room(head("b"), 1)
            assert feed.has_room(head("a"), 1)
            [entry] = await collect(feed)
            assert (entry["error"], feed.status) == (404, 404)
            assert feed.has_room(head("b"), 1)


async def test_a_shutdown_is_of_the_whole_connection():
    """Nobody is told of single channels; nothing waits any more."""
    async with serving() as running:
        with feed_of(running, "a", "b") as feed:
            running.drain()
            assert await feed.collect() == []
            assert feed.draining
            assert not feed.waiting


async def test_a_store_that_is_down_is_waited_for_once():
    """The other channels of it fail at once."""
    async with serving(store="RemoteStore") as running:
        asked: list[str] = []

        class Down(Reader):
            async def next(self) -> Any:
                asked.append(self.key[1])
                raise StoreUnavailable("gone for a test")

        names = [f"c{n}" for n in range(120)]
        with feed_of(running, *names) as feed:
            for reader in feed.readers.values():
                reader.__class__ = Down
            entries = await collect(feed)
            assert [entry["error"] for entry in entries] == [503] * 120
            assert len(asked) <= 50
            assert feed.status == 503


async def test_entries_of_no_channel_go_first():
    """They were there before what is read now."""
    async with serving() as running:
        with feed_of(running, "a") as feed:
            feed.note('{"error":400}')
            entries = await collect(feed)
            assert entries == [{"error": 400}, {"channel": "a", "id": str(START)}]


async def test_what_comes_while_it_is_collected_waits():
    """Though nobody listens yet: the next look finds it."""
    async with serving() as running:
        with feed_of(running, "a") as feed:
            await feed.collect()
            waited = [feed.waiting]
            await publish("x", key=("default", "a"))
            await asyncio.sleep(0.1)
            assert [*waited, feed.waiting] == [False, True]
            assert [entry["text"] for entry in await collect(feed)] == ["x"]


async def test_a_channel_that_is_closed_while_it_is_looked_at_holds_nobody():
    """The look that is under way parks nobody whom nobody would take out again."""
    async with serving(store="RemoteStore") as running:
        with feed_of(running, "a") as feed:
            look = asyncio.create_task(feed.collect())
            await asyncio.sleep(0.005)
            feed.close(head("a"))
            await look
        assert running.hub.held(("default", "a")) == 0


async def test_who_begins_so_many_from_the_end_loses_nothing_after_that():
    """On a channel that nobody has read before."""
    async with serving() as running:
        for n in range(10):
            await publish(f"{n}", key=("default", "a"))
        with feed_of(running, "a", first_message=3) as feed:
            texts = [entry.get("text") for entry in await collect(feed)]
            assert texts == [None, "7", "8", "9"]
            await publish("next", key=("default", "a"))
            await asyncio.sleep(0.01)
            [entry] = await collect(feed)
            assert (entry["text"], "gap" in entry) == ("next", False)


async def test_a_loss_while_another_channel_is_looked_at_is_told_once():
    """With the message after it, and with no position that goes before that."""
    key = ("default", "a")
    async with serving(store="VirtualStore", options={"max_messages": 2}) as running:
        first = await publish("0", key=key)
        with feed_of(running, "a", "b", cursor=first.id) as feed:
            await feed.collect()
            slow = feed.readers[head("b")]
            look_on, looked = slow.next, asyncio.Event()

            async def look() -> Any:
                await looked.wait()
                return await look_on()

            slow.next = look  # type: ignore[method-assign]
            feed.put_behind(feed.readers[head("a")])
            feed.put_behind(slow)
            collecting = asyncio.create_task(collect(feed))
            await asyncio.sleep(0.01)
            for n in range(5):  # by another process, faster than this one reads
                await get_store().append("a", body=b"%d" % n)
            running.hub.wake(key)
            await asyncio.sleep(0.01)
            looked.set()
            entries = [entry for entry in await collecting if "a" in entry.values()]
            while feed.waiting:
                entries += await collect(feed)
            told = [(entry.get("text"), "gap" in entry) for entry in entries]
            assert told == [("3", True), ("4", False)]
