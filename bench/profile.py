"""Where a delivery's time goes: ``python -m bench.profile [server] [transport]``

Two views of ours and of the bare application, in microseconds of CPU a delivery: what
the processor runs (Linux's perf, Debian's package linux-perf), and which Python code it
runs that for. The second are samples from within (bench.apps.sampled): what a function
calls in C counts for it, or for the function that begins next, where Python looks for
signals. Prints both, and writes them to bench/results/profiles/.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from bench.__main__ import RESULTS, machine
from bench.client import Load, Target, allow_many_connections, processes
from bench.names import TRANSPORTS
from bench.servers import STARTS, Candidate, running
from tests.e2e.servers import ROOT

__all__ = ["group_of", "measured", "origin_of"]

APPLICATIONS = ("ceiling", "ours")
DELIVERIES = 40_000
MOST = 60  # messages: after each it waits until the server is idle
CHANNELS, FLOODED = 50, 500  # of a flood: channels, and readers of all of them
SHOWN = 0.4  # us: what takes less is not named
# What the processor runs, by library and symbol: the first that fits.
GROUPS = (
    ("kernel", r"^\[kernel"),
    ("uvloop, httptools, granian", r"^(loop\.|parser\.|url_parser\.|_granian)"),
    ("running Python code", r" (_PyEval_\w+|_PyEvalFrame\w+)$"),
    (
        "garbage collection",
        r" (gc_\w+|_?PyGC_\w+|visit_\w+|deduce_\w+|subtract_refs|update_refs|"
        r"move_\w+|untrack_\w+|\w*traverse)$",
    ),
    (
        "allocating and freeing",
        r" (\w*[mMcC]alloc|\w*[Rr]ealloc|\w*[Ff]ree|\w*dealloc\w*|\w+_[Aa]lloc|"
        r"PyObject_GC_\w+|_PyObject_GC_\w+|_Py_NewReference|unlink_chunk|"
        r"malloc_consolidate|_PyFrame_ClearExceptCode)(\.\w+)*$",
    ),
)
LIBRARY = r"/python3\.\d+/(\w+)"
OWN = "ours: "
SAMPLER = "the sampler"
REST = "rest of the interpreter and of libraries"

Shares = dict[str, float]


def group_of(library: str, symbol: str) -> str:
    """Return what a native function belongs to."""
    where = f"{library} {symbol}"
    return next((name for name, mark in GROUPS if re.search(mark, where)), REST)


def origin_of(path: str, function: str) -> str:
    """Return the package of a Python function; of ours also what it is called."""
    file = Path(path)
    if file.is_relative_to(ROOT / "pushserver"):
        module = ".".join(file.relative_to(ROOT / "pushserver").with_suffix("").parts)
        return f"{OWN}{module}.{function}"
    if file.parent == ROOT / "bench" / "apps":
        return SAMPLER if file.stem == "sampled" else "the bare application"
    found = re.search(r"site-packages/(\w+)", path) or re.search(LIBRARY, path)
    return found[1] if found else "other Python code"


def native(target: Target, burst: Callable[[], float]) -> tuple[float, Shares]:
    """What the processor runs: us per delivery, and the share of each group."""
    if not shutil.which("perf"):
        raise RuntimeError("no perf: Debian has it in linux-perf")
    with TemporaryDirectory() as folder:
        data = str(Path(folder, "perf.data"))
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", data]
        # Granian's worker is a child of what was started.
        pids = ",".join(map(str, chain.from_iterable(map(processes, target.pids))))
        with subprocess.Popen([*record, "-p", pids], stderr=subprocess.PIPE) as perf:
            spent = burst()
            perf.send_signal(signal.SIGINT)
        columns = ["-F", "overhead,dso,symbol", "-t", "|", "--percent-limit", "0"]
        report = ["perf", "report", "-i", data, "--stdio", "-g", "none", *columns]
        lines = subprocess.run(report, check=True, capture_output=True, text=True)
    counts: defaultdict[str, float] = defaultdict(float)
    for line in lines.stdout.splitlines():
        if "%" in line and not line.startswith("#"):
            share, library, symbol = (part.strip() for part in line.split("|")[:3])
            name = re.sub(r"^\[.\] ", "", symbol)
            counts[group_of(library, name)] += float(share.rstrip("%"))
    return spent, shares(counts)


def python(target: Target, burst: Callable[[], float]) -> tuple[float, Shares]:
    """Which Python code it is for: us per delivery, and the share of each origin."""
    address = f"http://127.0.0.1:{target.ports[0]}/sampled"
    urlopen(address).read()  # from here on
    spent = burst()
    counts: defaultdict[str, float] = defaultdict(float)
    for path, function, times in json.loads(urlopen(address).read()):
        counts[origin_of(path, function)] += times
    counts.pop(SAMPLER, None)
    return spent, shares(counts)


def shares(counts: Mapping[str, float]) -> Shares:
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def measured(
    server: str,
    transport: str,
    readers: int | None,
    deliveries: int = DELIVERIES,
) -> str:
    """Both views, as a page; without a number of readers those of a flood."""
    messages = min(max(2, deliveries // (readers or FLOODED)), MOST)

    def burst(target: Target, messages: int = messages) -> float:
        with Load(target) as load:
            if readers is None:
                each = FLOODED // CHANNELS
                found = load.flood(channels=CHANNELS, each=each, messages=messages)
            else:
                found = load.burst(readers=readers, messages=messages)
        return found.cpu_us

    views: list[list[tuple[float, Shares]]] = []
    for view, sampled in ((native, False), (python, True)):
        views.append([])
        for name in APPLICATIONS:
            candidate = Candidate(
                application=name,
                server=server,
                # The bare application has one message in each answer.
                transport="poll"
                if transport == "many" and name != "ours"
                else transport,
                sampled=sampled,
            )
            with running(candidate) as target:
                burst(target, 1)
                views[-1].append(view(target, partial(burst, target)))
    about = machine()
    heads = (
        "what the processor runs",
        "which Python code it is for, with what it calls",
    )
    return "\n".join(
        [
            f"# {server}, {TRANSPORTS[transport]}, {load_of(readers)}",
            "",
            f"CPU us per delivery. {about['date']}, {about['system']}, "
            f"Python {about['python']}.",
            *(
                line
                for head, columns in zip(heads, views, strict=True)
                for line in ["", *table(head, columns)]
            ),
        ]
    )


def load_of(readers: int | None) -> str:
    if readers is None:
        return f"{CHANNELS} channels with {FLOODED // CHANNELS} readers at full speed"
    return f"{readers:,} readers of one channel"


def table(head: str, columns: list[tuple[float, Shares]]) -> Iterator[str]:
    yield f"| {head} | bare ASGI | django-pushserver |"
    yield "| --- | ---: | ---: |"
    names = {name: 0.0 for _, parts in columns for name in parts}
    rows = {
        name: [spent * parts.get(name, 0.0) for spent, parts in columns]
        for name in names
    }
    own = [rows[name] for name in rows if name.startswith(OWN)]
    if own:
        yield cells("all of ours", [sum(figures) for figures in zip(*own, strict=True)])
    small = [0.0 for _ in columns]
    for name, figures in sorted(rows.items(), key=lambda row: -max(row[1])):
        if max(figures) < SHOWN:
            small = [a + b for a, b in zip(small, figures, strict=True)]
        else:
            yield cells(name, figures)
    if any(small):
        yield cells(f"less than {SHOWN} us each", small)
    yield cells("all", [spent for spent, _ in columns])


def cells(name: str, figures: Iterable[float]) -> str:
    return f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", default="uvicorn", choices=STARTS)
    parser.add_argument("transport", nargs="?", default="poll", choices=TRANSPORTS)
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--flood", action="store_true", help="many channels at once")
    asked = parser.parse_args()
    allow_many_connections()
    readers = None if asked.flood else asked.readers
    page = measured(asked.server, asked.transport, readers)
    place = RESULTS / "profiles"
    place.mkdir(parents=True, exist_ok=True)
    name = f"{asked.server}-{asked.transport}-{readers or 'flood'}.md"
    (place / name).write_text(page + "\n")
    print(page)


if __name__ == "__main__":
    main()
