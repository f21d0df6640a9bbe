"""How it grows: readers, channels, processes. ``python -m bench.scale``

Writes bench/results/scale.json, from which ``python -m bench.sizing`` prints what a
number of readers needs; each figure with its spread over three runs, ours and the bare
application in turns. Bounded by the limit of open files: client and server each have a
socket for a reader. Takes about ten minutes; ``python -m bench.scale processes
commands`` measures only these.
"""

import argparse
import json
from collections.abc import Sequence

from bench.__main__ import RESULTS, RUNS, entry, machine
from bench.client import Load, Result, Target, allow_many_connections, warm
from bench.commands import commands
from bench.processes import processes
from bench.servers import Candidate, running

READERS = (100, 1000, 5000, 10_000)
CHANNELS = (1, 10, 100, 1000, 10_000)

Line = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", help=" ".join(MEASUREMENTS))
    arguments = parser.parse_args()
    allow_many_connections()
    place = RESULTS / "scale.json"
    found = json.loads(place.read_text()) if arguments.what else {}
    found["machine"] = machine()
    for name, measurement in MEASUREMENTS.items():
        if not arguments.what or name in arguments.what:
            found[name] = measurement()
    place.write_text(json.dumps(found, indent=1) + "\n")


def by_readers() -> list[Line]:
    sizes = [n for n in READERS if n < allow_many_connections() - 500]
    return [line for server in ("uvicorn", "daphne") for line in growth(server, sizes)]


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
            waiting: dict[int, dict[str, float]] = {}
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


def by_channels() -> list[Line]:
    """A thousand readers of few channels, or as many channels as there are readers."""
    candidate = Candidate(application="ours", server="uvicorn")
    numbers = [n for n in CHANNELS if n < allow_many_connections() - 500]
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


def say(what: str, result: Result) -> None:
    print(f"  {what}: {result.cpu_us:.0f} us, {result.more}", flush=True)


MEASUREMENTS = {
    "processes": processes,
    "commands": commands,
    "channels": by_channels,
    "readers": by_readers,
}

if __name__ == "__main__":
    main()
