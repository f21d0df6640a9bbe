"""The garbage collector, told once what is there to stay."""

import subprocess
import sys

import pytest

from tests.e2e.servers import ROOT, environment

PROGRAM = """
import gc
{before}
from pushserver.heap import freeze_once
garbage = []
garbage.append(garbage)
del garbage
freeze_once()
first = gc.get_freeze_count()
later = [[] for _ in range(10_000)]
freeze_once()
print(first, gc.get_freeze_count() - first, gc.get_threshold()[0])
"""


def frozen(before: str = "") -> tuple[int, int, int]:
    """What a process of its own had frozen, what a second call added; a threshold."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        env=environment(ROOT, {}),
        capture_output=True,
        text=True,
        check=True,
    )
    first, more, young = map(int, done.stdout.split())
    return first, more, young


def test_what_is_loaded_is_frozen_once() -> None:
    """The second call leaves alone what came since."""
    first, more, young = frozen()
    assert first > 1000
    assert more <= 0
    assert young == 50_000


def test_a_threshold_of_the_project_stays() -> None:
    """Whoever has chosen one knows why."""
    assert frozen("gc.set_threshold(5000)")[2] == 5000


@pytest.mark.parametrize("before", ["gc.disable()", "gc.freeze()"])
def test_a_process_that_has_its_own_ways_is_left_alone(before: str) -> None:
    """Collector off, or frozen already: nothing is added."""
    _, more, young = frozen(before)
    assert more <= 0
    assert young < 50_000
