"""Everything that is compared, side by side: ``make bench``.

What belongs together runs together: its servers are started at once and measured in
turns, three times, so that what else the machine does hits all of them alike. Writes
bench/results/<what>.json, the tables and plots in docs/performance, and prints the
goals. ``python -m bench hold flood`` measures only these.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

from bench import report
from bench.client import Load, Result, Target, allow_many_connections
from bench.servers import NCHAN, OWN, SERVERS, Candidate, running
from tests.redis_server import RedisServer

RESULTS = Path(__file__).with_name("results")
RUNS = 3
MEMORY = "channels.layers.InMemoryChannelLayer"
CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"

Measure = Callable[[Target], Result]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", nargs="*", help="hold flood typical redis send paced idle"
    )
    arguments = parser.parse_args()
    allow_many_connections()
    RESULTS.mkdir(exist_ok=True)
    for name, measurement in MEASUREMENTS.items():
        if not arguments.what or name in arguments.what:
            started = time.monotonic()
            found = {"machine": machine(), "runs": measurement()}
            (RESULTS / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    report.write(RESULTS)


def machine() -> dict[str, str]:
    """What the figures are of."""
    names = ("django-pushserver", "django", "daphne", "uvicorn", "uvloop", "granian",
             "django-eventstream", "channels")  # fmt: skip
    found = {"python": platform.python_version(), "date": time.strftime("%Y-%m-%d")}
    found["system"] = f"{platform.system()}, {os.cpu_count()} cores"
    for name in names:
        with contextlib.suppress(ModuleNotFoundError):
            found[name] = version(name)
    return found


def compared(
    candidates: Iterable[Candidate], measure: Measure, *, runs: int = RUNS
) -> list[dict[str, object]]:
    """Measure the candidates in turns, on servers that all run at the same time."""
    candidates = list(candidates)
    found: dict[Candidate, list[Result]] = {each: [] for each in candidates}
    with contextlib.ExitStack() as stack:
        targets = {each: stack.enter_context(running(each)) for each in candidates}
        for _ in range(runs):
            for each, target in targets.items():
                result = measure(target)
                found[each].append(result)
                spent = f"{result.cpu_us:.0f} us, {result.per_second:.0f}/s"
                print(f"  {each.label}: {spent}", flush=True)
    return [entry(each, results) for each, results in found.items()]


def entry(candidate: Candidate, results: list[Result]) -> dict[str, object]:
    """One line of the results: medians, and the least and most of each figure."""
    figures = {
        name: spread(getattr(result, name) for result in results)
        for name in ("cpu_us", "per_second", "last_ms", "p50_ms", "p99_ms")
    }
    for name in results[0].more:
        figures[name] = spread(result.more[name] for result in results)
    return {
        "label": candidate.label,
        "application": candidate.application,
        "server": candidate.server,
        "transport": candidate.transport,
        "layer": candidate.layer.split(".")[-2] if candidate.layer else "",
        "readers": results[0].readers,
        "expected": results[0].expected,
        "runs": len(results),
        "lost": max(result.lost for result in results),
        "doubled": max(result.doubled for result in results),
        "errors": max(result.errors for result in results),
        "limited": any(result.limited for result in results),
        **figures,
    }


def spread(values: Iterable[float]) -> list[float]:
    """The median, the least and the most."""
    ordered = sorted(values)
    return [statistics.median(ordered), ordered[0], ordered[-1]]


def burst(target: Target) -> Result:
    with Load(target) as load:
        # More to streams, which take a fifth of the time: else a single walk of the
        # collector, 15 ms after a thousand readers have come, is a quarter of it all.
        messages = 4 if target.transport == "poll" else 16
        return load.burst(readers=1000, messages=messages)


def short_burst(target: Target) -> Result:
    with Load(target) as load:
        return load.burst(readers=1000, messages=2)


def full_speed(target: Target) -> Result:
    with Load(target) as load:
        messages = 12 if target.transport == "poll" else 36
        return load.flood(channels=50, each=10, messages=messages)


def steady(target: Target) -> Result:
    with Load(target) as load:
        return load.paced(readers=100, channels=10, per_second=1000, seconds=4)


def waiting(target: Target) -> Result:
    with Load(target) as load:
        return load.idle(readers=2000, seconds=1)


def both(server: str, transport: str) -> list[Candidate]:
    return [
        Candidate(application=application, server=server, transport=transport)
        for application in ("ceiling", "ours")
    ]


def hold() -> list[dict[str, object]]:
    """One message to a thousand readers of one channel."""
    found: list[dict[str, object]] = []
    for transport in ("poll", "stream", "socket"):
        for server in SERVERS:
            candidates = both(server, transport)
            if server == "daphne":
                candidates.append(
                    Candidate(application="ours", server=OWN, transport=transport)
                )
            if transport == "stream" and server != "granian":
                peer = Candidate(
                    application="eventstream", server=server, transport="stream"
                )
                candidates.append(peer)
            if transport != "socket" and server == "granian":
                peer = Candidate(application="", server=NCHAN, transport=transport)
                candidates.append(peer)
            found += compared(candidates, burst)
    return found


def flood() -> list[dict[str, object]]:
    """Fifty channels with ten readers each, at full speed."""
    found: list[dict[str, object]] = []
    for server in SERVERS:
        candidates = [*both(server, "poll"), *both(server, "stream")]
        candidates.append(
            Candidate(application="ours", server=server, transport="many")
        )
        if server == "daphne":
            candidates += [
                Candidate(application="ours", server=OWN, transport=transport)
                for transport in ("poll", "stream", "many")
            ]
        if server == "granian":
            candidates += [
                Candidate(application="", server=NCHAN, transport=transport)
                for transport in ("poll", "stream")
            ]
        else:
            candidates.append(
                Candidate(application="eventstream", server=server, transport="stream")
            )
        found += compared(candidates, full_speed)
    return found


def typical() -> list[dict[str, object]]:
    """The consumer that everybody writes, on Daphne, with each layer."""
    with RedisServer() as redis:
        candidates = [
            Candidate(application="typical", server="daphne", layer=layer,
                      redis=redis.url if layer is not MEMORY else "")
            for layer in (MEMORY, PUBSUB, CORE)
        ]  # fmt: skip
        own = Candidate(application="ours", server=OWN)
        return compared([*both("daphne", "poll"), own, *candidates], short_burst)


def redis() -> list[dict[str, object]]:
    """Our own with Redis beside it with the memory store."""
    with RedisServer() as redis:
        ours = [
            Candidate(application="ours", server=server, layer=layer,
                      redis=redis.url if layer else "")
            for server in ("daphne", "uvicorn")
            for layer in ("", PUBSUB, CORE)
        ]  # fmt: skip
        return compared(ours, burst)


def sends() -> list[dict[str, object]]:
    """What `send_update` costs a plain process, against Channels' own way."""
    found: list[dict[str, object]] = []
    for layer in ("pubsub", "core"):
        command = [sys.executable, "-m", "bench.send", layer]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            for _ in range(RUNS)
        ]
        print(f"  {runs[-1]}", flush=True)
        names = [name for name in runs[0] if name != "layer"]
        figures = {name: spread(run[name] for run in runs) for name in names}
        found.append({"layer": layer, **figures})
    return found


def paced() -> list[dict[str, object]]:
    """A thousand deliveries a second: what a reader waits."""
    return compared(both("uvicorn", "poll"), steady)


def idle() -> list[dict[str, object]]:
    """Two thousand that wait: memory, and what the server does meanwhile."""
    candidates = [each for server in SERVERS for each in both(server, "poll")]
    candidates.insert(2, Candidate(application="ours", server=OWN))
    peers = [
        Candidate(application="", server=NCHAN),
        Candidate(application="eventstream", server="uvicorn", transport="stream"),
    ]
    found: list[dict[str, object]] = []
    for each in [*candidates, *peers]:
        # Each run on a server of its own: memory that was freed is used again.
        results = []
        for _ in range(RUNS):
            with running(each) as target:
                results.append(waiting(target))
        found.append(entry(each, results))
        print(f"  {each.label}: {results[-1].more}", flush=True)
    return found


MEASUREMENTS = {
    "hold": hold,
    "flood": flood,
    "typical": typical,
    "redis": redis,
    "send": sends,
    "paced": paced,
    "idle": idle,
}

if __name__ == "__main__":
    main()
