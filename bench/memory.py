"""What a reader that waits holds in memory: whose it is, and what asked for it."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from urllib.request import urlopen

from bench.client import Load, Target, warm
from bench.servers import Candidate, running
from bench.tables import beside

__all__ = ["READERS", "by", "tables"]

READERS = 2000  # as of `idle` in bench.__main__
SHOWN = 48  # bytes of a reader: what takes less is not named
ELSE = "not asked for by Python: C libraries, and what allocators keep"

Bytes = dict[str, float]
Traced = Sequence[tuple[str, str, int, int]]  # file, line, bytes, blocks
Origin = Callable[[str, str], str]


def tables(
    plain: Sequence[Candidate],
    traced: Sequence[Candidate],
    origin: Origin,
    *,
    ignored: Collection[str] = (),
) -> Iterator[str]:
    """Two tables: whose it is (`origin` names that), and which line asked for it."""
    whole = [resident(candidate) for candidate in plain]
    notes = [
        [each for each in traced_by(candidate) if origin(each[0], "") not in ignored]
        for candidate in traced
    ]

    def owner(path: str, _: str) -> str:
        return origin(path, "").partition(":")[0]

    def place(path: str, line: str) -> str:
        code = line.replace("|", "\\|")
        return f"{owner(path, line)}, {Path(path).stem}: `{code}`"

    owners = [by(note, owner) for note in notes]
    for column, all_of_it in zip(owners, whole, strict=True):
        column[ELSE] = all_of_it - sum(column.values())
    yield from beside("whose", owners, least=SHOWN, unit="B")
    yield ""
    columns = [by(note, place) for note in notes]
    yield from beside("where it was asked for", columns, least=SHOWN, unit="B")


def resident(candidate: Candidate) -> float:
    """Bytes of memory that a reader takes, as the kernel counts."""
    with running(candidate) as target, Load(target) as load:
        return load.idle(readers=READERS, seconds=0.1).more["bytes_per_reader"]


def traced_by(candidate: Candidate) -> Traced:
    with running(candidate) as target:
        warm(target)
        ask(target)  # from here on
        with Load(target) as load:
            load.hold(1, READERS)
            return ask(target)


def ask(target: Target) -> Traced:
    address = f"http://127.0.0.1:{target.ports[0]}/watched"
    found: Traced = json.loads(urlopen(address).read())
    return found


def by(traced: Traced, name: Origin) -> Bytes:
    """Bytes of a reader, by a name that is made of file and line."""
    found: defaultdict[str, float] = defaultdict(float)
    for path, line, size, _ in traced:
        found[name(path, line)] += size / READERS
    return dict(found)
