"""The measuring scripts: what they promise about the project still holds."""

import json
import subprocess
import sys

import pytest

from bench import sizing
from bench.guard import GUARDS
from tests.e2e.servers import ROOT, environment


def measured(*argv: str) -> dict[str, float]:
    """Run a script of bench and return what it found."""
    done = subprocess.run(
        [sys.executable, "-m", *argv],
        cwd=ROOT,
        env=environment(ROOT, {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.once
@pytest.mark.parametrize("layer", ["core", "pubsub"])
def test_a_send_is_five_times_as_fast_as_a_loop_for_each(layer: str) -> None:
    """From a plain process; a machine that is busy otherwise gets three tries."""
    ratios: list[float] = []
    while len(ratios) < 3 and (not ratios or ratios[-1] < 5):
        ratios.append(measured("bench.send", layer)["ratio"])
    assert ratios[-1] >= 5, ratios


@pytest.mark.once
@pytest.mark.parametrize("guard", GUARDS)
def test_a_delivery_costs_what_it_did(guard: str) -> None:
    """CPU per delivery against a bare application; the best of three tries counts."""
    tries: list[dict[str, float]] = []
    while len(tries) < 3 and (not tries or tries[-1]["ratio"] > tries[-1]["allowed"]):
        tries.append(measured("bench.guard", guard))
    assert tries[-1]["ratio"] <= tries[-1]["allowed"], tries


@pytest.mark.once
def test_a_slower_poll_is_seen() -> None:
    """A tenth of a millisecond more is too much: the guard can fail."""
    found = measured("bench.guard", "poll", "slowed")
    assert found["ratio"] > found["allowed"]


def test_the_sizing_page_has_what_was_measured() -> None:
    """Its tables are those that the script prints from the measured JSON."""
    assert sizing.text() in sizing.PAGE.read_text()
