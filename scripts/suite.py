"""Everything the project checks, the cheap things first. Run by `make test`."""

import argparse
import hashlib
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

from scripts import debian, interpreters
from scripts.environments import development_python
from scripts.interpreters import Interpreter
from scripts.stages import ROOT, WORK, Failure, Stages, command, run, run_quietly

JS = ROOT / "js"
TYPED = ["pushserver", "demo", "scripts", "tests", "manage.py"]
OLDEST_NODE = 18
COVERAGE = WORK / "coverage"
# The tests wait more than they compute: four processes keep two cores busy.
TESTS = ["-m", "pytest", "--numprocesses=4", "--quiet"]
IN_CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="the fault and fuzz runs")
    arguments = parser.parse_args()
    stages = Stages()
    matrix = interpreters.find()
    # One interpreter is enough for lint, the JavaScript and the servers.
    primary = matrix[-1]
    stages.run("interpreters", lambda: check_matrix(matrix))
    prepare(stages, [primary] if arguments.long else matrix)
    if arguments.long:
        server_stage(stages, primary, "long tests", "long")
    else:
        static_stages(stages, development_python(primary))
        stages.stop_if_failed()
        shutil.rmtree(COVERAGE, ignore_errors=True)
        for interpreter in matrix:
            unit_stage(stages, interpreter, covered=interpreter == primary)
        stages.stop_if_failed()
        stages.run("coverage", lambda: check_coverage(primary))
        stages.stop_if_failed()
        server_stage(stages, primary, "end-to-end tests", "(e2e or once) and not long")
    stages.finish()


def check_matrix(matrix: list[Interpreter]) -> None:
    """Say which interpreters take part, and refuse a CI run that proves too little."""
    print(f"found: {', '.join(map(str, matrix))}")
    if lacking := interpreters.lacking(matrix):
        print(f"lacking: {', '.join(lacking)}")
    if IN_CI and matrix[-1].minor < (3, 12):
        raise Failure("Django 6 needs Python 3.12 or newer, and there is none")


def prepare(stages: Stages, matrix: list[Interpreter]) -> None:
    """Fetch all that is missing, side by side: most of it is waiting."""
    stages.run_together(
        ("Debian packages", lambda: debian.require(debian.END_TO_END)),
        ("JavaScript packages", install_javascript),
        *(
            (f"environment for Python {interpreter}", partial(ready, interpreter))
            for interpreter in matrix
        ),
    )
    stages.stop_if_failed()


def ready(interpreter: Interpreter) -> None:
    print(f"ready: {development_python(interpreter)}", flush=True)


def static_stages(stages: Stages, python: Path) -> None:
    """What starts no server: lint, types, and the JavaScript."""
    stages.run("ruff check", command(python, "-m", "ruff", "check"))
    stages.run("ruff format", command(python, "-m", "ruff", "format", "--check"))
    stages.run("mypy", command(python, "-m", "mypy", *TYPED))
    for script in ["types", "test", "check-bundle"]:
        line = command("npm", "run", "--silent", script, cwd=JS)
        stages.run(f"JavaScript {script}", line)


def install_javascript() -> None:
    """Bring js/node_modules to what the lock file says."""
    if not shutil.which("node"):
        raise Failure(f"Node.js {OLDEST_NODE} or newer is needed")
    answer = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    )
    if int(answer.stdout.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise Failure(f"Node.js {OLDEST_NODE} is needed, not {answer.stdout.strip()}")
    debian.require(["npm"])
    lock = JS / "package-lock.json"
    digest = hashlib.sha256(answer.stdout.encode() + lock.read_bytes()).hexdigest()
    stamp = JS / "node_modules" / ".built-for"
    if not (stamp.is_file() and stamp.read_text() == digest):
        run("npm", "ci", "--no-audit", "--no-fund", cwd=JS)
        stamp.write_text(digest)
    print(f"ready: {JS / 'node_modules'}")


def unit_stage(stages: Stages, interpreter: Interpreter, *, covered: bool) -> None:
    """Run the tests that every interpreter of the matrix has to pass."""
    python = development_python(interpreter)
    pytest = [*TESTS, "--ignore=tests/e2e", "-m", "not (long or once)"]
    stages.run(
        f"unit tests on Python {interpreter}, Django {django_version(python)}",
        # No branch of ours depends on the version, so one of them tells.
        command(python, *(["-m", "coverage", "run"] if covered else []), *pytest),
    )


def check_coverage(interpreter: Interpreter) -> None:
    """Demand every branch of pushserver/."""
    python = development_python(interpreter)
    run_quietly(python, "-m", "coverage", "combine", log="coverage-combine")
    report: list[str | Path] = [python, "-m", "coverage", "report"]
    if interpreter.minor < (3, 12):
        # It traces no coroutine further after an exception was thrown into it, and a
        # wait that ends is a cancelled one.
        print("Python 3.11 does not see all that runs: 99 % are demanded, not 100.")
        report.append("--fail-under=99")
    run(*report)


def server_stage(
    stages: Stages, interpreter: Interpreter, name: str, marked: str
) -> None:
    """Run tests with real servers and a real browser: on one interpreter only."""
    python = development_python(interpreter)
    together = "--dist=loadscope"  # a module's tests share its servers
    versions = f"Python {interpreter}, Django {django_version(python)}"
    stages.run(
        f"{name}, only on {versions}",
        command(python, *TESTS, together, "-m", marked),
    )


def django_version(python: Path) -> str:
    answer = subprocess.run(
        [python, "-m", "django", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    return answer.stdout.strip()


if __name__ == "__main__":
    main()
