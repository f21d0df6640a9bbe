"""What is installed: complete, importable anywhere, with one version number."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import pushserver

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNPACKAGED = shutil.ignore_patterns(
    *(".git", ".work", ".venv", "*.egg-info", "__pycache__", "build", "node_modules")
)

# Imports the modules named on stdin, each in a process of its own that has not
# imported any other module of ours; a fork of a process that has the libraries costs
# less than an interpreter.
IMPORTER = """
import importlib, os, sys, traceback
import channels.layers, django.core.handlers.asgi, django.template, redis.asyncio
for name in sys.stdin.read().split():
    if not os.fork():
        try:
            importlib.import_module(name)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.wait()[1]:
        print(name)
"""


def packaged_files() -> set[str]:
    """All that pushserver/ holds, code or not."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "pushserver").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was made from it."""
    source = tmp_path_factory.mktemp("source") / "checkout"
    shutil.copytree(ROOT, source, ignore=UNPACKAGED)
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", target, source],
        check=True,
        capture_output=True,
    )
    return target


@pytest.mark.once
def test_the_wheel_holds_the_package_and_nothing_else(distributions: Path):
    """Static files, templates, the typing marker and all code are in the wheel."""
    [path] = distributions.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        text = wheel.read(metadata).decode()
    files = {name for name in names if ".dist-info/" not in name}
    assert files == packaged_files()
    assert {"pushserver/py.typed", "pushserver/static/pushserver/updates.js"} <= files
    assert f"\nVersion: {PROJECT['version']}\n" in text
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.once
def test_the_source_distribution_holds_the_package(distributions: Path):
    """All of the package is in the source distribution, with its licence."""
    [path] = distributions.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert packaged_files() <= names
    assert {"LICENSE", "README.md", "pyproject.toml"} <= names


def test_the_version_stands_in_one_place():
    """No module repeats the version, and the JavaScript has none of its own."""
    modules = (ROOT / "pushserver").rglob("*.py")
    assert [path for path in modules if PROJECT["version"] in path.read_text()] == []
    assert "version" not in json.loads((ROOT / "js" / "package.json").read_text())


def test_each_module_imports_without_settings():
    """Any module of ours may be imported first, before settings are configured."""
    modules = [
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in sorted(packaged_files())
        if name.endswith(".py")
    ]
    environment = {
        name: value
        for name, value in os.environ.items()
        if name != "DJANGO_SETTINGS_MODULE" and not name.startswith("COVERAGE_")
    }
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTER],
        input="\n".join(modules),
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "", result.stderr


def test_the_public_names_exist():
    """Each name that the package lists is there to be imported."""
    missing = [name for name in pushserver.__all__ if not hasattr(pushserver, name)]
    assert missing == []
