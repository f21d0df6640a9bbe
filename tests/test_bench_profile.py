"""Profiles of the benchmarks: what belongs to what, and that one can be made."""

import shutil

import pytest

from bench import profile
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


@pytest.mark.once
@pytest.mark.skipif(not shutil.which("perf"), reason="needs perf (linux-perf)")
def test_a_profile_names_what_a_poll_is_for() -> None:
    """Both views of both applications, with functions of ours."""
    page = profile.measured("uvicorn", "poll", readers=100, deliveries=4000)
    assert "| running Python code |" in page
    assert "| ours: " in page
