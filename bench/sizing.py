"""What a number of readers needs, from the measured JSON. ``python -m bench.sizing``

Prints the tables of docs/deployment/sizing.md; ``--write`` puts them there. Each number
comes from bench/results/scale.json or is named as an assumption.
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measured import Entry, Results

__all__ = ["text"]

RESULTS = Path(__file__).with_name("results")
PAGE = RESULTS.parents[1] / "docs" / "deployment" / "sizing.md"
BEGIN, END = "<!-- bench.sizing -->", "<!-- /bench.sizing -->"

SERVERS = ("uvicorn", "daphne")
SIZES = (10_000, 1_000_000, 10_000_000)
# Assumptions, printed with the tables.
EACH = 1 / 60  # messages a second that each reader gets
MESSAGES = 10  # different messages a second, in all
RETURN = 22.5  # seconds until a poll without news ends and comes back, on average
BUSY = 0.5  # of a core, so that there is room for bursts
HELD = 10_000  # connections a process: the most that was measured
CONNECTIONS = 28_000  # from one nginx address to one process's address
REDIS_BUSY = 0.5  # of Redis's one core


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The figures that the sizes follow from."""

    server: str
    delivery: float  # seconds of CPU
    reader: float  # bytes
    base: float  # bytes of a process
    redis: float  # seconds of Redis's CPU for a message and process


def measured(results: Results, server: str) -> Measured:
    largest = results.growth("ours", server)[-1]
    return Measured(
        server=server,
        delivery=largest["cpu_us"][0] / 1e6,
        reader=largest["bytes_per_reader"][0],
        base=largest["base_bytes"][0],
        redis=results.processes("ours")[2]["redis_us_per_message"][0] / 2 / 1e6,
    )


def row(figures: Measured, readers: int) -> str:
    """One size: how much of everything."""
    # A poll that ends without news costs about what a delivery does.
    answers = readers * (EACH + 1 / RETURN)
    cores = answers * figures.delivery
    processes = max(2, math.ceil(cores / BUSY), math.ceil(readers / HELD))
    memory = processes * figures.base + readers * figures.reader
    # In the worst case each process has a reader of each channel.
    redis = MESSAGES * processes * figures.redis
    return (
        f"| {readers:,} | {figures.server} | {answers:,.0f} | {cores:,.1f} | "
        f"{processes:,} | {memory / 1e9:,.1f} GB | {redis:.1%} of a core | "
        f"{breaks_first(readers, processes, redis)} |"
    )


def breaks_first(readers: int, processes: int, redis: float) -> str:
    if redis > REDIS_BUSY:
        return "Redis: one core answers all processes; shard the channels by store"
    if processes > 100:
        return "nginx: file descriptors and ports of one machine; several machines"
    if readers > CONNECTIONS:
        return "ports from one nginx to one process; the limits of open files"
    return "the limit of open files (1,024 by default)"


def growth(results: Results, server: str) -> Iterator[str]:
    """A row for each number of readers, with the bare application's beside ours."""
    bare = {line["readers"]: line for line in results.growth("ceiling", server)}
    for line in results.growth("ours", server):
        beside: Entry | None = bare.get(line["readers"])
        yield (
            f"| {line['readers']:,} | {server} | {spread(line['cpu_us'])} | "
            f"{spread(beside['cpu_us']) if beside else ''} | "
            f"{line['bytes_per_reader'][0] / 1000:.1f} | "
            f"{line['idle_cpu'][0] * 100:.1f} |"
        )


def spread(values: list[float]) -> str:
    median, least, most = (f"{value:.0f}" for value in values)
    return f"{median} [{least}, {most}]"


def text() -> str:
    """The tables, as the page has them."""
    results = Results(RESULTS)
    machine = results.scale_machine
    figures = [measured(results, server) for server in SERVERS]
    lines = [
        f"Measured {machine['date']}, {machine['system']}, Python {machine['python']}; "
        "in brackets the least and the most of",
        "three runs (of processes five).",
        "",
        "| readers of one process | on | CPU us per delivery | bare ASGI | "
        "kB per reader | idle CPU, % |",
        "| --- | --- | --- | --- | --- | --- |",
        *(line for server in SERVERS for line in growth(results, server)),
        "",
        "| channels | readers of each | CPU us per delivery, the publish included |",
        "| --- | --- | --- |",
        *(
            f"| {line['channels']:,} | {line['readers'] // line['channels']:,} | "
            f"{spread(line['cpu_us'])} |"
            for line in results.scale["channels"]
        ),
        "",
        "| processes over Redis | CPU us per delivery | Redis, us of CPU a message |",
        "| --- | --- | --- |",
        *(
            f"| {number} | {spread(line['cpu_us'])} | "
            f"{spread(line['redis_us_per_message'])} |"
            for number, line in results.processes("ours").items()
        ),
        "",
        f"From these, for readers that each get a message every {1 / EACH:.0f} s, out "
        f"of {MESSAGES} different ones a",
        f"second, polls that come back after {RETURN} s without news, processes that "
        f"are busy for {BUSY:.0%} of",
        f"a core and hold at most {HELD:,} readers, and (the worst case) a reader of "
        "each channel in each process:",
        "",
        "| readers | server | answers/s | cores | processes | memory | Redis | "
        "what breaks first |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(row(each, size) for size in SIZES for each in figures),
    ]
    return "\n".join(lines)


def write() -> None:
    """Put the tables into the page, between its two marks."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{text()}\n\n{END}{after}")


if __name__ == "__main__":
    if "--write" in sys.argv:
        write()
    print(text())
