"""Profiles of the benchmarks: what belongs to what, and that one can be made."""

import re
import shutil

import pytest

from bench import memory, profile, timeline
from bench.tables import beside
from bench.work import Burst, Flood, Idle, Paced, Work, named
from tests.e2e.servers import ROOT


@pytest.mark.parametrize(
    ("library", "symbol", "group"),
    [
        ("[kernel.kallsyms]", "tcp_sendmsg", "kernel"),
        ("loop.cpython-313-x86_64-linux-gnu.so", "uv__io_poll", "uvloop"),
        ("libpython3.13.so.1.0", "_PyEval_EvalFrameDefault", "running Python"),
        ("libpython3.13.so.1.0", "gc_collect_main", "garbage"),
        ("libpython3.13.so.1.0", "dict_traverse", "garbage"),
        ("libpython3.13.so.1.0", "_PyObject_Malloc", "allocating"),
        ("libpython3.13.so.1.0", "dict_dealloc", "allocating"),
        ("libpython3.13.so.1.0", "_Py_dict_lookup", "rest"),
    ],
)
def test_a_native_function_has_its_group(library: str, symbol: str, group: str) -> None:
    """By its library, or by how the interpreter names what does the same."""
    assert profile.group_of(library, symbol).startswith(group)


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        (f"{ROOT}/pushserver/stores/memory.py", "ours: stores.memory.f"),
        (f"{ROOT}/bench/apps/ceiling.py", "the bare application"),
        ("/env/lib/python3.13/site-packages/uvicorn/main.py", "uvicorn"),
        ("/usr/lib/python3.13/asyncio/events.py", "asyncio"),
        ("<string>", "other Python code"),
    ],
)
def test_a_python_function_has_its_origin(path: str, origin: str) -> None:
    """Ours is named, of others the package."""
    assert profile.origin_of(path, "f") == origin


@pytest.mark.parametrize(
    "work", [Burst(readers=100), Flood(), Paced(), Idle(readers=200)]
)
def test_a_load_is_found_by_its_name(work: Work) -> None:
    """So that a profile can be made again of the name of its file."""
    assert named(work.name) == work


def test_what_little_there_is_has_its_name() -> None:
    """Functions of all packages, and of the interpreter."""
    daphne = "/env/lib/python3.13/site-packages/daphne/server.py"
    assert profile.function_of(daphne, "Server.run") == "daphne: Server.run"
    own = f"{ROOT}/pushserver/stores/memory.py"
    assert profile.function_of(own, "f") == "ours: stores.memory.f"
    assert profile.symbol_of("libpython3.13.so.1.0", "PyTuple_Pack") == "PyTuple_Pack"
    assert profile.symbol_of("[kernel.kallsyms]", "tcp_sendmsg") == "kernel"


def test_a_table_has_the_largest_first() -> None:
    """What is small in all columns is one row, and what belongs together has a sum."""
    columns = [{"a": 1.0, "ours: b": 8.0, "ours: c": 0.1}, {"a": 5.0, "ours: c": 0.2}]
    rows = beside("part", columns, least=0.5, unit="us", sums={"ours": "ours: "})
    assert list(rows)[2:] == [
        "| ours | 8.1 | 0.2 |",
        "| ours: b | 8.0 | 0.0 |",
        "| a | 1.0 | 5.0 |",
        "| less than 0.5 us each | 0.1 | 0.2 |",
        "| all | 9.1 | 5.2 |",
    ]


def test_a_timeline_has_the_first_and_the_last_reader() -> None:
    """Of each message; then the median and the slowest hundredth of them."""
    one = [("called", 100.0), ("read", 300.0), ("read", 200.0), ("read", 400.0)]
    other = [("called", 120.0), ("read", 500.0), ("read", 600.0), ("read", 700.0)]
    times = timeline.by_step([one, other])
    assert times["called"] == (110.0, 120.0)
    assert (times["first"][0], times["half"][0]) == (350.0, 450.0)
    assert times["last"] == (550.0, 700.0)
    assert timeline.by_step([[("called", 1.0)]]) == {"called": (1.0, 1.0)}


def test_memory_is_summed_by_name() -> None:
    """Each block belongs to the line that asked for it, in bytes of a reader."""
    lines = [("a.py", "x = []", 4000, 2), ("b.py", "y = {}", 2000, 1),
             ("a.py", "z = 1", 2000, 1)]  # fmt: skip
    found = memory.by(lines, lambda path, line: path)
    assert found == {"a.py": 6000 / memory.READERS, "b.py": 2000 / memory.READERS}


@pytest.mark.once
@pytest.mark.skipif(not shutil.which("perf"), reason="needs perf (linux-perf)")
def test_a_profile_names_what_a_poll_is_for() -> None:
    """Both views of both applications, with functions of ours."""
    work = Burst(readers=100, deliveries=4000)
    page = profile.measured("uvicorn", "poll", work)
    assert "| running Python code |" in page
    assert "| ours: " in page


@pytest.mark.once
def test_a_message_of_either_application_has_a_timeline() -> None:
    """With what happens to it in ours, and what its readers see of both."""
    timed = profile.candidates("uvicorn", "poll", "timed")
    page = "\n".join(timeline.timelines(timed, Paced(seconds=0.5)))
    for step in ("it is stored", "its publisher is answered", "the fan-out begins"):
        assert re.search(rf"^\| {step} \| .*\d\) \|$", page, re.MULTILINE), page
    assert re.search(r"^\| a reader has it \| \d.* \| \d.* \|$", page, re.MULTILINE)


@pytest.mark.once
def test_memory_has_owners_and_lines() -> None:
    """Of readers that wait: whose it is, and which line asked for it."""
    page = profile.held("uvicorn", "poll")
    assert re.search(r"^\| ours \| 0\.0 \| \d{3,4}\.\d \|$", page, re.MULTILINE), page
    assert "| ours, roles: `" in page
