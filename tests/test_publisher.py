"""The publisher module: how a process that serves nothing sends through Redis.

Each test is a process of its own, because what it opens and forks is what counts. The
scripts print what they saw as JSON.
"""

import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest
from channels.exceptions import InvalidChannelLayerError
from django.test import override_settings

from pushserver import publisher
from pushserver.messages import Message
from pushserver.reach import run_sync
from pushserver.stores import get_store
from tests.e2e.servers import ROOT, environment
from tests.redis_server import RedisServer
from tests.sharing import CORE, PUBSUB, settings

BOTH = pytest.mark.parametrize("backend", [CORE, PUBSUB], ids=["core", "pubsub"])

PROLOGUE = """\
import asyncio, json, multiprocessing, os, sys, threading

import django
import redis
from django.conf import settings

SETTINGS = {settings!r}
port = {port}


def setup():
    settings.configure(INSTALLED_APPS=["pushserver"], SECRET_KEY="x", **SETTINGS)
    django.setup()


setup()
from pushserver import publisher, send_update

client = redis.Redis(port=port)


def connections():
    return len(client.client_list()) - 1  # without who asks


def tell(**seen):
    print(json.dumps(seen), flush=True)


def messages(channel_id):
    from pushserver.messages import START
    from pushserver.reach import run_sync
    from pushserver.stores import get_store

    async def read():
        return (await get_store().read(channel_id, after=START)).messages

    return [json.loads(message.body) for message in run_sync(read, None)]


def send_two():
    # The second waits for the pause of the first one's channel.
    send_update("news", 1)
    send_update("news", 2)


if __name__ == "__main__":
"""


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def run(server: RedisServer, backend: str, body: str, **options: Any) -> Any:
    """Run a plain process of a project and return what it tells."""
    server.command("FLUSHALL")
    limits = {"type": "redis", "url": server.url, "max_messages": 0}
    values = settings(server, backend, **{"store": limits, **options})
    script = PROLOGUE.format(settings=values, port=server.port)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script + textwrap.indent(body, "    "))
        file.flush()
        done = subprocess.run(
            [sys.executable, "-W", "ignore", file.name],
            cwd=ROOT,
            env=environment(ROOT, {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    *_, last = done.stdout.splitlines()
    return json.loads(last)


@BOTH
def test_a_thousand_sends_take_one_loop_and_two_connections(
    server: RedisServer, backend: str
) -> None:
    """From eight threads, and each thread's updates stay in order."""
    told = run(
        server,
        backend,
        """
loops = []
make = asyncio.new_event_loop
asyncio.new_event_loop = asyncio.events.new_event_loop = lambda: (
    loops.append(1) or make()
)

def work(thread):
    for n in range(125):
        send_update("news", {"thread": thread, "n": n})

before = connections()
threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
for thread in threads:
    thread.start()
most = 0
while any(thread.is_alive() for thread in threads):
    most = max(most, connections() - before)
most = max(most, connections() - before)
got = messages("news")
tell(
    loops=len(loops),
    most=most,
    got=len(got),
    ordered=all(
        [m["n"] for m in got if m["thread"] == i] == list(range(125)) for i in range(8)
    ),
    threads=threading.active_count(),
)
""",
    )
    assert told["loops"] == 1
    assert 1 <= told["most"] <= 2
    assert told["got"] == 1000
    assert told["ordered"]
    assert told["threads"] == 2


@BOTH
def test_prefork_workers_send_on_their_own(server: RedisServer, backend: str) -> None:
    """The parent had sent before it forked, and goes on; nobody shares a socket."""
    told = run(
        server,
        backend,
        """
send_update("news", "parent before")
context = multiprocessing.get_context("fork")

def work(worker):
    for n in range(20):
        send_update("news", [worker, n])
    return os.getpid()

with context.Pool(3) as pool:
    pids = pool.map(work, range(6), chunksize=1)
    send_update("news", "parent meanwhile")
send_update("news", "parent after")
got = messages("news")
tell(
    workers=len(set(pids) - {os.getpid()}),
    parent=[m for m in got if isinstance(m, str)],
    ordered=all(
        [m[1] for m in got if m[0] == i] == list(range(20)) for i in range(6)
    ),
)
""",
    )
    assert 1 <= told["workers"] <= 3
    assert told["parent"] == ["parent before", "parent meanwhile", "parent after"]
    assert told["ordered"]


def test_a_child_forked_while_another_thread_starts_the_publisher(
    server: RedisServer,
) -> None:
    """The lock that the other thread held is not held for ever in the child."""
    told = run(
        server,
        PUBSUB,
        """
with publisher._lock:
    pid = os.fork()
    if pid == 0:
        send_update("news", "child")
        sys.exit()  # flushes as any other process
_, status = os.waitpid(pid, 0)
tell(status=status, got=messages("news"))
""",
    )
    assert told == {"status": 0, "got": ["child"]}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_wakeups_are_flushed_at_the_exit_of_a_worker(
    server: RedisServer, method: str
) -> None:
    """A child of multiprocessing ends without atexit; its wake-ups go out first."""
    told = run(
        server,
        PUBSUB,
        """
pubsub = client.pubsub()
pubsub.psubscribe("*pushserver*")
assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
child = multiprocessing.get_context("METHOD").Process(target=send_two)
child.start()
child.join()
heard = 0
while message := pubsub.get_message(timeout=1):
    heard += message["data"].count(b"pushserver.wakeup")
tell(heard=heard, last=messages("news")[-1], code=child.exitcode)
""".replace("METHOD", method),
    )
    assert told == {"heard": 2, "last": 2, "code": 0}


def test_wakeups_are_flushed_at_exit(server: RedisServer) -> None:
    """Of a process that ends as usual, right after its sends."""
    told = run(
        server,
        PUBSUB,
        """
import subprocess

if len(sys.argv) > 1:
    send_two()
    sys.exit()
pubsub = client.pubsub()
pubsub.psubscribe("*pushserver*")
assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
subprocess.run([*sys.orig_argv, "child"], check=True)
heard = 0
while message := pubsub.get_message(timeout=1):
    heard += message["data"].count(b"pushserver.wakeup")
tell(heard=heard)
""",
    )
    assert told == {"heard": 2}


@BOTH
def test_a_dead_connection_is_replaced_on_the_next_call(
    server: RedisServer, backend: str
) -> None:
    """Redis has cut an idle client: the next send does not notice."""
    told = run(
        server,
        backend,
        """
send_update("news", 1)
while connections() < 2:
    pass
own = client.client_id()
for other in client.client_list():
    if int(other["id"]) != own:
        client.client_kill_filter(_id=other["id"])
sent = [send_update("news", n).id for n in (2, 3)]
tell(got=messages("news"), connections=connections())
""",
    )
    assert told["got"] == [1, 2, 3]
    assert told["connections"] <= 2


def test_a_process_ends_although_redis_is_silent() -> None:
    """Within seconds: what is stored is found without its wake-up."""
    with RedisServer() as server:
        told = run(
            server,
            CORE,
            """
import signal, time

send_update("news", 1)
os.kill(client.info("server")["process_id"], signal.SIGSTOP)
started = time.monotonic()
try:
    send_update("news", 2)
except Exception as error:
    name = type(error).__name__
publisher.close()
tell(name=name, took=time.monotonic() - started)
""",
        )
        server.resume()
    assert told["name"] == "StoreUnavailable"
    assert told["took"] < 8


def test_the_next_send_after_close_starts_another(server: RedisServer) -> None:
    """Nothing is left of the first one: no thread, no connection."""
    told = run(
        server,
        PUBSUB,
        """
seen = []
for n in range(2):
    send_update("news", n)
    publisher.close()
    seen.append([threading.active_count(), connections()])
publisher.close()
tell(seen=seen, got=messages("news"))
""",
    )
    assert told["got"] == [0, 1]
    assert [threads for threads, _ in told["seen"]] == [1, 1]
    assert told["seen"][0] == told["seen"][1]


@override_settings(
    CHANNEL_LAYERS={"default": {"BACKEND": "nowhere.Layer"}},
    PUSH_SERVER={"store": {"type": "tests.engine.test_upkeep.Shared"}},
)
def test_a_layer_that_cannot_be_built_fails_no_send(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The message is stored and found later; the log has the reason."""
    publisher.close()

    async def append() -> Message:
        return await get_store().append("news", body=b"hello")

    assert run_sync(append, None).body == b"hello"
    publisher.close()
    [record] = caplog.records
    assert record.exc_info
    assert isinstance(record.exc_info[1], InvalidChannelLayerError)
