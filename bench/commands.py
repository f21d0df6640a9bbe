"""What a message costs Redis, in commands, by their names; for `bench.scale`.

Counted by Redis's MONITOR, in a process that publishes to its readers and with a
second one that has as many: what that one adds is the price of a process. A window in
which nothing is sent shows what they send all the time.
"""

import contextlib
import re
import socket
from collections import Counter
from collections.abc import Iterable, Iterator

from bench.client import Load, Target
from bench.servers import Candidate, running, together
from pushserver.stores.redis import scripts
from tests.redis_server import RedisServer
from tests.sharing import CORE, PUBSUB

__all__ = ["commands", "named"]

READERS = 4
PER_SECOND = 20  # messages: far enough apart that each has a wake-up of its own
SECONDS = 10.0
# As many a second, however many messages there are: by timers (`upkeep`), and what a
# publisher asks ten times a second at most (`counts`).
TIMED = {"CHANGED", "HEADS", "HELD", "REPORT"}
COMMAND = re.compile(rb'\] "(\w+)"(?: "([0-9a-f]{40})" )?')
OURS = {
    getattr(scripts, name).digest: name for name in scripts.__all__ if name.isupper()
}

Line = dict[str, object]


def commands() -> list[Line]:
    """Count for both layers, with one process and with two."""
    found: list[Line] = []
    for layer in (PUBSUB, CORE):
        with RedisServer() as redis, contextlib.ExitStack() as stack:
            candidate = Candidate(
                application="ours", server="uvicorn", layer=layer, redis=redis.url
            )
            targets = [stack.enter_context(running(candidate)) for _ in range(2)]
            for number, target in ((1, targets[0]), (2, together(targets))):
                line = {"layer": layer.split(".")[-2], "processes": number}
                found.append({**line, **counted(redis, target)})
    return found


def counted(redis: RedisServer, target: Target) -> Line:
    """By name: how many a second while nothing is sent, and how many a message."""
    with Load(target) as load:
        load.hold(1, READERS)
        with watched(redis) as idle:
            load.run(SECONDS)
        with watched(redis) as busy:
            result = load.paced(
                readers=READERS,
                channels=1,
                per_second=READERS * PER_SECOND,
                seconds=SECONDS,
            )
    per_message = {
        name: count / result.messages
        for name, count in named(busy).items()
        if name not in TIMED
    }
    return {
        "idle": {name: count / SECONDS for name, count in named(idle).items()},
        "each": per_message,
    }


@contextlib.contextmanager
def watched(redis: RedisServer) -> Iterator[list[bytes]]:
    """Give what clients send meanwhile, a line each; without what scripts do."""
    seen: list[bytes] = []
    with socket.create_connection(("127.0.0.1", redis.port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        monitor.recv(5)  # +OK
        yield seen
        monitor.settimeout(0.2)
        data = b""
        with contextlib.suppress(TimeoutError):
            while part := monitor.recv(1 << 20):
                data += part
    seen += [line for line in data.splitlines() if b" lua] " not in line]


def named(lines: Iterable[bytes]) -> Counter[str]:
    """Count commands by name, our scripts by ours."""
    found: Counter[str] = Counter()
    for line in lines:
        if match := COMMAND.search(line):
            script = OURS.get((match[2] or b"").decode())
            found[script or match[1].decode().upper()] += 1
    return found
