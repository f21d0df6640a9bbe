import asyncio
import contextlib
import gc
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
import redis

from pushserver.exceptions import StoreUnavailable
from pushserver.messages import START
from pushserver.stores.redis.connection import Connection, too_old
from pushserver.stores.redis.scripts import Script
from pushserver.stores.redis.store import RedisStore
from tests.redis_server import (
    PERSISTENTLY,
    Proxy,
    RedisServer,
    Sentinel,
    TlsServer,
    answering,
    eventually,
    turn,
)

pytestmark = pytest.mark.real_time

ECHO = Script("return {KEYS[1], ARGV[1]}")
COUNT = Script("return redis.call('INCR', KEYS[1])")


def connect(*places: Any, timeout: float = 2, **options: Any) -> RedisStore:
    hosts = [getattr(place, "host", place) for place in places]
    options.setdefault("key_prefix", uuid4().hex)
    return RedisStore(hosts=hosts, redis_timeout=timeout, **options)


async def bodies(store: RedisStore, channel_id: str = "a") -> list[bytes]:
    history = await store.read(channel_id, after=START)
    return [message.body for message in history.messages]


@contextmanager
def raises(*, maybe_sent: bool, match: str | None = None) -> Iterator[None]:
    with pytest.raises(StoreUnavailable, match=match) as caught:
        yield
    assert caught.value.maybe_sent is maybe_sent, caught.value


@pytest.mark.parametrize(
    ("version", "refused"),
    [
        ("2.8.24", True),
        ("5.0.14", True),
        ("6.0.16", True),
        ("6.1.240", True),
        ("6.2", False),
        ("6.2.0", False),
        ("6.10.1", False),
        ("7.0.15", False),
        ("8.0-rc1", True),
        ("8.0.0-rc1", False),
        ("10.0.0", False),
        ("255.255.255", False),
        ("6", True),
        ("", True),
        ("unknown", True),
    ],
)
def test_the_version_rule(version: str, refused: bool):
    """From 6.2 on, compared as numbers; what is no version is refused."""
    assert too_old(version) is refused


@pytest.mark.parametrize("protocol", [2, 3])
async def test_an_old_server_is_refused(server: RedisServer, protocol: int):
    """Nothing was sent, and the line says what is there and what is accepted."""
    real = server.command("INFO", "server")["redis_version"].encode()
    async with Proxy(server.port) as proxy:
        proxy.answer = lambda data: data.replace(real, b"6.0.16"[: len(real)])
        store = connect({**proxy.host, "protocol": protocol})
        with raises(maybe_sent=False, match="version is 6.0.16; accepted: 6.2 or"):
            await store.append("a", body=b"x")
        assert b"EVALSHA" not in proxy.asked
        proxy.answer = lambda data: data
        await store.append("a", body=b"x")
        await store.close()


async def test_a_server_older_than_hello_is_refused():
    """Redis 5 does not even know the greeting."""
    async with answering(b"-ERR unknown command `HELLO`, with args\r\n") as port:
        store = connect({"host": "127.0.0.1", "port": port})
        with raises(maybe_sent=False, match="older than 6.0; accepted: 6.2 or later"):
            await store.append("a", body=b"x")


async def test_a_server_that_speaks_something_else():
    """An HTTP server is no Redis."""
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        store = connect({"host": "127.0.0.1", "port": port})
        with raises(maybe_sent=False, match="Redis does not answer"):
            await store.append("a", body=b"x")


# One connection, many calls.


async def test_many_calls_share_a_connection(own_server: RedisServer):
    """Two hundred appends at once: one connection, few round trips, each its own id."""
    async with Proxy(own_server.port) as proxy:
        store = connect(proxy)
        await store.append("a", body=b"first")
        answers: list[bytes] = []

        def answer(data: bytes) -> bytes:
            answers.append(data)
            return data

        proxy.answer = answer
        sent = await asyncio.gather(
            *(store.append("a", body=b"%d" % number) for number in range(200))
        )
        assert len({message.id for message in sent}) == 200
        assert [message.id for message in sent] == sorted(m.id for m in sent)
        assert proxy.accepted == own_server.connections() == 1
        assert len(answers) < 20
        await store.close()
    await eventually(lambda: _none_connected(own_server))


async def _none_connected(server: RedisServer) -> bool:
    return server.connections() == 0


