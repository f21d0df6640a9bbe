import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START, Message
from pushserver.stores.base import Head, Store
from pushserver.stores.contract import StoreContract, assert_linked
from pushserver.stores.harness import Clock, in_a_loop
from pushserver.stores.redis.store import RedisStore
from tests.e2e.servers import ROOT
from tests.ids import ANY_CHARACTERS
from tests.redis_server import Proxy, RedisServer, eventually
from tests.stores.redis.clocks import ClockedStore

pytestmark = pytest.mark.real_time

HOUR = 3600


class RedisContract(StoreContract):
    """The contract, and what a clock in Redis adds to it."""

    servers: Sequence[RedisServer]
    cluster = False

    def make_store(self, **options: Any) -> ClockedStore:
        return ClockedStore(self.servers, self.clock, cluster=self.cluster, **options)

    def make_peer(self, store: Store, clock: Clock | None = None) -> Store:
        assert isinstance(store, ClockedStore)
        peer = ClockedStore(
            self.servers,
            clock or self.clock,
            cluster=self.cluster,
            key_prefix=store.prefix,
        )
        self._stores.append(peer)
        return peer

    async def close_store(self, store: Store) -> None:
        await store.close()

    @in_a_loop
    async def test_clocks_an_hour_apart(self) -> None:
        """After a failover to a machine whose clock is slow, ids go on increasing."""
        store = self.store()
        slow = self.make_peer(store, Clock(self.clock() - HOUR))
        appended: list[Message] = []
        for _ in range(3):
            for each in (store, slow):
                appended += await self.append(each, "a", 2)
            await slow.delete("a")
        assert_linked(appended)

    @in_a_loop
    async def test_heads_of_many_channels(self) -> None:
        """Over all servers and slots, each with its own."""
        store = self.store()
        ids = [f"channel {number}" for number in range(300)]
        sent = await asyncio.gather(*(store.append(each, body=b"x") for each in ids))
        heads = await store.heads(ids)
        newest = {channel_id: head.newest for channel_id, head in heads.items()}
        assert newest == dict(zip(ids, [message.id for message in sent], strict=True))

    @in_a_loop
    async def test_unreachable_messages_count_to_no_limit(self) -> None:
        """A reader behind many of waived storage gets the kept one after them."""
        store = self.store(max_messages=0)
        for _ in range(5):
            await store.append("a", body=b"waived", keep=False)
        kept = await self.append(store, "a", 2)
        history = await store.read("a", after=START, limit=2)
        assert (list(history.messages), history.complete) == (kept, True)
        cut = await store.read("a", after=START, limit=1)
        assert (list(cut.messages), cut.complete) == (kept[:1], False)

    @in_a_loop
    async def test_expired_messages_of_waived_storage_are_not_counted(self) -> None:
        """With none left the channel does not exist any more."""
        store = self.store(max_messages=3, transient_timeout=10)
        for _ in range(5):
            await store.append("a", body=b"waived", keep=False)
        assert (await self.head(store, "a")).messages == 3
        self.clock.advance(11)
        head = await self.head(store, "a")
        assert (head.messages, head.exists, head.known) == (0, False, True)

    @in_a_loop
    async def test_deleted_messages_of_waived_storage(self) -> None:
        """They are gone with the rest."""
        store = self.store()
        waived = await store.append("a", body=b"waived", keep=False)
        await store.delete("a")
        assert await self.messages(store, "a", waived.previous) == []
        [again] = await self.append(store, "a", 1)
        self.clock.advance(11)
        assert await self.messages(store, "a", waived.previous) == [again]

    @in_a_loop
    async def test_a_lost_head_or_floor(self) -> None:
        """Evicted or deleted by hand: appends work, and ids go on increasing."""
        store = self.store()
        appended = await self.append(store, "a", 2)
        stream, head, floor, _ = store._keys("a")  # type: ignore[attr-defined]
        for lost in ([floor], [head], [head, floor], [stream], [stream, head]):
            for key in lost:
                self.remove(key)
            self.clock.advance(-HOUR if stream not in lost else 0)
            before = (await self.head(store, "a")).newest
            assert before >= appended[-1].id or floor in lost
            appended += await self.append(store, "a", 2)
            assert appended[-2].id > appended[-3].id
            assert appended[-2].previous >= appended[-3].id
            assert (await self.head(store, "a")).newest == appended[-1].id

    def remove(self, key: str) -> None:
        for server in self.servers:
            with server.client() as client:
                if key.encode() in client.keys("*"):
                    client.delete(key)


class TestOneServer(RedisContract):
    @pytest.fixture(autouse=True)
    def _servers(self, server: RedisServer) -> None:
        self.servers = [server]


