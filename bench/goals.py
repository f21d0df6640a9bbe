"""What is to be reached, and whether it is: each goal with its two ratios.

A goal says what it is judged by: the CPU of the server, or the clock (deliveries a
second, and times). The other figure stands beside it where there is one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.measured import Entry, Results

__all__ = ["HEAD", "Goal", "goals"]

HEAD = (
    "| what | goal | by the clock | by the server's CPU | |\n"
    "| --- | --- | --- | --- | --- |"
)
LIMITED = "(limited by the client)"
# Our servers, and on which the others run that ours there is compared with.
ON = (
    ("daphne", "daphne"),
    ("runpushserver", "daphne"),
    ("uvicorn", "uvicorn"),
    ("granian", "granian"),
)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One line of the table. ``bound`` holds for the figure that ``by`` names."""

    what: str
    bound: float
    stretch: str = ""
    least: bool = False  # the bound is the least that is wanted, not the most
    by: str = "CPU"
    clock: float | None = None
    cpu: float | None = None
    note: str = ""

    @property
    def figure(self) -> float | None:
        return self.cpu if self.by == "CPU" else self.clock

    @property
    def met(self) -> bool | None:
        if self.figure is None:
            return None
        seen = round(self.figure, 2)  # as the table has it
        met = seen >= self.bound if self.least else seen <= self.bound
        # Where the client was the limit, who is faster may be faster still.
        return None if met and self.by == "clock" and self.note == LIMITED else met

    @property
    def row(self) -> str:
        said = {True: "met", False: "**missed**", None: "open"}[self.met]
        stretch = f" ({self.stretch})" if self.stretch else ""
        wanted = f"{'>=' if self.least else '<='} {self.bound:g}{stretch}, {self.by}"
        clock = f"{shown(self.clock)} {self.note}".strip()
        return f"| {self.what} | {wanted} | {clock} | {shown(self.cpu)} | {said} |"