async def test_a_caller_that_leaves_disturbs_nobody(server: RedisServer):
    """Cancelled before it was sent or after: the others get their own replies."""
    async with Proxy(server.port) as proxy:
        connection = Connection(proxy.host, timeout=2)
        await connection.call(ECHO, ["k"], [0])
        deaf = asyncio.Event()

        def answer(data: bytes) -> bytes:
            deaf.set()
            return data

        proxy.answer = answer

        async def echo(number: int) -> None:
            key, word = await connection.call(ECHO, [f"k{number}"], [number])
            assert (key, word) == (b"k%d" % number, b"%d" % number)

        tasks = [asyncio.create_task(echo(number)) for number in range(30)]
        await deaf.wait()
        late = [asyncio.create_task(echo(number)) for number in range(30, 60)]
        await asyncio.sleep(0)  # the second half waits for its turn now
        for task in (*tasks[::3], *late[::3]):
            task.cancel()
        results = await asyncio.gather(*tasks, *late, return_exceptions=True)
        wrong = [r for r in results if isinstance(r, Exception)]
        assert wrong == []
        assert results.count(None) >= 40
        assert proxy.accepted == 1
        await connection.close()


async def test_two_loops_in_one_process(server: RedisServer):
    """Each has a connection of its own, and closes only that."""
    store = connect(server)
    await store.append("a", body=b"1")

    async def elsewhere() -> None:
        await store.append("a", body=b"2")
        assert await bodies(store) == [b"1", b"2"]
        await store.close()

    await asyncio.to_thread(asyncio.run, elsewhere())
    await store.append("a", body=b"3")
    assert await bodies(store) == [b"1", b"2", b"3"]
    await store.close()


# Closing.


