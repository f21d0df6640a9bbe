"""Which Pythons this machine has for the test matrix."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

OLDEST = (3, 11)
SUPPORTED = [(3, 11), (3, 12), (3, 13), (3, 14)]
NEWEST_TRIED = 30  # python3.30 and later are not looked for

PROBE = (
    "import sys; v = sys.version_info; "
    "print(sys.executable, v.major, v.minor, v.micro, v.releaselevel, sep='\\n')"
)


@dataclass(frozen=True, order=True)
class Interpreter:
    """One working Python; they sort by version."""

    version: tuple[int, int, int]
    path: str

    @property
    def minor(self) -> tuple[int, int]:
        return self.version[:2]

    def __str__(self) -> str:
        return ".".join(map(str, self.version))


def probe(command: str | Path) -> Interpreter | None:
    """Start a Python and ask what it is. A name on PATH may be a shim without one."""
    try:
        answer = subprocess.run(
            [str(command), "-c", PROBE],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout.split("\n")
    except (OSError, subprocess.SubprocessError):
        return None
    path, *numbers, level = answer[:5]
    if level not in {"final", "candidate"}:
        return None  # the libraries have no wheels for alphas and betas
    major, minor, micro = map(int, numbers)
    return Interpreter((major, minor, micro), path)


def candidates() -> list[str | Path]:
    """Commands that may be a Python, the preferred ones of a version first."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    return [
        *(f"python3.{minor}" for minor in range(OLDEST[1], NEWEST_TRIED)),
        sys.executable,
        *sorted((pyenv / "versions").glob("3.*/bin/python"), reverse=True),
    ]


def find() -> list[Interpreter]:
    """One interpreter of each version from 3.11 on that really starts, oldest first."""
    found: dict[tuple[int, int], Interpreter] = {}
    for candidate in candidates():
        interpreter = probe(candidate)
        if interpreter and interpreter.minor >= OLDEST:
            found.setdefault(interpreter.minor, interpreter)
    return sorted(found.values())


def lacking(found: list[Interpreter]) -> list[str]:
    """The supported versions that were not found."""
    have = {interpreter.minor for interpreter in found}
    return [
        f"{major}.{minor}" for major, minor in SUPPORTED if (major, minor) not in have
    ]
