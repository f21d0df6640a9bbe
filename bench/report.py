"""From the measured JSON: the table of the goals, the figures, and the plots."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.servers import ROOT

__all__ = ["write"]

DOCS = ROOT / "docs" / "performance"
HEAD = "| what | goal | us | |\n| --- | --- | --- | --- |"
Entry = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One line of the table: ``figure`` against ``bound``, met or missed."""

    what: str
    figure: str
    goal: str
    met: bool | None

    @property
    def row(self) -> str:
        said = {True: "met", False: "**missed**", None: "not measured"}[self.met]
        return f"| {self.what} | {self.goal} | {self.figure} | {said} |"


class Results:
    """What was measured, found by name."""

    def __init__(self, folder: Path) -> None:
        self.machine: dict[str, str] = {}
        self._runs: dict[str, list[Entry]] = {}
        for path in sorted(folder.glob("*.json")):
            found = json.loads(path.read_text())
            if "runs" not in found:
                continue  # of bench.scale, whose tables bench.sizing prints
            self.machine = found["machine"]
            self._runs[path.stem] = found["runs"]

    def of(self, run: str) -> list[Entry]:
        return self._runs.get(run, [])

    def find(
        self,
        run: str,
        application: str,
        server: str,
        transport: str = "poll",
        layer: str | None = None,
    ) -> Entry | None:
        for entry in self.of(run):
            same = (entry["application"], entry["server"], entry["transport"])
            if same == (application, server, transport) and layer in (
                None,
                entry["layer"],
            ):
                return entry
        return None


def write(folder: Path) -> None:
    """Write docs/performance and print the goals."""
    results = Results(folder)
    DOCS.mkdir(exist_ok=True)
    goals = list(goals_of(results))
    table = "\n".join([HEAD, *(goal.row for goal in goals)])
    text = "\n\n".join([heading(results), table, *tables(results)])
    (DOCS / "results.md").write_text(text + "\n")
    plot(results)
    print(table)


def heading(results: Results) -> str:
    machine = ", ".join(
        value if name in ("date", "system") else f"{name} {value}"
        for name, value in results.machine.items()
    )
    return f"""# Results

Written by `make bench`: what stands here is measured, not typed. Ratios are of figures
that were measured in turns in the same run; in brackets the least and the most of
three. "Deliveries" compares those in a second of the server's own CPU, which other work
on the machine hardly changes.

Measured with: {machine}."""


def ratio(above: Entry | None, below: Entry | None, figure: str) -> float | None:
    """Compare medians. ``rate`` is deliveries per second of the server's CPU."""
    if figure == "rate":
        above, below, figure = below, above, "cpu_us"
    if above is None or below is None or not below[figure][0]:
        return None
    return float(above[figure][0] / below[figure][0])


def at_most(what: str, value: float | None, bound: float, stretch: str = "") -> Goal:
    return goal(what, value, f"<= {bound}{stretch}", lambda found: found <= bound)


def at_least(what: str, value: float | None, bound: float, stretch: str = "") -> Goal:
    return goal(what, value, f">= {bound}{stretch}", lambda found: found >= bound)


def goal(what: str, value: float | None, text: str, judge: Any) -> Goal:
    if value is None:
        return Goal(what, "", text, None)
    return Goal(what, f"{value:.2f}", text, judge(value))


def goals_of(results: Results) -> Iterator[Goal]:
    for server, bound, stretch in (
        ("daphne", 1.25, 1.1), ("uvicorn", 1.4, 1.2), ("granian", 1.4, 1.2)
    ):  # fmt: skip
        value = ratio(
            results.find("hold", "ours", server),
            results.find("hold", "ceiling", server),
            "cpu_us",
        )
        what = f"long poll on {server}: CPU per delivery / bare ASGI"
        yield at_most(what, value, bound, f" ({stretch})")
    for transport, name in (("stream", "event stream"), ("socket", "WebSocket")):
        for server in ("daphne", "uvicorn", "granian"):
            value = ratio(
                results.find("hold", "ours", server, transport),
                results.find("hold", "ceiling", server, transport),
                "cpu_us",
            )
            what = f"{name} on {server}: CPU per delivery / bare ASGI"
            yield at_most(what, value, 1.3, " (1.1)")
    ours = results.find("typical", "ours", "daphne")
    for layer in ("layers", "pubsub", "core"):
        peer = results.find("typical", "typical", "daphne", layer=layer)
        name = "memory" if layer == "layers" else layer
        what = f"long poll on daphne against the typical consumer ({name}): deliveries"
        yield at_least(what, ratio(ours, peer, "rate"), 4)
    for server in ("daphne", "uvicorn"):
        value = ratio(
            results.find("hold", "ours", server, "stream"),
            results.find("hold", "eventstream", server, "stream"),
            "rate",
        )
        what = f"event stream on {server} against django-eventstream: deliveries"
        yield at_least(what, value, 3, " (5)")
    for run, bounds in (("hold", (0.45, 0.75)), ("flood", (0.2, 0.5))):
        for transport, bound in zip(("poll", "stream"), bounds, strict=True):
            nchan = results.find(run, "", "Nchan", transport)
            values = [
                value
                for server in ("daphne", "uvicorn", "granian")
                if (value := ratio(results.find(run, "ours", server, transport),
                                   nchan, "rate"))
            ]  # fmt: skip
            what = f"{run}, {transport}: our best server against Nchan, deliveries"
            yield at_least(what, max(values, default=None), bound)
    for server in ("daphne", "uvicorn", "granian"):
        value = ratio(
            results.find("flood", "ours", server, "many"),
            results.find("flood", "ceiling", server),
            "rate",
        )
        what = f"flood, multiplexed long poll on {server} / one-message ceiling"
        yield at_least(what, value, 3, " (6)")
    for server in ("daphne", "uvicorn"):
        entry = results.find("idle", "ours", server)
        value = entry["bytes_per_reader"][0] / 1000 if entry else None
        yield at_most(f"memory per held poll on {server}, kB", value, 12, " (10.1)")
        value = entry["idle_cpu"][0] * 100 if entry else None
        yield at_most(f"idle CPU with 2,000 held polls on {server}, %", value, 2)
    for layer in ("pubsub", "core"):
        for server in ("daphne", "uvicorn"):
            value = ratio(
                results.find("redis", "ours", server, layer=layer),
                results.find("redis", "ours", server, layer=""),
                "per_second",
            )
            what = f"Redis ({layer}) on {server} / memory store: deliveries"
            yield at_least(what, value, 0.85, " (1.0)")
    for figure in ("p50_ms", "p99_ms"):
        value = ratio(
            results.find("paced", "ours", "uvicorn"),
            results.find("paced", "ceiling", "uvicorn"),
            figure,
        )
        what = f"latency at 1,000 deliveries/s on uvicorn, {figure[:3]} / bare ASGI"
        yield at_most(what, value, 1.3)


