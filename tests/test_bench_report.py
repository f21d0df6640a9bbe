"""The results of the benchmarks: what is made of what was measured."""

import json
from pathlib import Path

import pytest

from bench import causes, goals, report
from bench.__main__ import RESULTS
from bench.commands import named
from bench.measured import Results
from pushserver.stores.redis.scripts import READ


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """What two processes over the core layer were seen to do."""
    commands = [
        {"layer": "core", "processes": 1, "each": {"BZPOPMIN": 1.0}, "idle": {}},
        {"layer": "core", "processes": 2, "each": {"BZPOPMIN": 2.0, "READ": 1.0},
         "idle": {"REPORT": 2.2}},
    ]  # fmt: skip
    processes = [
        {"application": application, "processes": 2, "against_one": [ratio, 1.0, 1.2]}
        for application, ratio in (("ours", 1.15), ("ceiling", 1.04))
    ]
    found = {"machine": {}, "commands": commands, "processes": processes}
    (tmp_path / "scale.json").write_text(json.dumps(found))
    return Results(tmp_path)


def test_commands_are_counted_by_name() -> None:
    """Our scripts by ours, and what is no command not at all."""
    lines = [
        b'1.5 [0 127.0.0.1:5] "EVALSHA" "%s" "3" "key"' % READ.digest.encode(),
        b'1.6 [0 127.0.0.1:5] "EVALSHA" "%s" "0"' % (b"a" * 40),
        b'1.7 [0 127.0.0.1:6] "bzpopmin" "inbox" "5"',
        b"OK",
    ]
    assert named(lines) == {"READ": 1, "EVALSHA": 1, "BZPOPMIN": 1}


def test_a_process_is_charged_with_what_it_adds(results: Results) -> None:
    """To a message; what it sends all the time stands beside it."""
    assert results.commands("core") == {
        "BZPOPMIN": [1.0, 2.0, 0.0],
        "READ": [0.0, 1.0, 0.0],
        "REPORT": [0.0, 0.0, 2.2],
    }
    assert results.commands("pubsub") == {}
    goal = next(g for g in goals.goals(results) if g.what.startswith("Redis (core): "))
    assert goal.figure == 2.0


def test_two_processes_are_judged_by_pairs_of_runs(results: Results) -> None:
    """The bare application's ratio is told with the goal."""
    goal = next(g for g in goals.goals(results) if g.what.startswith("two processes"))
    assert goal.figure == 1.15
    assert goal.what.endswith("(bare ASGI: 1.04)")


def test_what_is_missed_has_a_line(results: Results) -> None:
    """With its figure and its cause; what is met or was not measured has none."""
    lines = report.missed(goals.goals(results)).splitlines()
    assert [line for line in lines if line.startswith("*")] == [
        f"* **two processes over Redis / one (bare ASGI: 1.04)**, 1.15 for <= 1.1: "
        f"{causes.cause('two processes over Redis / one')}"
    ]


def test_the_causes_of_what_is_missed_are_known() -> None:
    """Each with a profile that is there."""
    missed = [goal.what for goal in goals.goals(Results(RESULTS)) if goal.met is False]
    unknown = [what for what in missed if causes.cause(what) == causes.UNKNOWN]
    assert not unknown
    for _, _, profile in causes.CAUSES:
        assert (RESULTS / "profiles" / f"{profile}.md").exists()
