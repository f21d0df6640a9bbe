"""Everything the project checks, the cheap things first. Run by `make test`."""

import argparse
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from scripts import debian, interpreters
from scripts.environments import development_python
from scripts.interpreters import Interpreter
from scripts.stages import ROOT, WORK, Failure, Stages, command, run, run_quietly

JS = ROOT / "js"
TYPED = ["pushserver", "demo", "scripts", "tests", "manage.py"]
OLDEST_NODE = 20
COVERAGE = WORK / "coverage"
TWO_CORES = ["--numprocesses=2", "--quiet"]
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
    prepare(stages, primary)
    stages.stop_if_failed()
    if arguments.long:
        server_stages(stages, primary, "long tests", "-m", "long")
    else:
        static_stages(stages, development_python(primary))
        stages.stop_if_failed()
        shutil.rmtree(COVERAGE, ignore_errors=True)
        # Redis, for the unit tests of its store.
        require_debian(stages)
        for interpreter in matrix:
            unit_stage(stages, interpreter)
        stages.stop_if_failed()
        stages.run("coverage", lambda: check_coverage(development_python(primary)))
        stages.stop_if_failed()
        server_stages(stages, primary, "end-to-end tests", "tests/e2e")
    stages.finish()


def check_matrix(matrix: list[Interpreter]) -> None:
    """Say which interpreters take part, and refuse a CI run that proves too little."""
    print(f"found: {', '.join(map(str, matrix))}")
    if lacking := interpreters.lacking(matrix):
        print(f"lacking: {', '.join(lacking)}")
    if IN_CI and matrix[-1].minor < (3, 12):
        raise Failure("Django 6 needs Python 3.12 or newer, and there is none")


def prepare(stages: Stages, interpreter: Interpreter) -> bool:
    return stages.run(
        f"environment for Python {interpreter}",
        lambda: print(f"ready: {development_python(interpreter)}"),
    )


def static_stages(stages: Stages, python: Path) -> None:
    """What starts no server: lint, types, and the JavaScript."""
    stages.run("ruff check", command(python, "-m", "ruff", "check"))
    stages.run("ruff format", command(python, "-m", "ruff", "format", "--check"))
    stages.run("mypy", command(python, "-m", "mypy", *TYPED))
    stages.run("JavaScript packages", install_javascript)
    stages.stop_if_failed()
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


def unit_stage(stages: Stages, interpreter: Interpreter) -> None:
    """All tests but the end-to-end ones, on one interpreter of the matrix."""
    if not prepare(stages, interpreter):
        return
    python = development_python(interpreter)
    unit = [*TWO_CORES, "--ignore=tests/e2e"]
    stages.run(
        f"unit tests on Python {interpreter}, Django {django_version(python)}",
        command(python, "-m", "coverage", "run", "-m", "pytest", *unit),
    )


def require_debian(stages: Stages) -> None:
    """Have the servers and the browser that the tests start."""
    stages.run("Debian packages", lambda: debian.require(debian.END_TO_END))
    stages.stop_if_failed()


def check_coverage(python: Path) -> None:
    """Demand every branch of pushserver/ from the matrix as a whole."""
    run_quietly(python, "-m", "coverage", "combine", log="coverage-combine")
    run(python, "-m", "coverage", "report")


def server_stages(
    stages: Stages, interpreter: Interpreter, name: str, *options: str
) -> None:
    """Tests with real servers and a real browser: on one interpreter only."""
    require_debian(stages)
    python = development_python(interpreter)
    together = ["--dist=loadscope"]  # a module's tests share its servers
    versions = f"Python {interpreter}, Django {django_version(python)}"
    stages.run(
        f"{name}, only on {versions}",
        command(python, "-m", "pytest", *TWO_CORES, *together, *options),
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