class TestTwoServers(RedisContract):
    @pytest.fixture(autouse=True)
    def _servers(self, server: RedisServer, other_server: RedisServer) -> None:
        self.servers = [server, other_server]

    def test_a_host_that_is_added_takes_its_share(self, server: RedisServer):
        """A third of the channels, and nothing moves between the other two."""
        places = {}
        for count in (2, 3):
            store = RedisStore(hosts=[server.host] * count)
            places[count] = [store._shard(f"{bucket:02x}") for bucket in range(256)]
        assert 100 < places[2].count(0) < 156
        pairs = zip(places[2], places[3], strict=True)
        moved = [after for before, after in pairs if after != before]
        assert set(moved) == {2}
        assert 60 < len(moved) < 110


class TestCluster(RedisContract):
    cluster = True

    @pytest.fixture(autouse=True)
    def _servers(self, nodes: list[RedisServer]) -> None:
        self.servers = nodes


def connect(server: RedisServer | Proxy, **options: Any) -> RedisStore:
    options.setdefault("key_prefix", uuid4().hex)
    return RedisStore(hosts=[server.host], **options)


async def bodies(store: RedisStore, channel_id: str = "a") -> list[bytes]:
    history = await store.read(channel_id, after=START)
    return [message.body for message in history.messages]


async def head(store: RedisStore, channel_id: str = "a") -> Head:
    return (await store.heads([channel_id]))[channel_id]


# What is kept, and where.


async def test_ids_increase_over_real_expiry(server: RedisServer):
    """Redis drops everything by itself but the floor, and the ids go on."""
    store = connect(server, message_timeout=0.05, channel_timeout=0.05)
    seen = START
    for _ in range(3):
        message = await store.append("a", body=b"x")
        assert message.previous >= seen
        assert message.id > seen
        seen = message.id
        await store.append("a", body=b"waived", keep=False)
        keys = store._keys("a")
        floor = keys[2]
        await eventually(partial(_only_there, server, floor, keys))
        assert server.command("PTTL", floor) == -1
        assert not (await head(store)).known
    await store.close()


async def _only_there(server: RedisServer, key: str, keys: Sequence[str]) -> bool:
    return [each for each in keys if server.command("EXISTS", each)] == [key]


async def test_every_key_has_a_time_to_live(server: RedisServer):
    """All but the floors, of which there are 256."""
    store = connect(server, key_prefix="ttl")
    await store.append("a", body=b"x", keep=False)
    await store.create("b")
    await store.note_requested("b", 0)
    await store.note_requested("unknown", 0)
    await store.delete("c")
    await store.report_held({"a": 1})
    with server.client() as client:
        keys = [key.decode() for key in client.keys("ttl:*")]
        lasting = [key for key in keys if client.ttl(key) == -1]
    assert len(keys) > len(lasting) > 0
    assert all(key.endswith(":floor") for key in lasting)
    await store.close()


@pytest.mark.parametrize("which", range(4))
async def test_something_else_under_our_keys(server: RedisServer, which: int):
    """It is refused, nothing is stored, and other channels work."""
    store = connect(server)
    key = store._keys("a")[which]
    server.command("SADD", key, "not ours")
    with pytest.raises(StoreUnavailable, match=r"Redis refused: .*WRONGTYPE") as caught:
        await store.append("a", body=b"x", keep=False)
    assert not caught.value.maybe_sent
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await store.read("a", after=START)
    await store.append("b", body=b"x")
    server.command("DEL", key)
    await store.append("a", body=b"y")
    assert await bodies(store) == [b"y"]
    await store.close()


async def test_a_mebibyte(server: RedisServer):
    """Of every byte there is, several at once."""
    body = bytes(range(256)) * 4096
    store = connect(server)
    await asyncio.gather(*(store.append("a", body=body) for _ in range(5)))
    assert await bodies(store) == [body] * 5
    await store.close()


async def test_channel_ids_of_any_characters(server: RedisServer):
    """Each is a channel of its own."""
    store = connect(server)
    for channel_id in ANY_CHARACTERS:
        await store.append(channel_id, body=channel_id.encode())
    heads = await store.heads(ANY_CHARACTERS)
    for channel_id in ANY_CHARACTERS:
        assert await bodies(store, channel_id) == [channel_id.encode()]
        assert heads[channel_id].messages == 1
    await store.close()


async def test_two_projects_in_one_redis(server: RedisServer):
    """Under different prefixes they have nothing in common."""
    one, two = connect(server), connect(server)
    await one.append("a", body=b"1")
    await two.delete("a")
    await one.report_held({"a": 2})
    assert await bodies(one) == [b"1"]
    assert await bodies(two) == []
    assert await two.held_elsewhere("a") == 0
    for store in (one, two):
        await store.close()


# Who holds readers.

HOLDS = """
import asyncio, json, sys
from pushserver.stores.redis.store import RedisStore

async def main(host, prefix, held):
    store = RedisStore(hosts=[host], key_prefix=prefix)
    while True:
        await store.report_held(held)
        print(await store.held_elsewhere("a"), flush=True)
        await asyncio.sleep(0.2)

asyncio.run(main(*map(json.loads, sys.argv[1:])))
"""


