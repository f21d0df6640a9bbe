"""How many workers can be seen from within one of them."""

import sys

import pytest

from pushserver.workers import visible_workers


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEB_CONCURRENCY", "GRANIAN_WORKERS"):
        monkeypatch.delenv(name, raising=False)


def started(monkeypatch: pytest.MonkeyPatch, command: str, **environment: str) -> int:
    """The workers of a process with this command line and environment."""
    monkeypatch.setattr(sys, "argv", command.split())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return visible_workers()


@pytest.mark.parametrize(
    ("command", "workers"),
    [
        ("uvicorn site:app", 1),
        ("uvicorn site:app --workers 4", 4),
        ("uvicorn --workers=4 site:app", 4),
        ("/venv/bin/uvicorn site:app --workers 1", 1),
        ("/venv/lib/uvicorn/__main__.py site:app --workers 4", 4),
        ("gunicorn -w 4 site:app", 4),
        ("gunicorn -w4 site:app", 4),
        ("gunicorn site:app -w 2 -w 3", 3),
        ("granian --workers 4 --interface asgi site:app", 4),
        ("uvicorn site:app --workers", 1),
        ("uvicorn site:app --workers four", 1),
        ("uvicorn site:app --workers -4", 1),
        ("uvicorn site:app --workers 0", 1),
        ("uvicorn site:app --workers-per-core 4", 1),
        ("uvicorn site:app --workdir 4", 1),
        ("-w 4", 1),
        ("", 1),
    ],
)
def test_the_command_line_says_how_many(
    monkeypatch: pytest.MonkeyPatch, command: str, workers: int
) -> None:
    """In every way that the options of the servers can be written."""
    assert started(monkeypatch, command) == workers


@pytest.mark.parametrize("name", ["WEB_CONCURRENCY", "GRANIAN_WORKERS"])
@pytest.mark.parametrize(
    ("value", "workers"),
    [("4", 4), ("1", 1), ("0", 1), ("", 1), ("auto", 1), ("-4", 1), ("2.5", 1)],
)
def test_the_environment_says_how_many(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, workers: int
) -> None:
    """Where the command line does not; what is no number is nothing."""
    assert started(monkeypatch, "uvicorn site:app", **{name: value}) == workers


def test_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it does for the servers: whoever asks for one worker has one."""
    command = "uvicorn site:app --workers 1"
    assert started(monkeypatch, command, WEB_CONCURRENCY="4") == 1


@pytest.mark.parametrize(
    "command",
    [
        "manage.py runpushserver",
        "/venv/bin/django-admin runserver 8000",
        "/venv/bin/daphne site:app",
        "/venv/lib/daphne/__main__.py -p 8001 site:app",
    ],
)
def test_some_servers_are_always_alone(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """A host that sets WEB_CONCURRENCY for everything gives them no more workers."""
    assert started(monkeypatch, command, WEB_CONCURRENCY="4") == 1


def test_other_commands_are_not_taken_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words count only where they name the program or the management command."""
    command = "uvicorn daphne:app runserver"
    assert started(monkeypatch, command, WEB_CONCURRENCY="4") == 4
