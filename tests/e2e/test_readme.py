"""A project that is built from the README's snippets, word for word."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.browser import Window, start_browser
from tests.e2e.servers import Server, environment, free_port
from tests.e2e.test_demo import COMMAND
from tests.readme import ROOT, commands, files

PORT = "8000"
INSTALLED = ["pyproject.toml", "README.md", "LICENSE", "pushserver"]
# What has no place in the project: it is about the checkout.
ELSEWHERE = ("make ", ".venv/bin/python ")


class Project:
    """The README's project, and its commands by the words they begin with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.packages = folder / "packages"
        self.checkout = folder / "checkout"
        self.port = free_port()
        self.left = [line for line in commands() if not line.startswith(ELSEWHERE)]
        self.folder.mkdir()
        self.environment = environment(
            self.folder, {"PYTHONPATH": f"{self.folder}{os.pathsep}{self.packages}"}
        )

    def build(self) -> None:
        """Do what a project has behind it, and then all that the README says."""
        for each in INSTALLED:
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            self.checkout.mkdir(exist_ok=True)
            copy(ROOT / each, self.checkout / each)
        install = self.command("python -m pip install")
        offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
        assert install[-1] == "/path/to/django-pushserver"
        self.run(*install[:-1], *offline, "--target", self.packages, self.checkout)
        self.run(sys.executable, "-m", "django", "startproject", "mysite", ".")
        self.run(sys.executable, "manage.py", "startapp", "board")
        for file in files():
            path = self.folder / file.path
            path.parent.mkdir(exist_ok=True)
            before = path.read_text() if file.at_the_end else ""
            path.write_text(before + file.text.replace(PORT, str(self.port)))
        self.run(*self.command("python manage.py makemigrations"))
        self.run(*self.command("python manage.py migrate"))

    def command(self, beginning: str) -> list[str]:
        """Return the words of the one command that begins so."""
        [line] = [line for line in self.left if line.startswith(beginning)]
        self.left.remove(line)
        words = shlex.split(line.replace(PORT, str(self.port)))
        if words[0] == "daphne":
            return [sys.executable, "-m", *words]
        assert words[0] == "python"
        return [sys.executable, *words[1:]]

    def run(self, *words: str | Path) -> str:
        """Run a command in the project to its end and return what it printed."""
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def serve(self, beginning: str) -> Server:
        """Start the server with that command; it listens."""
        words = self.command(beginning)
        server = Server(
            words, cwd=self.folder, port=self.port, env=dict(self.environment)
        )
        return server.wait_listening()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("readme"))
    project.build()
    return project


@pytest.fixture
def windows(server: Server) -> Iterator[tuple[Window, Window]]:
    """Two windows with the page, both of them listening."""
    with start_browser() as browser:
        windows = tuple(browser.open(f"{server.url}/board/") for _ in range(2))
        for window in windows:
            window.wait_for("pushserver.updates.state('board') === 'open'")
        yield windows[0], windows[1]


@pytest.fixture
def server(project: Project) -> Iterator[Server]:
    with project.serve("python manage.py runpushserver") as server:
        yield server
        server.interrupt()
        assert server.wait() == 0, server.output


def waits_for(window: Window, text: str) -> None:
    window.wait_for(f"document.getElementById('note').textContent === {text!r}")


def test_the_readme_brings_push_into_a_project(
    project: Project, windows: tuple[Window, Window]
):
    """A note posted in one window, and one from a shell, are in the other window."""
    one, other = windows
    one.write("input[name=text]", "Buy milk")
    one.click("form button")
    waits_for(other, "Buy milk")
    waits_for(one, "Buy milk")
    project.run(*project.command("python manage.py shell"))
    for window in windows:
        waits_for(window, "Hello from a shell")
    assert not [line for line in other.console() if "favicon" not in line]


def test_the_readmes_asgi_application_serves_it(project: Project):
    """Under the README's daphne, pages and channels come from its asgi.py."""
    with project.serve("daphne ") as server:
        assert server.request("GET", "/board/").status == 200
        sent = ["send_update('board', {'type': 'note', 'text': 'under daphne'})"]
        code = f"from pushserver import send_update; {sent[0]}"
        project.run(sys.executable, "manage.py", "shell", "-c", code)
        answer = server.request("GET", "/updates/board")
        assert answer.status == 200
        assert b"under daphne" in answer.body


def test_the_package_is_the_installed_one(project: Project):
    """The project runs with what pip has installed, not with the checkout."""
    code = "import pushserver; print(pushserver.__file__)"
    origin = project.run(sys.executable, "-c", code).strip()
    assert Path(origin).is_relative_to(project.packages)


def test_the_command_for_the_demo_is_the_one_that_is_tested():
    """The shell command for the demo is what its own test runs."""
    [line] = [line for line in commands() if line.startswith(".venv/")]
    program = [".venv/bin/python", "manage.py", "shell", "-c", COMMAND]
    assert shlex.split(line) == program


def test_no_command_is_left_out():
    """Every command of the README is run here, by the demo's test or by make."""
    expected = [
        "python -m pip install",
        "python manage.py makemigrations",
        "python manage.py migrate",
        "python manage.py runpushserver",
        "python manage.py shell",
        "daphne ",
    ]
    lines = [line for line in commands() if not line.startswith(ELSEWHERE)]
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning)
