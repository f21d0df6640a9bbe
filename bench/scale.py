"""How it grows: readers, channels, processes. ``python -m bench.scale``

Writes bench/results/scale.json, from which ``python -m bench.sizing`` prints what a
number of readers needs; each figure with its spread over three runs, ours and the bare
application in turns. Bounded by the limit of open files: client and server each have a
socket for a reader. Takes about seven minutes.
"""

import contextlib
import json
from collections.abc import Iterable, Sequence

from bench.__main__ import PUBSUB, RESULTS, RUNS, entry, machine
from bench.client import Load, Result, Target, allow_many_connections, cpu_ns, warm
from bench.servers import Candidate, running
from tests.redis_server import RedisServer

READERS = (100, 1000, 5000, 10_000)
CHANNELS = (1, 10, 100, 1000, 10_000)

Line = dict[str, object]


def main() -> None:
    most = allow_many_connections() - 500
    RESULTS.mkdir(exist_ok=True)
    found = {
        "machine": machine(),
        "processes": processes(),
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
            # In a process of its own: a burst leaves memory that readers use again.
            with running(candidate) as target:
                waiting = idle(target, sizes)
            with running(candidate) as target, Load(target) as load:
                for readers in sizes:
                    result = load.burst(readers=readers, messages=2)
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
            seconds = 2.0 if readers == sizes[-1] else 0.5
            result = load.idle(readers=readers, seconds=seconds, base=base)
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


def processes() -> list[Line]:
    """A thousand readers over Redis, in one process and in two."""
    found: dict[int, list[Result]] = {1: [], 2: []}
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        candidate = Candidate(
            application="ours", server="uvicorn", layer=PUBSUB, redis=redis.url
        )
        targets = [stack.enter_context(running(candidate)) for _ in range(2)]
        both = Target(
            ports=targets[0].ports + targets[1].ports,
            pids=targets[0].pids + targets[1].pids,
        )
        for _ in range(RUNS):
            for number, target in ((1, targets[0]), (2, both)):
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


def say(what: str, result: Result) -> None:
    print(f"  {what}: {result.cpu_us:.0f} us, {result.more}", flush=True)


if __name__ == "__main__":
    main()
