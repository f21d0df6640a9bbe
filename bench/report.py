"""From the measured JSON: the page of results, and the goals on the terminal."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from bench import goals, plots
from bench.causes import cause
from bench.goals import Goal
from bench.measured import Entry, Results
from bench.names import name_of
from tests.e2e.servers import ROOT

__all__ = ["write"]

LEAST = 0.05  # commands: what comes once in a run is not shown
DOCS = ROOT / "docs" / "performance"


def write(folder: Path) -> None:
    """Write docs/performance and print the goals."""
    results = Results(folder)
    DOCS.mkdir(exist_ok=True)
    found = list(goals.goals(results))
    table = "\n".join([goals.HEAD, *(goal.row for goal in found)])
    text = "\n\n".join([heading(results), table, missed(found), *tables(results)])
    (DOCS / "results.md").write_text(text + "\n")
    plots.draw(results, DOCS)
    print(table)


def heading(results: Results) -> str:
    machine = ", ".join(
        value if name in ("date", "system") else f"{name} {value}"
        for name, value in results.machine.items()
    )
    return f"""# Results

Written by `make bench`: what stands here is measured, not typed. Ratios are of figures
that were measured in turns in the same run; in brackets the least and the most of
three runs. Goals say what they are judged by: the CPU of the server, which other work
on the machine hardly changes, or the clock, which is deliveries a second on two cores
that server and client share. The other ratio stands beside it. A cost (`<=`) is ours
divided by the other's, a rate (`>=`) our deliveries divided by the other's.

Measured with: {machine}."""


def missed(found: Iterable[Goal]) -> str:
    """A line for each goal that is missed: its figure, and why."""
    lines = []
    for goal in found:
        if goal.met is False:
            figure = (
                f"{goal.figure:.2f} for {'>=' if goal.least else '<='} {goal.bound:g}"
            )
            lines.append(f"* **{goal.what}**, {figure}: {cause(goal.what)}")
    return "\n".join(["## What is missed, and why", "", *(lines or ["Nothing."])])


def tables(results: Results) -> Iterator[str]:
    titles = {
        "hold": "One message to 1,000 readers of one channel",
        "flood": "50 channels with 10 readers each, at full speed",
        "typical": "The typical consumer, 1,000 readers of one channel",
        "redis": "Redis, 1,000 readers of one channel",
        "paced": "1,000 deliveries a second to 100 readers",
    }
    for run, title in titles.items():
        if entries := results.of(run):
            times = {"last after, ms": "last_ms", "p99 ms": "p99_ms"}
            if run == "paced":
                times = {"p50 ms": "p50_ms", "p99 ms": "p99_ms"}
            yield "\n".join([f"## {title}", "", *rows(entries, times)])
    if entries := results.of("send"):
        yield "\n".join(
            ["## Sends from a plain process, calls a second", "", *sends(entries)]
        )
    if results.scale.get("commands"):
        title = "Commands that Redis gets for a message, and in an idle second"
        yield "\n".join([f"## {title}", "", *command_rows(results)])
    if results.processes("ours"):
        title = "1,000 readers in one process, and in two over Redis"
        yield "\n".join([f"## {title}", "", *process_rows(results)])
    if entries := results.of("idle"):
        yield "\n".join(["## 2,000 readers that wait", "", *idle_rows(entries)])


def rows(entries: list[Entry], times: dict[str, str]) -> Iterator[str]:
    yield f"| | CPU us per delivery | deliveries/s | {' | '.join(times)} | lost |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for entry in entries:
        figures = [spread(entry["cpu_us"], 0), spread(entry["per_second"], 0)]
        figures += [spread(entry[name], 1) for name in times.values()]
        if entry["limited"]:
            figures[1] += " (limited by the client)"
        lost = f"{entry['lost'] / entry['expected']:.0%}" if entry["lost"] else "0"
        yield f"| {name_of(entry)} | {' | '.join(figures)} | {lost} |"


def sends(entries: list[Entry]) -> Iterator[str]:
    yield "| layer | send_update | in 8 threads | async_to_sync(group_send) |"
    yield "| --- | --- | --- | --- |"
    for entry in entries:
        names = ("send_update", "send_update in 8 threads", "group_send")
        figures = [spread(entry[name], 0) for name in names]
        yield f"| {entry['layer']} | {' | '.join(figures)} |"


def command_rows(results: Results) -> Iterator[str]:
    """By name, our scripts by ours; the channel layer's own `EVAL` is one of its."""
    yield (
        "| layer | command | a message, one process | two processes | "
        "a process adds | a second, two that are idle |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for layer in ("pubsub", "core"):
        for name, (one, two, idle) in results.commands(layer).items():
            if max(one, two, idle) >= LEAST:
                figures = (one, two, two - one, idle)
                cells = " | ".join(f"{figure:.2f}" for figure in figures)
                yield f"| {layer} | {name} | {cells} |"


def process_rows(results: Results) -> Iterator[str]:
    yield (
        "| | processes | CPU us per delivery | against one, in pairs of runs | "
        "us of a message beside its deliveries |"
    )
    yield "| --- | --- | --- | --- | --- |"
    for application in ("ours", "ceiling"):
        for number, line in results.processes(application).items():
            cells = [spread(line["cpu_us"], 0)]
            for figure, digits in (("against_one", 2), ("message_us", 0)):
                cells.append(spread(line[figure], digits) if figure in line else "")
            name = name_of(line)
            yield f"| {name} | {number} | {' | '.join(cells)} |"


def idle_rows(entries: list[Entry]) -> Iterator[str]:
    yield "| | kB per reader | CPU while idle, % |"
    yield "| --- | --- | --- |"
    for entry in entries:
        memory = spread([v / 1000 for v in entry["bytes_per_reader"]], 1)
        cpu = spread([v * 100 for v in entry["idle_cpu"]], 1)
        yield f"| {name_of(entry)} | {memory} | {cpu} |"


def spread(values: list[float], digits: int) -> str:
    median, least, most = (f"{value:,.{digits}f}" for value in values)
    return f"{median} [{least}, {most}]"