def shown(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def ratio(above: Entry | None, below: Entry | None, figure: str) -> float | None:
    """Compare medians; None if one is missing."""
    if above is None or below is None or not below[figure][0]:
        return None
    return float(above[figure][0] / below[figure][0])


def cost(
    what: str, ours: Entry | None, bare: Entry | None, bound: float, stretch: str
) -> Goal:
    """What a delivery costs, against another's: judged by CPU."""
    return Goal(
        what=what, bound=bound, stretch=stretch, note=limits(ours, bare),
        clock=ratio(bare, ours, "per_second"), cpu=ratio(ours, bare, "cpu_us"),
    )  # fmt: skip


def rate(
    what: str, ours: Entry | None, peer: Entry | None, bound: float, stretch: str
) -> Goal:
    """How many deliveries, against another's: judged by the clock."""
    return Goal(
        what=what, bound=bound, stretch=stretch, least=True, by="clock",
        clock=ratio(ours, peer, "per_second"), cpu=ratio(peer, ours, "cpu_us"),
        note=limits(ours, peer),
    )  # fmt: skip


def limits(*entries: Entry | None) -> str:
    limited = any(entry["limited"] for entry in entries if entry)
    return LIMITED if limited else ""


def beside(bare: Sequence[float] | None) -> str:
    """What the bare application comes to, where that is no ratio to it already."""
    return f" (bare ASGI: {bare[0]:.2f})" if bare else ""


def goals(results: Results) -> Iterator[Goal]:
    """All goals, in their order."""
    yield from against_bare(results)
    yield from against_peers(results)
    yield from of_waiting(results)
    yield from with_redis(results)
    yield from of_growth(results)
    for figure in ("p50_ms", "p99_ms"):
        ours = results.find("paced", "ours", "uvicorn")
        bare = results.find("paced", "ceiling", "uvicorn")
        yield Goal(
            what=f"latency at 1,000 deliveries/s on uvicorn, {figure[:3]} / bare ASGI",
            bound=1.3, by="clock", clock=ratio(ours, bare, figure),
        )  # fmt: skip


def against_bare(results: Results) -> Iterator[Goal]:
    for transport, name in (
        ("poll", "long poll"),
        ("stream", "event stream"),
        ("socket", "WebSocket"),
    ):
        for server, bare in ON:
            ours = results.find("hold", "ours", server, transport)
            bound, stretch = (1.4, "1.2") if bare != "daphne" else (1.25, "1.1")
            if transport != "poll":
                bound, stretch = 1.3, "1.1"
            yield cost(
                f"{name} on {server} / bare ASGI on {bare}",
                ours,
                results.find("hold", "ceiling", bare, transport),
                bound,
                stretch,
            )


def against_peers(results: Results) -> Iterator[Goal]:
    for server, on in ON[:2]:
        for layer, name in (
            ("layers", "memory"),
            ("pubsub", "pubsub"),
            ("core", "core"),
        ):
            yield rate(
                f"long poll on {server} / typical consumer ({name}) on {on}",
                results.find("typical", "ours", server),
                results.find("typical", "typical", on, layer=layer),
                4, "",
            )  # fmt: skip
    for server, on in ON[:3]:
        peer = results.find("hold", "eventstream", on, "stream")
        bare = ratio(results.find("hold", "ceiling", on, "stream"), peer, "per_second")
        yield rate(
            f"event stream on {server} / django-eventstream on {on}"
            + beside([bare] if bare else None),
            results.find("hold", "ours", server, "stream"),
            peer,
            3, "5",
        )  # fmt: skip
    for run, bounds in (
        ("hold", ((0.45, "0.6"), (0.75, "1.0"))),
        ("flood", ((0.2, "0.35"), (0.5, "0.8"))),
    ):
        for transport, (bound, stretch) in zip(("poll", "stream"), bounds, strict=True):
            nchan = results.find(run, "", "Nchan", transport)
            bare = ratio(best(results, run, transport, "ceiling"), nchan, "per_second")
            there = f" (the best bare ASGI: {bare:.2f})" if bare else ""
            yield rate(
                f"{run}, {transport}: our best server / Nchan{there}",
                best(results, run, transport, "ours"),
                nchan,
                bound,
                stretch,
            )
    for server, bare_server in ON:
        yield rate(
            f"flood, multiplexed long poll on {server} / "
            f"one-message bare ASGI on {bare_server}",
            results.find("flood", "ours", server, "many"),
            results.find("flood", "ceiling", bare_server),
            3, "6",
        )  # fmt: skip


def best(results: Results, run: str, transport: str, application: str) -> Entry | None:
    """Return the server that delivers most."""
    found = [results.find(run, application, server, transport) for server, _ in ON]
    there = [entry for entry in found if entry]
    return max(there, key=lambda entry: float(entry["per_second"][0]), default=None)


def of_waiting(results: Results) -> Iterator[Goal]:
    for server, on in ON[:3]:
        entry = results.find("idle", "ours", server)
        bare = results.find("idle", "ceiling", on)
        figures = [v / 1000 for v in bare["bytes_per_reader"]] if bare else None
        yield Goal(
            what=f"memory per held poll on {server}" + beside(figures),
            bound=12,
            stretch="10.1",
            by="kB",
            clock=entry["bytes_per_reader"][0] / 1000 if entry else None,
            note="kB",
        )
    for server in ("daphne", "uvicorn"):
        busy = {
            name: [v * 100 for v in lines[-1]["idle_cpu"]]
            for name in ("ours", "ceiling")
            if (lines := results.growth(name, server))
        }
        yield Goal(
            what=f"idle CPU with 10,000 held polls on {server}, %"
            + beside(busy.get("ceiling")),
            bound=2,
            cpu=busy["ours"][0] if busy else None,
        )


def with_redis(results: Results) -> Iterator[Goal]:
    for layer in ("pubsub", "core"):
        for server in ("daphne", "uvicorn"):
            yield rate(
                f"Redis ({layer}) on {server} / memory store",
                results.find("redis", "ours", server, layer=layer),
                results.find("redis", "ours", server, layer=""),
                0.85, "1.0",
            )  # fmt: skip
    for entry in results.of("send"):
        yield Goal(
            what=f"send_update from a plain process / group_send ({entry['layer']})",
            bound=5, stretch="10", least=True, by="clock", clock=entry["ratio"][0],
        )  # fmt: skip
    for layer, bound, stretch in (("pubsub", 2, "1"), ("core", 6, "5")):
        added = [two - one for one, two, _ in results.commands(layer).values()]
        yield Goal(
            what=f"Redis ({layer}): commands per message and process with readers",
            bound=bound,
            stretch=stretch,
            by="commands",
            clock=sum(added) if added else None,
            note="commands",
        )
    ratios = {
        name: lines[2]["against_one"]
        for name in ("ours", "ceiling")
        if (lines := results.processes(name))
    }
    yield Goal(
        what="two processes over Redis / one" + beside(ratios.get("ceiling")),
        bound=1.1,
        cpu=ratios["ours"][0] if ratios else None,
    )


def of_growth(results: Results) -> Iterator[Goal]:
    """From the fewest readers to the most; the bare application's growth beside."""
    for server in ("uvicorn", "daphne"):
        grown: dict[str, float | None] = {}
        for application in ("ours", "ceiling"):
            lines = results.growth(application, server)
            first, last = (lines[0], lines[-1]) if lines else (None, None)
            grown[application] = ratio(last, first, "cpu_us")
        bare = grown["ceiling"]
        yield Goal(
            what=f"CPU per delivery on {server}, 10,000 readers / 100"
            + beside([bare] if bare else None),
            bound=1.2, cpu=grown["ours"],
        )  # fmt: skip
