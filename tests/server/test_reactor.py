import os
import subprocess
import sys

import pytest

from tests.e2e.servers import ROOT

# Stands for uvloop: a module of that name with a loop of its own.
UVLOOP = """\
import asyncio

class Loop(asyncio.SelectorEventLoop):
    pass

new_event_loop = Loop
"""
NO_UVLOOP = "raise ImportError"
SAY = """
from pushserver.server.reactor import loop, reactor
from twisted.internet import reactor as installed
assert reactor is installed and reactor._asyncioEventloop is loop
threads = getattr(loop._default_executor, "_max_workers", None)
print(type(loop).__module__.partition(".")[0], threads)
"""


def said(folder, uvloop, code="", *, threads="7"):
    (folder / "uvloop.py").write_text(uvloop)
    path = os.pathsep.join([str(folder), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path}
    env.pop("ASGI_THREADS", None)
    if threads:
        env["ASGI_THREADS"] = threads
    command = [sys.executable, "-c", code + SAY]
    return subprocess.check_output(command, env=env, text=True).split()


@pytest.mark.parametrize(
    ("uvloop", "code", "module"),
    [
        (UVLOOP, "", "uvloop"),
        (NO_UVLOOP, "", "asyncio"),
        (UVLOOP, "import daphne.server", "asyncio"),
    ],
)
def test_loop(tmp_path, uvloop, code, module):
    """It is uvloop's where that is installed and Daphne was not first.

    ASGI_THREADS says how many threads it has, as it does to Daphne.
    """
    assert said(tmp_path, uvloop, code) == [module, "7"]


def test_threads_that_nobody_has_counted(tmp_path):
    """Without ASGI_THREADS the loop makes them when they are needed."""
    assert said(tmp_path, UVLOOP, threads=None) == ["uvloop", "None"]
