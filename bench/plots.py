"""The plots of docs/performance, as SVG: what a delivery and a reader cost."""

from pathlib import Path
from typing import Any

from bench.measured import Entry, Results
from bench.names import name_of

__all__ = ["draw"]

COLOURS = {"ours": "#2a6f97", "ceiling": "#a9c9dd", "": "#8d99ae",
           "eventstream": "#e07a5f", "typical": "#e07a5f"}  # fmt: skip
CPU = "CPU of the server per delivery, microseconds"


def draw(results: Results, folder: Path) -> None:
    """Write all plots for which there are figures."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "bench"  # the same file for the same figures
    matplotlib.rcParams["svg.fonttype"] = "none"

    for run, transport in (
        ("hold", "poll"), ("hold", "stream"), ("hold", "socket"), ("typical", "poll")
    ):  # fmt: skip
        entries = [e for e in results.of(run) if e["transport"] == transport]
        bars(entries, "cpu_us", 1, CPU, folder / f"{run}-{transport}.svg")
    memory = "memory of the server per reader that waits, kB"
    path = folder / "memory.svg"
    bars(results.of("idle"), "bytes_per_reader", 1000, memory, path)
    growth(results, folder / "growth.svg")


def bars(
    entries: list[Entry], figure: str, unit: float, label: str, path: Path
) -> None:
    """One bar for each entry, with the least and the most: the shorter the better."""
    entries = [entry for entry in entries if entry[figure][0]]
    if not entries:
        return
    scaled = [[value / unit for value in entry[figure]] for entry in entries]
    names = [name_of(e).replace("*", "").rpartition(", ")[0] for e in entries]
    axes = new_axes(0.6 + 0.36 * len(entries))
    drawn = axes.barh(
        range(len(entries)),
        [median for median, _, _ in scaled],
        xerr=[
            [m - least for m, least, _ in scaled],
            [most - m for m, _, most in scaled],
        ],
        color=[COLOURS[entry["application"]] for entry in entries],
        error_kw={"elinewidth": 1, "ecolor": "#555555"},
    )
    axes.bar_label(drawn, [f"{m:,.{m < 100:d}f}" for m, _, _ in scaled], padding=4)
    axes.margins(x=0.15)
    axes.set_yticks(range(len(entries)), names)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    save(axes, path)


def growth(results: Results, path: Path) -> None:
    """CPU per delivery by readers of one process: the flatter the better."""
    axes = new_axes(3.6)
    for server, style in (("uvicorn", "-"), ("daphne", "--")):
        for application, name in (
            ("ours", "django-pushserver"),
            ("ceiling", "bare ASGI"),
        ):
            lines = results.growth(application, server)
            if not lines:
                continue
            medians = [line["cpu_us"][0] for line in lines]
            axes.errorbar(
                [line["readers"] for line in lines],
                medians,
                yerr=[
                    [line["cpu_us"][0] - line["cpu_us"][1] for line in lines],
                    [line["cpu_us"][2] - line["cpu_us"][0] for line in lines],
                ],
                linestyle=style, marker="o", markersize=4, capsize=3,
                color=COLOURS[application], label=f"{name}, {server}",
            )  # fmt: skip
    if not axes.lines:
        return
    axes.set_xscale("log")
    ticks = [line["readers"] for line in results.growth("ours", "uvicorn")]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("readers of one channel, in one process")
    axes.set_ylabel("CPU per delivery, microseconds")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    save(axes, path)


def new_axes(height: float) -> Any:
    from matplotlib import pyplot

    axes = pyplot.subplots(figsize=(7.5, height))[1]
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def save(axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    axes.figure.tight_layout()
    axes.figure.savefig(path, metadata={"Date": None})
    pyplot.close(axes.figure)