def start_holder(
    server: RedisServer, prefix: str, held: Any
) -> subprocess.Popen[bytes]:
    words = [json.dumps(word) for word in (server.host, prefix, held)]
    argv = [sys.executable, "-c", HOLDS, *words]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)


async def test_readers_of_other_processes_are_counted(server: RedisServer):
    """Each knows of the other's within a second, of a killed one's for three."""
    prefix = uuid4().hex
    store = connect(server, key_prefix=prefix)
    with start_holder(server, prefix, {"a": 2, "b": 1}) as other:
        await eventually(lambda: _held(store, a=2, b=1, c=0))
        assert other.stdout is not None
        line = other.stdout.readline

        async def counted_there() -> bool:
            await store.report_held({"a": 3})  # again and again, as processes do
            return int(await asyncio.to_thread(line)) == 3

        await eventually(counted_there)
        other.send_signal(signal.SIGKILL)
    await eventually(lambda: _held(store, a=0, b=0, c=0), deadline=4)
    await store.close()


async def _held(store: RedisStore, **counts: int) -> bool:
    found = {name: await store.held_elsewhere(name) for name in counts}
    return found == counts


async def test_only_changes_are_reported(server: RedisServer):
    """Not every channel every second; a channel left out has no readers any more."""
    async with Proxy(server.port) as proxy:
        store = connect(proxy, redis_timeout=5)
        held = {f"channel {number}": 1 for number in range(1000)}
        for channels in (held, held, held | {"new": 2}, {"new": 2}, {}, {}):
            asked = len(proxy.asked)
            await store.report_held(channels)
            sizes = len(proxy.asked) - asked
            if channels is held and asked > 10_000:
                assert sizes < 1000
            if "new" in channels and len(channels) > 1:
                assert sizes < 1100
        assert sizes == 0
        await store.close()


async def test_reports_begin_anew_after_a_pause(server: RedisServer):
    """What Redis has forgotten is told again, with everything unchanged since."""
    prefix = uuid4().hex
    store = connect(server, key_prefix=prefix)
    everything = {"a": 1, "b": 2}
    await store.report_held(everything)
    counts = f"{prefix}:{{held}}:*"
    with server.client() as client:
        for key in client.keys(counts):
            client.delete(key)
        await store.report_held(everything | {"a": 5})
        [hash_key] = [k for k in client.keys(counts) if client.type(k) == b"hash"]
        assert sorted(client.hvals(hash_key)) == [b"2", b"5"]
    await store.close()


async def test_a_report_that_failed_is_made_anew(own_server: RedisServer):
    """Nobody knows what of it has arrived."""
    prefix = uuid4().hex
    store = connect(own_server, key_prefix=prefix, redis_timeout=0.2)
    await store.report_held({"a": 1, "b": 1})
    own_server.pause()
    with pytest.raises(StoreUnavailable):
        await store.report_held({"a": 1, "c": 1})
    own_server.resume()
    await eventually(lambda: _reports(store, {"a": 1}))
    with own_server.client() as client:
        keys = client.keys(f"{prefix}:{{held}}:*")
        [hash_key] = [key for key in keys if client.type(key) == b"hash"]
        assert client.hvals(hash_key) == [b"1"]
    await store.close()


async def _reports(store: RedisStore, held: dict[str, int]) -> bool:
    try:
        await store.report_held(held)
    except StoreUnavailable:
        return False
    return True


# Forks.

FORKS = """
import asyncio, json, os, sys, time
from pushserver.messages import START
from pushserver.stores.redis import store as module

host, prefix = map(json.loads, sys.argv[1:])
store = module.RedisStore(hosts=[host], key_prefix=prefix)
loop = asyncio.new_event_loop()

async def append(body):
    await store.append("a", body=body)
    await store.report_held({"a": 1})
    return await store.held_elsewhere("a")

async def child():
    held = await append(b"child")
    await store.close()
    return held

assert loop.run_until_complete(append(b"parent")) == 0
name = module._process
began = time.monotonic()
pid = os.fork()
if pid == 0:
    assert asyncio.run(child()) == 1
    assert module._process != name
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
for _ in range(3):
    held = loop.run_until_complete(append(b"parent again"))
    # The child has gone, and is forgotten 3 seconds after its report.
    assert held == 1 or time.monotonic() - began > 3
history = loop.run_until_complete(store.read("a", after=START))
loop.run_until_complete(store.close())
loop.close()
print(b",".join(message.body for message in history.messages).decode())
"""


def test_a_forked_child_has_a_connection_of_its_own(own_server: RedisServer):
    """The parent's still works afterwards, and each counts the other's readers."""
    received = own_server.command("INFO", "stats")["total_connections_received"]
    words = [json.dumps(word) for word in (own_server.host, "x")]
    found = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", FORKS, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == "parent,child,parent again,parent again,parent again\n"
    after = own_server.command("INFO", "stats")["total_connections_received"]
    assert after - received == 2 + 1  # and the one that asks
