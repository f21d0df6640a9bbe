"""When a message passes by: from its publisher to the last of its readers."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from urllib.request import urlopen

from bench.servers import Candidate, running
from bench.work import Paced

__all__ = ["by_step", "timelines"]

# What is noted (bench.apps.timed), in its order; "read" is noted for each reader.
STEPS = {
    "called": "the application is called with it",
    "stored": "it is stored",
    "answered": "its publisher is answered",
    "fan-out": "the fan-out begins",
    "first": "the first reader's answer is written",
    "half": "half of them are",
    "last": "the last one is",
    "client": "a reader has it",
    "collected 0": "the collector stops everything for: its young objects",
    "collected 1": "the middle ones",
    "collected 2": "all",
}

Times = dict[str, tuple[float, float]]  # median and p99


def timelines(candidates: Sequence[Candidate], work: Paced) -> Iterator[str]:
    """A table with a column for each application."""
    columns = [timeline(candidate, work) for candidate in candidates]
    yield "| us after it was sent, median (p99) | bare ASGI | django-pushserver |"
    yield "| --- | ---: | ---: |"
    for step, words in STEPS.items():
        cells = [
            "{:.0f} ({:.0f})".format(*column[step]) if step in column else ""
            for column in columns
        ]
        if any(cells):
            yield f"| {words} | {' | '.join(cells)} |"


def timeline(candidate: Candidate, work: Paced) -> Times:
    with running(candidate) as target, work.begun(target) as go:
        address = f"http://127.0.0.1:{target.ports[0]}/watched"
        urlopen(address).read()  # from here on
        result = go()
        found = by_step(json.loads(urlopen(address).read()))
    found["client"] = (result.p50_ms * 1000, result.p99_ms * 1000)
    return found


def by_step(messages: Sequence[Sequence[tuple[str, float]]]) -> Times:
    """Sum up what was noted; of a message's readers the first, middle and last."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for notes in messages:
        read = sorted(at for what, at in notes if what == "read")
        for what, at in notes:
            found[what].append(at)
        for step, position in (("first", 0), ("half", len(read) // 2), ("last", -1)):
            if read:
                found[step].append(read[position])
    return {step: spread(times) for step, times in found.items()}


def spread(times: list[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)]
