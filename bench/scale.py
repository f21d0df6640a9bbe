"""How it grows: readers, channels, processes. ``python -m bench.scale``

Writes bench/results/scale.json, from which ``python -m bench.sizing`` prints what a
number of readers needs; each figure with its spread over three runs, ours and the bare
application in turns. Bounded by the limit of open files: client and server each have a
socket for a reader. Takes about eight minutes.
"""

import contextlib
import json
import socket
from collections.abc import Iterable, Iterator, Sequence

from bench.__main__ import CORE, PUBSUB, RESULTS, RUNS, entry, machine
from bench.client import Load, Result, Target, allow_many_connections, cpu_ns, warm
from bench.servers import Candidate, running
from tests.redis_server import RedisServer

READERS = (100, 1000, 5000, 10_000)
COUNTED = 4.0  # seconds
CHANNELS = (1, 10, 100, 1000, 10_000)

Line = dict[str, object]


def main() -> None:
    most = allow_many_connections() - 500
    RESULTS.mkdir(exist_ok=True)
    found = {
        "machine": machine(),
        "processes": processes(),
        "commands": commands(),
        "channels": by_channels([n for n in CHANNELS if n < most]),
        "readers": [
            line
            for server in ("uvicorn", "daphne")
            for line in growth(server, [n for n in READERS if n < most])
        ],
    }
    (RESULTS / "scale.json").write_text(json.dumps(found, indent=1) + "\n")


def growth(server: str, sizes: Sequence[int]) -> list[Line]:
    """More and more readers of one channel, in a process that began with none.

    At each size: memory, idle CPU, and CPU for a message to all.
    """
    candidates = [
        Candidate(application=name, server=server) for name in ("ours", "ceiling")
    ]
    found: dict[tuple[Candidate, int], list[Result]] = {}
    for _ in range(RUNS):
        for candidate in candidates:
            # In processes of their own: a burst leaves memory that readers use again,
            # and who has waited for 20 seconds asks again, which is not idle.
            waiting = {}
            for group in (sizes[:-1], sizes[-1:]):
                with running(candidate) as target:
                    waiting |= idle(target, group)
            with running(candidate) as target, Load(target) as load:
                for readers in sizes:
                    messages = min(20, max(1, 4000 // readers))
                    result = load.burst(readers=readers, messages=messages)
                    result.more = waiting[readers]
                    found.setdefault((candidate, readers), []).append(result)
                    say(f"{candidate.label}, {readers} readers", result)
    return [entry(candidate, results) for (candidate, _), results in found.items()]


def idle(target: Target, sizes: Sequence[int]) -> dict[int, dict[str, float]]:
    """What readers cost that only wait."""
    base = warm(target)
    found = {}
    with Load(target) as load:
        for readers in sizes:
            # Daphne looks at all its connections each second or two.
            result = load.idle(readers=readers, seconds=3.0, base=base)
            found[readers] = {**result.more, "base_bytes": float(base)}
    return found


def by_channels(numbers: Iterable[int]) -> list[Line]:
    """A thousand readers of few channels, or as many channels as there are readers."""
    candidate = Candidate(application="ours", server="uvicorn")
    found: dict[int, list[Result]] = {}
    for _ in range(RUNS):
        with running(candidate) as target:
            for channels in numbers:
                readers = max(1000, channels)
                with Load(target) as load:
                    result = load.burst(readers=readers, messages=1, channels=channels)
                found.setdefault(channels, []).append(result)
                say(f"{channels} channels", result)
    return [
        {**entry(candidate, results), "channels": channels}
        for channels, results in found.items()
    ]


def together(targets: Sequence[Target]) -> Target:
    """Several processes as one server: readers go to all of them."""
    return Target(
        ports=tuple(port for target in targets for port in target.ports),
        pids=tuple(pid for target in targets for pid in target.pids),
    )


def processes() -> list[Line]:
    """A thousand readers over Redis, in one process and in two."""
    found: dict[int, list[Result]] = {1: [], 2: []}
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        candidate = Candidate(
            application="ours", server="uvicorn", layer=PUBSUB, redis=redis.url
        )
        targets = [stack.enter_context(running(candidate)) for _ in range(2)]
        for _ in range(RUNS):
            for number, target in ((1, targets[0]), (2, together(targets))):
                with Load(target) as load:
                    result = load.burst(readers=1000, messages=4)
                # Of many messages at full speed, as Redis has other work, too.
                before = cpu_ns(redis.process.pid)
                with Load(target) as load:
                    load.flood(channels=10, each=20, messages=100)
                spent = cpu_ns(redis.process.pid) - before
                result.more["redis_us_per_message"] = spent / 1000 / (10 * 100)
                found[number].append(result)
                say(f"{number} processes", result)
    return [
        {**entry(candidate, results), "processes": number}
        for number, results in found.items()
    ]


def commands() -> list[Line]:
    """What each message costs Redis, in commands, with a thousand polls a second.

    Without those that a process sends each second whatever happens.
    """
    found: list[Line] = []
    for layer in (PUBSUB, CORE):
        with RedisServer() as redis, contextlib.ExitStack() as stack:
            candidate = Candidate(
                application="ours", server="uvicorn", layer=layer, redis=redis.url
            )
            targets = [stack.enter_context(running(candidate)) for _ in range(2)]
            for number, target in ((1, targets[0]), (2, together(targets))):
                with Load(target) as load:
                    load.hold(1, 100)
                    with watched(redis) as unasked:
                        load.run(COUNTED)
                    with watched(redis) as seen:
                        result = load.paced(
                            readers=100, channels=1, per_second=1000, seconds=COUNTED
                        )
                each = (len(seen) - len(unasked)) / result.messages
                found.append(
                    {"layer": layer.split(".")[-2], "processes": number, "each": each}
                )
                print(f"  {layer}, {number} processes: {each:.2f} commands", flush=True)
    return found


@contextlib.contextmanager
def watched(redis: RedisServer) -> Iterator[list[bytes]]:
    """Give the commands that clients send meanwhile; without those of scripts."""
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


def say(what: str, result: Result) -> None:
    print(f"  {what}: {result.cpu_us:.0f} us, {result.more}", flush=True)


if __name__ == "__main__":
    main()
