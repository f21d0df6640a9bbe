"""What a connection has yet to be told, of however many channels."""

import asyncio
import json
from dataclasses import replace
from typing import Any

from pushserver.conf import get_config
from pushserver.exceptions import StoreUnavailable
from pushserver.feeds import Feed, Reader
from pushserver.frames import channel_head
from pushserver.messages import START
from pushserver.spellings import MultiplexFrames
from pushserver.subscribing import Refused, Wanted
from pushserver.subscriptions import Subscriptions
from tests.readers import publish, serving


def feed_of(running: Subscriptions, *names: str, limit: int = 10_000) -> Feed:
    feed = Feed(running, MultiplexFrames(), limit=limit)
    for name in names:
        key = ("default", name)
        feed.take(Wanted(head(name), key, None, get_config().locations[0]))
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
