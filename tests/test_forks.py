"""The forks module: what a child must not use."""

import json
import os
import subprocess
import sys

from tests.e2e.servers import ROOT, environment

SCRIPT = """
import gc, json, os, weakref
from pushserver.forks import forget_in_child

class Socket:
    pass

registry = {"socket": Socket()}
alive = weakref.ref(registry["socket"])
forget_in_child(registry)
reader, writer = os.pipe()
pid = os.fork()
if pid == 0:
    gc.collect()
    told = json.dumps({"registry": len(registry), "alive": alive() is not None})
    os.write(writer, told.encode())
    raise SystemExit
os.waitpid(pid, 0)
print(json.dumps({"child": json.loads(os.read(reader, 999)), "parent": len(registry)}))
"""


def test_a_child_forgets_and_keeps_alive() -> None:
    """What is closed in a child would leave the epoll set that the parent uses."""
    assert hasattr(os, "fork")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=environment(ROOT, {}),
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout) == {
        "child": {"registry": 0, "alive": True},
        "parent": 1,
    }
