"""Virtual environments, built once for each set of pins and interpreter."""

import hashlib
import shutil
import subprocess
import tomllib
from pathlib import Path

from scripts import debian
from scripts.interpreters import Interpreter
from scripts.stages import ROOT, WORK, run, run_quietly

CONSTRAINTS = ROOT / "constraints.txt"


def requirements(*groups: str) -> list[str]:
    """What pyproject.toml asks for: the package's own needs and the named groups'."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needs = list(project["project"]["dependencies"])
    for group in groups:
        needs += project["dependency-groups"][group]
    return needs


def ensure_venv(interpreter: Interpreter) -> None:
    """Install Debian's python3.X-venv where its Python comes without."""
    probe = [interpreter.path, "-c", "import ensurepip, venv"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        debian.install(["python{}.{}-venv".format(*interpreter.minor)])


def environment(
    interpreter: Interpreter, place: Path, *groups: str, editable: bool = False
) -> Path:
    """Return the `python` of an environment with these groups, made if need be.

    An editable one has the checkout installed, for processes that run elsewhere.
    """
    needs = requirements(*groups)
    key = [str(ROOT), interpreter.path, str(interpreter), editable, *needs]
    digest = hashlib.sha256(f"{key}{CONSTRAINTS.read_text()}".encode()).hexdigest()
    python = place / "bin" / "python"
    stamp = place / "built-for"
    if stamp.is_file() and stamp.read_text() == digest:
        return python
    print(f"building {place.relative_to(ROOT)} with Python {interpreter}", flush=True)
    ensure_venv(interpreter)
    shutil.rmtree(place, ignore_errors=True)
    WORK.mkdir(exist_ok=True)
    run(interpreter.path, "-m", "venv", place)
    pip_install(place, "--constraint", CONSTRAINTS, *needs)
    if editable:
        pip_install(place, "--no-deps", "--no-build-isolation", "--editable", ROOT)
    stamp.write_text(digest)
    return python


def pip_install(place: Path, *arguments: str | Path) -> None:
    pip = ("-m", "pip", "--disable-pip-version-check", "install")
    run_quietly(place / "bin" / "python", *pip, *arguments, log=f"pip-{place.name}")


def bench_python(interpreter: Interpreter) -> Path:
    """The Python with which the benchmarks run."""
    return environment(interpreter, WORK / "venvs" / "bench", "test", "bench")


def development_python(interpreter: Interpreter) -> Path:
    """The Python with which this interpreter's share of the tests runs."""
    place = WORK / "venvs" / ".".join(map(str, interpreter.minor))
    return environment(interpreter, place, "test", "lint", editable=True)