async def test_closing_leaves_nothing_open(server: RedisServer):
    """No warning when everything is collected; the store can be used again."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = connect(server)
        await store.close()
        for _ in range(2):
            await store.append("a", body=b"x")
            await store.close()
        del store
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


async def test_closing_ends_what_is_under_way(own_server: RedisServer):
    """At once, and it says what may have been stored."""
    store = connect(own_server, timeout=30)
    await store.append("a", body=b"x")
    own_server.pause()
    sent = asyncio.create_task(store.append("a", body=b"sent"))
    await asyncio.sleep(0.05)  # it is in the hands of the kernel
    queued = asyncio.create_task(store.append("a", body=b"queued"))
    await asyncio.sleep(0)
    await store.close()
    with raises(maybe_sent=True, match="closed"):
        await sent
    with raises(maybe_sent=False, match="closed"):
        await queued
    fresh = asyncio.create_task(store.append("a", body=b"never began"))
    await asyncio.sleep(0)
    await store.close()
    with raises(maybe_sent=False, match="closed"):
        await fresh


# What was sent, and what not.


async def test_nobody_listens():
    """A connection that is refused stored nothing."""
    async with Proxy(0) as proxy:
        pass
    with raises(maybe_sent=False, match="does not answer.*connect"):
        await connect(proxy).append("a", body=b"x")


@pytest.mark.parametrize(
    "host",
    [
        {"host": "no-such-host.invalid", "port": 6379},
        {"host": "a..b", "port": 6379},
        {"address": "unix:///no/such/socket"},
        {"host": "127.0.0.1", "port": 1, "no_such_option": 1},
    ],
)
async def test_no_way_to_a_server(host: dict[str, Any]):
    """Whatever keeps us from connecting, nothing was sent."""
    with raises(maybe_sent=False, match="Redis does not answer"):
        await connect(host).append("a", body=b"x")


@pytest.mark.parametrize("calls", [1, 20])
async def test_a_cut_reply_is_not_asked_for_again(server: RedisServer, calls: int):
    """The message is stored once, and the sender told that it may be."""
    async with Proxy(server.port) as proxy:
        store = connect(proxy)
        await store.append("a", body=b"first")
        proxy.answer = lambda data: None
        results = await asyncio.gather(
            *(store.append("a", body=b"%d" % number) for number in range(calls)),
            return_exceptions=True,
        )
        for result in results:
            assert isinstance(result, StoreUnavailable)
            assert result.maybe_sent
        proxy.answer = lambda data: data
        stored = await bodies(store)
        assert stored == [b"first", *(b"%d" % number for number in range(calls))]
        await store.close()


async def test_replies_cut_in_the_middle(server: RedisServer):
    """Those that came are believed; the rest is stored once or not, and says so."""
    async with Proxy(server.port) as proxy:
        store = connect(proxy, timeout=0.3)
        await store.append("a", body=b"first")
        seen = 0

        def cut(data: bytes) -> bytes | None:
            nonlocal seen
            seen += 1
            return data[: len(data) // 2] if seen == 1 else None

        proxy.answer = cut
        results = await asyncio.gather(
            *(store.append("a", body=b"%d" % number) for number in range(40)),
            return_exceptions=True,
        )
        proxy.answer = lambda data: data
        stored = await bodies(store)
        assert len(stored) == len(set(stored))
        for number, result in enumerate(results):
            if isinstance(result, StoreUnavailable):
                assert result.maybe_sent or b"%d" % number not in stored
            else:
                assert b"%d" % number in stored
        await store.close()


async def test_who_gave_up_before_it_was_sent_is_not_sent_later(
    own_server: RedisServer,
):
    """While it was connecting the time was over: "not stored" stays true."""
    own_server.pause()
    store = connect(own_server, timeout=0.3)
    for body in (b"1", b"2"):
        with raises(maybe_sent=False, match="no reply in time"):
            await store.append("a", body=body)
    late = asyncio.create_task(store.append("a", body=b"3"))
    await asyncio.sleep(0.2)
    later = asyncio.create_task(store.append("a", body=b"4"))
    with raises(maybe_sent=False):
        await late
    own_server.resume()
    result = (await asyncio.gather(later, return_exceptions=True))[0]
    await eventually(lambda: _works(store))
    stored = await bodies(store)
    assert set(stored) <= {b"4", b"works"}
    if isinstance(result, StoreUnavailable):
        assert result.maybe_sent or b"4" not in stored
    await store.close()


async def _works(store: RedisStore) -> bool:
    try:
        await store.append("a", body=b"works")
    except StoreUnavailable:
        return False
    return True


# Outages.


async def test_a_paused_server(own_server: RedisServer):
    """Every call ends in time; when it goes on, replies are not mixed up."""
    store = connect(own_server, timeout=0.3)
    await store.append("a", body=b"before")
    own_server.pause()
    started = time.monotonic()
    results = await asyncio.gather(
        *(store.append("a", body=b"%d" % number) for number in range(10)),
        store.read("a", after=START),
        store.heads(["a", "b"]),
        store.create("b"),
        store.delete("b"),
        store.note_requested("a", 1),
        store.report_held({"a": 1}),
        store.held_elsewhere("a"),
        return_exceptions=True,
    )
    assert time.monotonic() - started < 1.5
    assert {type(result) for result in results} == {StoreUnavailable}
    own_server.resume()
    await eventually(lambda: _works(store))
    numbers = [f"{number}" for number in range(50)]
    sent = await asyncio.gather(
        *(store.append(number, body=number.encode()) for number in numbers)
    )
    for number, message in zip(numbers, sent, strict=True):
        [found] = (await store.read(number, after=START)).messages
        assert found == message
        assert found.body == number.encode()
    stored = await bodies(store)
    assert len([body for body in stored if body != b"works"]) <= 11
    assert len(set(stored) - {b"works"}) == len([b for b in stored if b != b"works"])
    await store.close()


async def test_late_replies_are_nobodys(server: RedisServer):
    """What the server says to a call that gave up is not given to the next one."""
    async with Proxy(server.port) as proxy:
        connection = Connection(proxy.host, timeout=0.2)
        assert await connection.call(ECHO, ["k"], [0]) == [b"k", b"0"]
        held: list[bytes] = []

        def hold(data: bytes) -> bytes:
            held.append(data)
            return b""

        proxy.answer = hold
        with raises(maybe_sent=True):
            await connection.call(ECHO, ["k"], [1])
        assert held
        proxy.answer = lambda data: data
        assert await connection.call(ECHO, ["k"], [2]) == [b"k", b"2"]
        await connection.close()


async def test_a_restarted_server(own_server: RedisServer):
    """The next call connects anew, without an error where the end was heard of."""
    store = connect(own_server)
    await store.append("a", body=b"1")
    own_server.kill()
    await turn()
    with raises(maybe_sent=False, match="connect"):
        await store.append("a", body=b"2")
    own_server.start()
    await store.append("a", body=b"3")
    own_server.kill()
    own_server.start()
    await turn()
    await store.append("a", body=b"4")
    await store.close()


async def test_a_restart_with_persistence_keeps_everything():
    """Messages, ids and the floor are those from before."""
    with RedisServer(*PERSISTENTLY) as server:
        store = connect(server)
        before = await store.append("a", body=b"1")
        server.kill()
        server.start()
        await turn()
        after = await store.append("a", body=b"2")
        assert after.previous == before.id
        assert await bodies(store) == [b"1", b"2"]
        await store.close()


async def test_a_restart_without_persistence_is_told(own_server: RedisServer):
    """The first message after it names an id above all that was lost."""
    store = connect(own_server)
    lost = await store.append("a", body=b"1")
    own_server.kill()
    own_server.start()
    await turn()
    head = (await store.heads(["a"]))["a"]
    assert not head.known
    assert head.newest > lost.id
    message = await store.append("a", body=b"2")
    assert message.previous > lost.id
    assert await bodies(store) == [b"2"]
    await store.close()


# What the server refuses.


async def test_a_flushed_script_cache(server: RedisServer):
    """Scripts are sent anew; nobody notices."""
    store = connect(server)
    for body in (b"1", b"2"):
        await store.append("a", body=body)
        server.command("SCRIPT", "FLUSH")
    sent = await asyncio.gather(*(store.append("a", body=b"3") for _ in range(20)))
    assert len({message.id for message in sent}) == 20
    assert len(await bodies(store)) == 22
    await store.close()


async def test_a_wrong_password():
    """Missing, wrong, or given where none is needed."""
    with RedisServer(password="right") as server:
        for password in (None, "wrong"):
            store = connect({**server.host, "password": password})
            with raises(maybe_sent=False, match="Redis refused: .*(auth|pass)"):
                await store.append("a", body=b"x")
            await store.close()
        store = connect({"address": f"redis://:right@127.0.0.1:{server.port}"})
        await store.append("a", body=b"x")
        server.command("CONFIG", "SET", "requirepass", "changed")
        await store.append("a", body=b"connected before")
        await store.close()


async def test_a_wrong_database(server: RedisServer):
    """Redis has 16 of them unless it is told otherwise."""
    store = connect({**server.host, "db": 16})
    with raises(maybe_sent=False, match="Redis refused: .*out of range"):
        await store.append("a", body=b"x")


async def test_databases_are_apart(server: RedisServer):
    """The same prefix in another database is another store."""
    prefix = uuid4().hex
    one = connect(server, key_prefix=prefix)
    two = connect({**server.host, "db": 1}, key_prefix=prefix)
    await one.append("a", body=b"x")
    assert await bodies(two) == []
    for store in (one, two):
        await store.close()


async def test_a_user_who_may_do_little(own_server: RedisServer):
    """INFO and CONFIG are not asked for; what is missing is named."""
    for user in ("push +@all -@dangerous -@admin", "nobody -@all"):
        name, *rules = user.split()
        own_server.command("ACL", "SETUSER", name, "on", ">secret", "~*", *rules)
    login = {**own_server.host, "password": "secret"}
    store = connect({**login, "username": "push"})
    await store.append("a", body=b"x")
    await store.close()
    store = connect({**login, "username": "nobody"})
    with raises(maybe_sent=False, match="no permissions"):
        await store.append("a", body=b"x")
    await store.close()


async def test_a_read_only_replica(own_server: RedisServer):
    """Nothing is stored there; when it becomes a master, it works by itself."""
    with RedisServer("--replicaof", "127.0.0.1", f"{own_server.port}") as replica:
        await eventually(lambda: _linked(replica))
        store = connect(replica)
        with raises(maybe_sent=False, match="Redis refused: .*read only"):
            await store.append("a", body=b"x")
        replica.command("REPLICAOF", "NO", "ONE")
        await store.append("a", body=b"y")
        assert await bodies(store) == [b"y"]
        await store.close()


async def _linked(replica: RedisServer) -> bool:
    return bool(replica.command("INFO", "replication")["master_link_status"] == "up")


async def test_a_full_memory(own_server: RedisServer):
    """Appends are refused without a trace; what is there can be read."""
    store = connect(own_server)
    await store.append("a", body=b"x")
    own_server.command("CONFIG", "SET", "maxmemory", "1")
    with raises(maybe_sent=False, match="Redis refused: .*maxmemory"):
        await store.append("a", body=b"y")
    assert await bodies(store) == [b"x"]
    assert not (await store.heads(["new"]))["new"].known
    own_server.command("CONFIG", "SET", "maxmemory", "0")
    await store.append("a", body=b"z")
    assert await bodies(store) == [b"x", b"z"]
    await store.close()


async def test_a_server_that_loads_its_data(own_server: RedisServer):
    """What it refuses meanwhile was not stored, and the connection stays."""
    loading = b"-LOADING Redis is loading the dataset in memory\r\n"
    async with Proxy(own_server.port) as proxy:
        store = connect(proxy)
        await store.append("a", body=b"1")
        proxy.answer = lambda data: loading * data.count(b"*4\r\n")
        results = await asyncio.gather(
            *(store.append("a", body=b"2") for _ in range(3)), return_exceptions=True
        )
        for result in results:
            assert isinstance(result, StoreUnavailable)
            assert not result.maybe_sent
            assert "Redis refused: " in str(result)
        proxy.answer = lambda data: data
        await store.append("a", body=b"3")
        assert proxy.accepted == 1
        await store.close()


# Ways to a server.


async def test_every_form_of_host(server: RedisServer):
    """As channels-redis takes them."""
    from pushserver.stores.redis import decode_hosts

    forms = decode_hosts(
        [
            server.url,
            f"{server.url}/0?socket_timeout=3",
            ("127.0.0.1", server.port),
            ["127.0.0.1", server.port],
            {"address": server.url},
            {"address": server.url, "db": 0, "socket_keepalive": True},
            {"host": "127.0.0.1", "port": server.port, "health_check_interval": 1},
            f"unix://{server.socket}",
            {"address": f"unix://{server.socket}", "protocol": 2},
        ]
    )
    prefix = uuid4().hex
    for number, host in enumerate(forms):
        store = connect(host, key_prefix=prefix)
        await store.append("a", body=b"%d" % number)
        await store.close()
    store = connect(server, key_prefix=prefix)
    assert await bodies(store) == [b"%d" % number for number in range(len(forms))]
    await store.close()


async def test_tls():
    """In each form of host, with the certificate checked: a server that it does not
    vouch for gets nothing."""
    with TlsServer() as server:
        address, _, _ = server.url.partition("?")
        given = {"address": address, "ssl_ca_certs": str(server.authority)}
        prefix = uuid4().hex
        for host in ({"address": server.url}, given):
            store = connect(host, key_prefix=prefix)
            await asyncio.gather(*(store.append("a", body=b"x") for _ in range(20)))
            server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await eventually(partial(_works, store))
            await store.close()
        store = connect(server, key_prefix=prefix)  # the same messages without TLS
        assert (await bodies(store)).count(b"x") == 40
        await store.close()
        with raises(maybe_sent=False, match="CERTIFICATE_VERIFY_FAILED|certificate"):
            await connect({"address": address}).append("a", body=b"x")
        plain = {
            "address": server.url.replace(address, f"rediss://127.0.0.1:{server.port}")
        }
        with raises(maybe_sent=False, match="Redis does not answer"):
            await connect(plain, timeout=0.5).append("a", body=b"x")


async def test_a_sentinel_names_the_master(own_server: RedisServer):
    """Also where another Sentinel is gone; a failover is followed."""
    with Sentinel(own_server) as sentinel:
        sentinels = [("127.0.0.1", 1), ("127.0.0.1", sentinel.port)]
        host = {"sentinels": sentinels, "master_name": "main"}
        store = connect(host)
        await store.append("a", body=b"x")
        assert await bodies(store) == [b"x"]
        with raises(maybe_sent=False, match="No master found"):
            await connect({**host, "master_name": "other"}).append("a", body=b"x")
        with RedisServer("--replicaof", "127.0.0.1", f"{own_server.port}") as replica:
            await eventually(lambda: _linked(replica))
            await eventually(lambda: _has_replica(sentinel))
            await eventually(lambda: _promoted(replica, sentinel))
            own_server.kill()
            await eventually(lambda: _works(store))
            assert (await bodies(store))[0] == b"x"
            await store.close()


async def _has_replica(sentinel: RedisServer) -> bool:
    return bool(sentinel.command("SENTINEL", "REPLICAS", "main"))


async def _promoted(replica: RedisServer, sentinel: RedisServer) -> bool:
    if replica.command("INFO", "replication")["role"] == "master":
        return True
    # It refuses while it has not heard enough of the replica, and when it is at it.
    with contextlib.suppress(redis.ResponseError):
        sentinel.command("SENTINEL", "FAILOVER", "main")
    return False
