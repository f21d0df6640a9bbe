"""The servers of the benchmarks end with whoever started them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.servers import ROOT, environment, wait_until

pytestmark = pytest.mark.once

MEASURING = """\
from bench.client import Load
from bench.servers import Candidate, running

with running(Candidate(application="ceiling", server="uvicorn")) as target:
    with Load(target) as load:
        print(*target.pids, flush=True)
        load.run(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_a_measurement_that_is_ended(number: signal.Signals) -> None:
    """At once, in the middle of a load."""
    with subprocess.Popen(
        [sys.executable, "-c", MEASURING],
        cwd=ROOT,
        env=environment(ROOT, {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as measuring:
        assert measuring.stdout
        pid = int(measuring.stdout.readline())
        measuring.send_signal(number)
        measuring.wait(10)
    try:
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), deadline=1)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        raise
