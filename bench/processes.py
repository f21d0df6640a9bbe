"""What a second process over Redis costs, for `bench.scale`.

A thousand readers of one process against five hundred in each of two: pairs of short
runs, in turns and in either order, and each pair a ratio of its own; so what else the
machine does, and what a process has been through, hits both alike. Beside them the bare
application, which has no Redis, in two processes that are told at the same moment: what
two that work at once cost anyhow. And what a message costs a second process for itself,
whose only reader there is counted as a delivery.
"""

import contextlib
from collections.abc import Sequence

from bench.__main__ import entry
from bench.client import Load, Result, Target, cpu_ns
from bench.servers import Candidate, running, together
from tests.redis_server import RedisServer
from tests.sharing import PUBSUB

__all__ = ["processes"]

PAIRS = 5
READERS = 1000

Line = dict[str, object]


def processes() -> list[Line]:
    """A line for one process and one for two, of ours and of the bare application."""
    with RedisServer() as redis, contextlib.ExitStack() as stack:
        candidates = (
            Candidate(
                application="ours", server="uvicorn", layer=PUBSUB, redis=redis.url
            ),
            Candidate(application="ceiling", server="uvicorn"),
        )
        targets = {
            each: [stack.enter_context(running(each)) for _ in range(2)]
            for each in candidates
        }
        found: dict[tuple[Candidate, int], list[Result]] = {}
        for turn in range(PAIRS):
            for candidate, two in targets.items():
                results = pair(two, turn, shared=bool(candidate.redis))
                if candidate.redis:
                    for number, target in ((1, two[0]), (2, together(two))):
                        more = results[number].more
                        more["redis_us_per_message"] = of_redis(redis, target)
                    spent = for_itself(two, results[2].cpu_us)
                    results[2].more["message_us"] = spent
                for number, result in sorted(results.items()):
                    found.setdefault((candidate, number), []).append(result)
                    about = f"{candidate.application}, {number} processes"
                    print(
                        f"  {about}: {result.cpu_us:.0f} us, {result.more}", flush=True
                    )
    return [
        {**entry(candidate, results), "processes": number}
        for (candidate, number), results in found.items()
    ]


def pair(targets: Sequence[Target], turn: int, *, shared: bool) -> dict[int, Result]:
    """Measure one process and both, which share their channels or have one each."""
    both = {1: targets[turn % 2], 2: together(targets)}
    results = {}
    for number in (1, 2) if turn // 2 % 2 else (2, 1):
        with Load(both[number]) as load:
            channels = 1 if shared else number
            results[number] = load.burst(readers=READERS, messages=4, channels=channels)
    results[2].more["against_one"] = results[2].cpu_us / results[1].cpu_us
    return results


def for_itself(targets: Sequence[Target], delivery: float) -> float:
    """What a message costs the process that did not publish it, beside deliveries."""
    with Load(together(targets)) as load:
        load.hold(1, 2)
        before = cpu_ns(*targets[1].pids)
        result = load.paced(readers=2, channels=1, per_second=100, seconds=2.0)
        spent = cpu_ns(*targets[1].pids) - before
    return spent / 1000 / result.messages - delivery


def of_redis(redis: RedisServer, target: Target) -> float:
    """What a message costs Redis: of many at full speed, as it has other work, too."""
    before = cpu_ns(redis.process.pid)
    with Load(target) as load:
        load.flood(channels=10, each=20, messages=100)
    return (cpu_ns(redis.process.pid) - before) / 1000 / (10 * 100)
