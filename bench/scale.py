"""How it grows: readers, channels, processes. ``python -m bench.scale``

Writes bench/results/scale.json, from which ``python -m bench.sizing`` prints what a
number of readers needs. Bounded by the limit of open files: client and server each
have a socket for a reader.
"""

import contextlib
import json
import resource

from bench.__main__ import PUBSUB, RESULTS, entry, machine
from bench.client import Load, Result, Target, cpu_ns, resident
from bench.servers import Candidate, running
from tests.redis_server import RedisServer

# Daphne's backlog is 50 connections: 10,000 take minutes until they are in.
READERS = {"uvicorn": (100, 1000, 5000, 10_000), "daphne": (100, 1000, 5000)}
CHANNELS = (1, 10, 100, 1000, 10_000)
RUNS = 3

Line = dict[str, object]


def main() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = hard - 500
    RESULTS.mkdir(exist_ok=True)
    found: dict[str, object] = {"machine": machine()}
    found["processes"] = processes()
    found["channels"] = [by_channels(channels) for channels in CHANNELS]
    found["readers"] = [
        growth(server, readers)
        for server in ("uvicorn", "daphne")
        for readers in READERS[server]
        if readers < most
    ]
    (RESULTS / "scale.json").write_text(json.dumps(found, indent=1) + "\n")


def growth(server: str, readers: int) -> Line:
    """Readers of one channel: memory, idle CPU, and CPU for a message to all."""
    candidate = Candidate(application="ours", server=server)
    results: list[Result] = []
    for _ in range(RUNS if readers < 5000 else 1):
        with running(candidate) as target:
            base = resident(*target.pids)
            with Load(target) as load:
                idle = load.idle(readers=readers, seconds=2)
            with Load(target) as load:
                result = load.burst(readers=readers, messages=2)
        result.more = {**idle.more, "base_bytes": float(base)}
        results.append(result)
        print(f"  {readers} on {server}: {result.cpu_us:.0f} us, {result.more}")
    return entry(candidate, results)


def by_channels(channels: int) -> Line:
    """A thousand readers of few channels, or as many channels as there are readers."""
    candidate = Candidate(application="ours", server="uvicorn")
    readers = max(1000, channels)
    results = []
    with running(candidate) as target:
        for _ in range(2):
            with Load(target) as load:
                results.append(
                    load.burst(readers=readers, messages=1, channels=channels)
                )
            print(f"  {channels} channels: {results[-1].cpu_us:.0f} us")
    return {**entry(candidate, results), "channels": channels}


def processes() -> list[Line]:
    """A thousand readers over Redis, in one process and in two."""
    lines = []
    with RedisServer() as redis:
        candidate = Candidate(
            application="ours", server="uvicorn", layer=PUBSUB, redis=redis.url
        )
        with contextlib.ExitStack() as stack:
            targets = [stack.enter_context(running(candidate)) for _ in range(2)]
            both = Target(
                ports=targets[0].ports + targets[1].ports,
                pids=targets[0].pids + targets[1].pids,
            )
            found: dict[int, list[Result]] = {1: [], 2: []}
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
                    print(f"  {number} processes: {result.cpu_us:.0f} us")
    for number, results in found.items():
        lines.append({**entry(candidate, results), "processes": number})
    return lines


if __name__ == "__main__":
    main()