def tables(results: Results) -> Iterator[str]:
    titles = {
        "hold": "One message to 1,000 readers of one channel",
        "flood": "50 channels with 10 readers each, at full speed",
        "typical": "The typical consumer, 200 readers",
        "redis": "Redis, 1,000 readers of one channel",
        "paced": "1,000 deliveries a second to 100 readers",
    }
    for run, title in titles.items():
        if entries := results.of(run):
            yield "\n".join([f"## {title}", "", *rows(entries)])
    if entries := results.of("idle"):
        yield "\n".join(["## 2,000 readers that wait", "", *idle_rows(entries)])


def rows(entries: list[Entry]) -> Iterator[str]:
    yield "| | CPU us per delivery | deliveries/s | last after, ms | p99 ms | lost |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for entry in entries:
        figures = [
            spread(entry[name], digits)
            for name, digits in (("cpu_us", 0), ("per_second", 0), ("last_ms", 0),
                                 ("p99_ms", 1))
        ]  # fmt: skip
        if entry["limited"]:
            figures[1] += " (limited by the client)"
        yield f"| {name_of(entry)} | {' | '.join(figures)} | {entry['lost']} |"


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


TRANSPORTS = {"poll": "long poll", "stream": "event stream", "socket": "WebSocket",
              "many": "multiplexed long poll"}  # fmt: skip
APPLICATIONS = {"ours": "**django-pushserver**", "ceiling": "bare ASGI",
                "eventstream": "django-eventstream", "typical": "typical consumer",
                "": "Nchan"}  # fmt: skip


def name_of(entry: Entry) -> str:
    name = APPLICATIONS[entry["application"]]
    if entry["layer"]:
        name += f" ({entry['layer'].replace('layers', 'memory layer')})"
    if entry["server"] != "Nchan":
        name += f", {entry['server']}"
    return f"{name}, {TRANSPORTS[entry['transport']]}"


def plot(results: Results) -> None:
    """Draw CPU per delivery of `hold`, by transport: the shorter the better."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot

    colours = {"ours": "#2a6f97", "ceiling": "#a9c9dd", "": "#8d99ae",
               "eventstream": "#e07a5f", "typical": "#e07a5f"}  # fmt: skip
    for run, transports in (
        ("hold", ("poll", "stream", "socket")),
        ("typical", ("poll",)),
    ):
        for transport in transports:
            entries = [e for e in results.of(run) if e["transport"] == transport]
            entries = [e for e in entries if e["cpu_us"][0]]
            if not entries:
                continue
            figure, axes = pyplot.subplots(figsize=(7.5, 0.6 + 0.36 * len(entries)))
            names = [name_of(e).replace("*", "").rpartition(", ")[0] for e in entries]
            medians = [e["cpu_us"][0] for e in entries]
            errors = [
                [e["cpu_us"][0] - e["cpu_us"][1] for e in entries],
                [e["cpu_us"][2] - e["cpu_us"][0] for e in entries],
            ]
            axes.barh(range(len(entries)), medians, xerr=errors,
                      color=[colours[e["application"]] for e in entries],
                      error_kw={"elinewidth": 1, "ecolor": "#555555"})  # fmt: skip
            axes.set_yticks(range(len(entries)), names)
            axes.invert_yaxis()
            axes.set_xlabel("CPU of the server per delivery, microseconds")
            axes.spines[["top", "right"]].set_visible(False)
            figure.tight_layout()
            figure.savefig(DOCS / f"{run}-{transport}.svg", metadata={"Date": None})
            pyplot.close(figure)
