import subprocess
import sys

from tests.e2e.servers import ROOT

# In a process of its own: forking the one that runs the tests is no good idea.
FORKS = """
import asyncio, gc, os, socket, sys
from pushserver.forks import forget_in_child

class Held:
    def __del__(self):
        print("closed", flush=True)

registry = {"a": Held()}
forget_in_child(registry)
loop = asyncio.new_event_loop()
ours, theirs = socket.socketpair()
streams = loop.run_until_complete(asyncio.open_connection(sock=ours))
watched = {loop: streams}
forget_in_child(watched)

pid = os.fork()
if pid == 0:
    assert registry == {} and watched == {}
    gc.collect()
    print("child goes on", flush=True)
    registry["b"] = 1
    grandchild = os.fork()
    if grandchild == 0:
        assert registry == {}
        sys.exit()
    assert os.waitpid(grandchild, 0)[1] == 0
    assert registry == {"b": 1}
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert list(registry) == ["a"]
theirs.send(b"still heard")
reader, writer = streams
print(loop.run_until_complete(asyncio.wait_for(reader.read(100), 5)).decode())
registry.clear()
writer.close()
theirs.close()
loop.run_until_complete(writer.wait_closed())
loop.close()
"""


def test_a_child_forgets_what_its_parent_holds():
    """Nothing is closed by it; the parent's sockets stay in its loop's epoll set."""
    found = subprocess.run(
        [sys.executable, "-c", FORKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split("\n")[:2] == ["child goes on", "still heard"]
