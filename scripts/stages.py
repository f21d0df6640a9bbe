"""Run commands one after the other, timed, and say at the end how it went."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".work"


class Failure(Exception):
    """A stage cannot go on; the message is for the person at the terminal."""


def announce(text: str) -> None:
    print(f"\n== {text}", flush=True)


def run(
    *command: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> None:
    """Run a command with its output on the terminal; its failure is ours."""
    argv = [str(part) for part in command]
    code = subprocess.run(
        argv, cwd=cwd, env={**os.environ, **(env or {})}, check=False
    ).returncode
    if code:
        raise Failure(f"exit code {code}: {' '.join(argv)}")


def run_quietly(
    *command: str | Path, log: str, env: Mapping[str, str] | None = None
) -> None:
    """Run a chatty command with its output in a log, shown only if it fails."""
    argv = [str(part) for part in command]
    WORK.mkdir(exist_ok=True)
    path = WORK / f"{log}.log"
    with path.open("wb") as output:
        code = subprocess.run(
            argv,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        ).returncode
    if code:
        sys.stdout.write(path.read_text(errors="replace"))
        raise Failure(f"exit code {code}: {' '.join(argv)}")


class Stages:
    """The stages of one run: what each took, and which of them failed."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._lines: list[str] = []
        self.failed: list[str] = []

    def run(self, name: str, action: Callable[[], None]) -> None:
        """Run one stage. A failing one is noted, so that others may still run."""
        announce(name)
        self._time(name, action)

    def run_together(self, *stages: tuple[str, Callable[[], None]]) -> None:
        """Run stages that do not depend on one another side by side."""
        announce(", ".join(name for name, _ in stages))
        with ThreadPoolExecutor() as threads:
            # list() waits, and raises what was no Failure.
            list(threads.map(lambda stage: self._time(*stage), stages))

    def _time(self, name: str, action: Callable[[], None]) -> None:
        started = time.monotonic()
        result = "ok"
        try:
            action()
        except Failure as failure:
            print(failure, file=sys.stderr, flush=True)
            self.failed.append(name)
            result = "FAILED"
        took = time.monotonic() - started
        self._lines.append(f"{took:7.1f} s  {result:6}  {name}")

    def stop_if_failed(self) -> None:
        """Do not start anything expensive on top of a failure."""
        if self.failed:
            self.finish()

    def finish(self) -> None:
        """Print the durations and leave the process."""
        announce("durations")
        print("\n".join(self._lines))
        total = time.monotonic() - self._started
        if self.failed:
            print(f"Failed after {total:.0f} s: {', '.join(self.failed)}.")
            sys.exit(1)
        print(f"All {len(self._lines)} stages passed in {total:.0f} s.")
        sys.exit(0)


def command(
    *argv: str | Path, cwd: Path = ROOT, env: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """A stage that is one command."""
    return lambda: run(*argv, cwd=cwd, env=env)
