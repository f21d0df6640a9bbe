import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from redis.crc import key_slot

from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START
from pushserver.stores.redis.cluster import ClusterConnection
from pushserver.stores.redis.scripts import Script
from pushserver.stores.redis.store import RedisStore
from tests.redis_server import (
    ClusterNode,
    Proxy,
    RedisServer,
    answering,
    cluster,
    eventually,
    turn,
)

pytestmark = pytest.mark.real_time

WHERE = Script("return {redis.call('INCR', KEYS[1]), ARGV[1]}")


def connect(*hosts: Any, **options: Any) -> RedisStore:
    places = [getattr(host, "host", host) for host in hosts]
    options.setdefault("key_prefix", uuid4().hex)
    return RedisStore(hosts=places, cluster=True, **options)


async def append_everywhere(store: RedisStore) -> list[Any]:
    return await asyncio.gather(
        *(store.append(f"{number}", body=b"x") for number in range(60)),
        return_exceptions=True,
    )


async def test_any_node_leads_to_the_others(nodes: list[RedisServer]):
    """In every form of a host; each node has a share of the channels."""
    password = {"password": None}
    forms = [nodes[0].host, {"address": nodes[1].url}, {**nodes[2].host, **password}]
    for host in forms:
        store = connect(host)
        results = await append_everywhere(store)
        assert not [r for r in results if isinstance(r, Exception)]
        for node in nodes:
            assert node.command("KEYS", f"{store._prefix}:*")
        await store.close()


async def test_one_connection_a_node(nodes: list[RedisServer]):
    """However many calls there are at once."""
    before = [node.connections() for node in nodes]
    store = connect(nodes[0])
    await append_everywhere(store)
    assert [node.connections() for node in nodes] == [count + 1 for count in before]
    await store.close()


async def test_who_owns_a_slot_is_remembered(nodes: list[RedisServer]):
    """The second call goes there at once."""
    async with Proxy(nodes[0].port) as proxy:
        store = connect(proxy)
        await append_everywhere(store)
        asked = len(proxy.asked)
        for channel_id in map(str, range(60)):
            if (
                nodes[0].command("CLUSTER", "KEYSLOT", store._keys(channel_id)[0])
                > 5460
            ):
                await store.append(channel_id, body=b"x")
        assert len(proxy.asked) == asked
        await store.close()


async def test_a_slot_that_moves(nodes: list[RedisServer]):
    """Asked for at both nodes while it moves; the new owner is learnt after."""
    connection = ClusterConnection([nodes[0].host], timeout=2)
    key = next(name for name in map(str, range(100)) if key_slot(name.encode()) < 5461)
    slot = key_slot(key.encode())
    old, new = nodes[0], nodes[1]
    ids = [node.command("CLUSTER", "MYID").decode() for node in nodes]
    for node in nodes:
        node.command("SCRIPT", "FLUSH")
    with _slot_given_back(nodes, slot, ids[0]):
        assert await connection.call(WHERE, [key], [0]) == [1, b"0"]
        new.command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        old.command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        assert await connection.call(WHERE, [key], [1]) == [2, b"1"]
        old.command("MIGRATE", "127.0.0.1", new.port, key, 0, 1000)
        counted = await asyncio.gather(
            *(connection.call(WHERE, [key], [number]) for number in range(20))
        )
        assert [word for _, word in counted] == [b"%d" % n for n in range(20)]
        assert sorted(count for count, _ in counted) == list(range(3, 23))
        for node in (new, old):
            node.command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        assert await connection.call(WHERE, [key], [2]) == [23, b"2"]
        assert await connection.call(WHERE, [key], [3]) == [24, b"3"]
        new.command("DEL", key)
    await connection.close()


@contextlib.contextmanager
def _slot_given_back(nodes: list[RedisServer], slot: int, owner: str) -> Iterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            node.command("CLUSTER", "SETSLOT", slot, "NODE", owner)


async def test_what_a_node_refuses(nodes: list[RedisServer]):
    """It said no: nothing was stored."""
    store = connect(nodes[0])
    await store.append("a", body=b"x")
    connection = ClusterConnection([nodes[0].host], timeout=2)
    with pytest.raises(StoreUnavailable, match=r"Redis refused: .*nonsense") as caught:
        await connection.call(Script("return nonsense()"), ["k"], [])
    assert not caught.value.maybe_sent
    for each in (store, connection):
        await each.close()


async def test_nodes_that_name_one_another():
    """A circle has an end."""
    async with contextlib.AsyncExitStack() as stack:
        greeting = b"%1\r\n$7\r\nversion\r\n$3\r\n7.0\r\n"
        moved = b"-MOVED 1 :%d\r\n"
        proxies = [await stack.enter_async_context(Proxy(0)) for _ in range(2)]
        for here, there in (proxies, proxies[::-1]):
            here.to = await stack.enter_async_context(answering(greeting))
            here.answer = lambda data, here=here, there=there: (  # type: ignore[misc]
                data if b"EVAL" not in here.asked else moved % there.port
            )
        connection = ClusterConnection([proxies[0].host], timeout=2)
        with pytest.raises(StoreUnavailable, match="name one another"):
            await connection.call(WHERE, ["k"], [1])
        await connection.close()


async def test_a_replica_takes_over():
    """After a master has died its channels go on, with all that they had."""
    with cluster() as nodes, ClusterNode() as replica:
        replica.replicate(*nodes)
        store = connect(nodes[0], nodes[1], redis_timeout=1, max_messages=10_000)
        before = await append_everywhere(store)
        assert not [result for result in before if isinstance(result, Exception)]
        assert nodes[0].command("WAIT", 1, 5000) == 1
        nodes[0].kill()
        sent: dict[int, Any] = {}

        async def all_accepted() -> bool:
            for number, result in enumerate(await append_everywhere(store)):
                if isinstance(result, Exception):
                    assert isinstance(result, StoreUnavailable)
                    assert not result.maybe_sent
                else:
                    sent.setdefault(number, result)
            return len(sent) == len(before)

        async def all_kept() -> bool:
            for number, message in enumerate(before):
                try:
                    history = await store.read(f"{number}", after=START)
                except StoreUnavailable:
                    return False  # they do not all agree yet
                assert history.messages[:2] == (message, sent[number])
                assert sent[number].previous == message.id
            return True

        await eventually(all_accepted, deadline=20)
        await eventually(all_kept)
        assert replica.command("ROLE")[0] == b"master"
        await store.close()


async def test_a_node_that_is_gone():
    """Refused: the others are asked, which know; nothing was stored meanwhile."""
    with cluster() as nodes:
        store = connect(nodes[2], nodes[1], redis_timeout=1)
        assert not [
            r for r in await append_everywhere(store) if isinstance(r, Exception)
        ]
        nodes[2].kill()
        await turn()
        results = await append_everywhere(store)
        failed = [r for r in results if isinstance(r, Exception)]
        assert 0 < len(failed) < 60
        for error in failed:
            assert isinstance(error, StoreUnavailable)
            assert not error.maybe_sent
        fresh = connect(nodes[2], nodes[1], redis_timeout=1)
        results = await append_everywhere(fresh)
        assert any(not isinstance(r, Exception) for r in results)
        await fresh.close()
        nodes[0].pause()
        for error in await append_everywhere(store):
            if isinstance(error, Exception):
                assert isinstance(error, StoreUnavailable)
        nodes[0].resume()
        await store.close()
        with pytest.raises(StoreUnavailable, match="connect"):
            await connect(nodes[2]).read("a", after=START)
