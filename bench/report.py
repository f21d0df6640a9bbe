"""From the measured JSON: the page of results, and the goals on the terminal."""

from collections.abc import Iterator
from pathlib import Path

from bench import goals, plots
from bench.measured import Entry, Results
from bench.names import name_of
from tests.e2e.servers import ROOT

__all__ = ["write"]

DOCS = ROOT / "docs" / "performance"


def write(folder: Path) -> None:
    """Write docs/performance and print the goals."""
    results = Results(folder)
    DOCS.mkdir(exist_ok=True)
    table = "\n".join([goals.HEAD, *(goal.row for goal in goals.goals(results))])
    text = "\n\n".join([heading(results), table, *tables(results)])
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
