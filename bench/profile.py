"""Where a delivery's time goes: ``python -m bench.profile [server] [transport]``

Two views of ours and of the bare application, in microseconds of CPU a delivery: what
the processor runs (Linux's perf, Debian's package linux-perf), and which Python code it
runs that for. The second are samples from within (bench.apps.sampled): what a function
calls in C counts for it, or for the function that begins next, where Python looks for
signals. ``--flood``, ``--paced`` and ``--idle`` are other loads; of a paced one also
when a message passes by (`timeline`). ``--memory`` is what readers hold (`memory`).
Prints all that, and writes it to bench/results/profiles/.
"""

import argparse
import json
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from bench import memory
from bench.__main__ import RESULTS, machine
from bench.client import Result, Target, allow_many_connections, processes
from bench.names import TRANSPORTS
from bench.servers import STARTS, Candidate, running
from bench.tables import beside
from bench.timeline import timelines
from bench.work import Burst, Flood, Go, Idle, Paced, Work, named
from tests.e2e.servers import ROOT

__all__ = ["candidates", "group_of", "held", "measured", "origin_of"]

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
SAMPLER = "whoever watches"
REST = "rest of the interpreter and of libraries"

Shares = dict[str, float]
Names = Callable[[str, str], str]


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
        return "the bare application" if file.stem == "ceiling" else SAMPLER
    found = re.search(r"site-packages/(\w+)", path) or re.search(LIBRARY, path)
    return found[1] if found else "other Python code"


def function_of(path: str, function: str) -> str:
    """Return a Python function by its name and its package's, whosever it is."""
    origin = origin_of(path, function)
    return origin if origin.startswith(OWN) else f"{origin}: {function}"


def symbol_of(library: str, symbol: str) -> str:
    """Return a native function by its name."""
    return "kernel" if library.startswith("[kernel") else symbol


def native(target: Target, go: Go, group: Names = group_of) -> tuple[Result, Shares]:
    """What the processor runs, in shares of each group."""
    if not shutil.which("perf"):
        raise RuntimeError("no perf: Debian has it in linux-perf")
    with TemporaryDirectory() as folder:
        data = str(Path(folder, "perf.data"))
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", data]
        # Granian's worker is a child of what was started.
        pids = ",".join(map(str, chain.from_iterable(map(processes, target.pids))))
        with subprocess.Popen([*record, "-p", pids], stderr=subprocess.PIPE) as perf:
            result = go()
            perf.send_signal(signal.SIGINT)
        columns = ["-F", "overhead,dso,symbol", "-t", "|", "--percent-limit", "0"]
        report = ["perf", "report", "-i", data, "--stdio", "-g", "none", *columns]
        lines = subprocess.run(report, check=True, capture_output=True, text=True)
    counts: defaultdict[str, float] = defaultdict(float)
    for line in lines.stdout.splitlines():
        if "%" in line and not line.startswith("#"):
            share, library, symbol = (part.strip() for part in line.split("|")[:3])
            name = re.sub(r"^\[.\] ", "", symbol)
            counts[group(library, name)] += float(share.rstrip("%"))
    return result, shares(counts)


def python(target: Target, go: Go, origin: Names = origin_of) -> tuple[Result, Shares]:
    """Which Python code it is for, in shares of each origin."""
    address = f"http://127.0.0.1:{target.ports[0]}/watched"
    urlopen(address).read()  # from here on
    result = go()
    counts: defaultdict[str, float] = defaultdict(float)
    for path, function, times in json.loads(urlopen(address).read()):
        counts[origin(path, function)] += times
    counts.pop(SAMPLER, None)
    return result, shares(counts)


def shares(counts: Mapping[str, float]) -> Shares:
    return {name: count / sum(counts.values()) for name, count in counts.items()}


def measured(server: str, transport: str, work: Work) -> str:
    """All views of a load, as a page."""
    lines = [heading(server, transport, work.title, work.unit)]
    # The little that an idle server does is worth its names.
    group, origin = group_of, origin_of
    if isinstance(work, Idle):
        group, origin = symbol_of, function_of
    for head, view, watched in (
        ("what the processor runs", partial(native, group=group), ""),
        (
            "which Python code it is for, with what it calls",
            partial(python, origin=origin),
            "sampled",
        ),
    ):
        columns = []
        for each in candidates(server, transport, watched):
            with running(each) as target, work.begun(target) as go:
                result, parts = view(target, go)
            spent = work.figure(result)
            columns.append({name: spent * share for name, share in parts.items()})
        sums = {"all of ours": OWN}
        rows = beside(head, columns, least=work.least, unit=work.short, sums=sums)
        lines += ["", *rows]
    if isinstance(work, Paced):
        lines += ["", *timelines(candidates(server, transport, "timed"), work)]
    return "\n".join(lines)


def held(server: str, transport: str) -> str:
    """What a reader that waits holds in memory, as a page."""
    about = f"{memory.READERS:,} readers that wait"
    tables = memory.tables(
        candidates(server, transport),
        candidates(server, transport, "traced"),
        origin_of,
        ignored={SAMPLER},
    )
    heads = heading(server, transport, about, "Bytes of a reader")
    return "\n".join([heads, "", *tables])


def candidates(server: str, transport: str, watched: str = "") -> list[Candidate]:
    # The bare application has one message in each answer.
    bare = "poll" if transport == "many" else transport
    return [
        Candidate(application=name, server=server, transport=spoken, watched=watched)
        for name, spoken in (("ceiling", bare), ("ours", transport))
    ]


def heading(server: str, transport: str, title: str, unit: str) -> str:
    about = machine()
    return (
        f"# {server}, {TRANSPORTS[transport]}, {title}\n\n"
        f"{unit}. {about['date']}, {about['system']}, Python {about['python']}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", nargs="?", default="uvicorn", choices=STARTS)
    parser.add_argument("transport", nargs="?", default="poll", choices=TRANSPORTS)
    parser.add_argument("--readers", type=int, help="1,000; of --idle 10,000")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--flood", action="store_true", help="many channels at once")
    kinds.add_argument("--paced", action="store_true", help="1,000 deliveries a second")
    kinds.add_argument("--idle", action="store_true", help="readers that only wait")
    kinds.add_argument("--memory", action="store_true", help="what they hold")
    kinds.add_argument("--again", action="store_true", help="all that are kept")
    asked = parser.parse_args()
    allow_many_connections()
    place = RESULTS / "profiles"
    place.mkdir(parents=True, exist_ok=True)
    kept = sorted(path.stem for path in place.glob("*.md"))
    for name in kept if asked.again else [name_of(asked)]:
        page = page_of(name)
        (place / f"{name}.md").write_text(page + "\n")
        print(page, flush=True)


def name_of(asked: argparse.Namespace) -> str:
    """Return what the file is called, of which `page_of` makes the page."""
    work: Work = Burst(readers=asked.readers or 1000)
    if asked.flood:
        work = Flood()
    elif asked.paced:
        work = Paced()
    elif asked.idle:
        work = Idle(readers=asked.readers or 10_000)
    name = "memory" if asked.memory else work.name
    return f"{asked.server}-{asked.transport}-{name}"


def page_of(name: str) -> str:
    server, transport, load = name.split("-", 2)
    if load == "memory":
        return held(server, transport)
    return measured(server, transport, named(load))


if __name__ == "__main__":
    main()
