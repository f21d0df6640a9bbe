"""The snippets of docs/how-to/publish.md, each of them run."""

import asyncio
import io
import json
import os
import re
import shlex
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, models, transaction
from django.db.models.signals import post_save
from django.test import RequestFactory, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import path

from tests.daemon import Daemon, Reader, new_process, start_daemon, unreachable

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-to" / "publish.md").read_text()
NAMED = re.compile(r"^```python\n# ([\w/]+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^```console\n\$ (.*)\n```$", re.MULTILINE)
SNIPPETS = dict(NAMED.findall(PAGE))


class Choice(models.Model):
    """What the page's project has in polls/models.py."""

    votes = models.IntegerField(default=0)

    class Meta:
        app_label = "polls"

    def __str__(self) -> str:
        return f"choice {self.pk}"


def snippet(name: str) -> Any:
    """Run a snippet as the module that its first line names."""
    dotted = name.removesuffix(".py").replace("/", ".")
    if dotted not in sys.modules:
        module = ModuleType(dotted)
        exec(compile(SNIPPETS[name], name, "exec"), module.__dict__)
        sys.modules[dotted] = module
    return sys.modules[dotted]


@pytest.fixture(autouse=True)
def polls(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The project's app, with its table and without the snippets."""
    before = set(sys.modules)
    package, holder = ModuleType("polls"), ModuleType("polls.models")
    package.__path__ = []
    holder.Choice = Choice  # type: ignore[attr-defined]
    sys.modules.update({"polls": package, "polls.models": holder})
    with connection.schema_editor() as editor:
        editor.create_model(Choice)
    with new_process():
        yield
    with connection.schema_editor() as editor:
        editor.delete_model(Choice)
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "polls":
            del sys.modules[name]


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with start_daemon() as daemon:
        yield daemon


@pytest.fixture
def poll(daemon: Daemon) -> Reader:
    """A page that listens to the poll."""
    return daemon.reader("poll").held()


@pytest.fixture
def choice() -> Choice:
    choice = Choice()
    choice.save()
    return choice


def heard(reader: Reader) -> Any:
    return json.loads(reader.next())


def test_a_view_sends_after_the_commit(poll: Reader, choice: Choice) -> None:
    """The vote is in the database when the pages hear of it."""
    response = snippet("polls/views.py").vote(RequestFactory().post("/"), choice.pk)
    assert response.status_code == 204
    assert heard(poll) == {"type": "votes", "choice": choice.pk, "votes": 1}


def test_nothing_is_sent_of_what_was_rolled_back(poll: Reader, choice: Choice) -> None:
    """The first update that pages hear is that of the vote that counts."""
    vote = snippet("polls/views.py").vote

    def fail_after_the_vote() -> None:
        with transaction.atomic():
            vote(RequestFactory().post("/"), choice.pk)
            raise LookupError

    with pytest.raises(LookupError):
        fail_after_the_vote()
    vote(RequestFactory().post("/"), choice.pk)
    assert heard(poll)["votes"] == 1


def test_a_receiver_sends_what_was_saved(poll: Reader, choice: Choice) -> None:
    """Each save is an update, whatever code saves."""
    receiver = snippet("polls/receivers.py").choice_saved
    try:
        choice.votes = 5
        choice.save()
        assert heard(poll) == {"type": "votes", "choice": choice.pk, "votes": 5}
        with unreachable():
            choice.save()
    finally:
        post_save.disconnect(receiver, sender=Choice)


def test_a_task_says_what_happened(
    poll: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    """The result has who was held, and the message's id."""
    tasks = snippet("polls/tasks.py")
    tasks.close_poll()
    assert heard(poll) == {"type": "closed"}
    said = capsys.readouterr().out
    assert re.fullmatch(r"1 pages were waiting, message \d+-\d+\n", said)
    tasks.remove_poll()


def test_a_shell_sends_over_http(daemon: Daemon, poll: Reader, tmp_path: Path) -> None:
    """The page's command reaches the daemon from another process."""
    host = {"location": daemon.location}
    (tmp_path / "shell_settings.py").write_text(
        f"from tests.settings import *\nPUSH_SERVER = {{'publisher_host': {host}}}"
    )
    (command,) = COMMAND.findall(PAGE)
    words = shlex.split(command)
    assert words[:2] == ["python", "manage.py"]
    subprocess.run(
        [sys.executable, "-m", "django", *words[2:]],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "shell_settings",
            "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        },
        check=True,
        capture_output=True,
    )
    assert heard(poll) == {"type": "closed"}


def test_an_async_view_awaits_the_twin(poll: Reader) -> None:
    """It says how many were waiting."""
    response = asyncio.run(
        snippet("polls/async_views.py").announce(RequestFactory().get("/"))
    )
    assert json.loads(response.content) == {"waiting": 1}
    assert heard(poll) == {"type": "news", "text": "Closing soon"}


def test_an_async_view_leaves_transactions_to_sync_code(
    poll: Reader, choice: Choice
) -> None:
    """The vote is counted and sent, in the thread that has the transaction."""
    snippet("polls/views.py")
    vote = snippet("polls/async_votes.py").async_vote
    response = asyncio.run(vote(RequestFactory().post("/"), choice.pk))
    assert response.status_code == 204
    assert heard(poll) == {"type": "votes", "choice": choice.pk, "votes": 1}


def test_text_and_bytes_keep_their_type(daemon: Daemon) -> None:
    """What is no JSON arrives as it is."""
    messages = snippet("polls/messages.py")
    messages.send_row("one")
    rows = daemon.reader("rows")
    assert rows.next() == "<li>one</li>"
    assert rows.content_type == "text/html"
    messages.send_pixel()
    pixels = daemon.reader("pixels")
    assert pixels.next_body() == b"\0\xff\0"
    assert pixels.content_type == "application/octet-stream"


def test_careful_code_learns_what_was_not_delivered(poll: Reader) -> None:
    """A daemon that does not run, and an update that is no JSON."""
    send = snippet("polls/careful.py").send_or_note
    undelivered: list[Any] = []
    send({"type": "fine"}, undelivered)
    assert undelivered == []
    assert heard(poll) == {"type": "fine"}
    bad = object()
    with unreachable():
        send({"type": "lost"}, undelivered)
    send(bad, undelivered)
    assert undelivered[0] == ({"type": "lost"}, False)
    assert undelivered[1][0] is bad


def test_careless_code_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """The error is in the log and nowhere else; mistakes are raised all the same."""
    send = snippet("polls/careless.py").send_if_possible

    async def in_a_loop() -> None:
        send({"type": "lost"})

    with unreachable():
        send({"type": "lost"})
    assert len(caplog.records) == 1
    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(in_a_loop())


def urls() -> Any:
    module = ModuleType("polls.urls")
    vote = snippet("polls/views.py").vote
    module.urlpatterns = [path("vote/<int:pk>/", vote)]  # type: ignore[attr-defined]
    return module


def test_a_project_tests_its_sends() -> None:
    """The page's test case passes under Django's test runner."""
    cases = unittest.defaultTestLoader.loadTestsFromModule(snippet("polls/tests.py"))
    output = io.StringIO()
    setup_test_environment()
    try:
        with override_settings(ROOT_URLCONF=urls()), unreachable():
            result = unittest.TextTestRunner(output).run(cases)
    finally:
        teardown_test_environment()
    assert (result.testsRun, result.wasSuccessful()) == (1, True), output.getvalue()


def test_every_snippet_is_run() -> None:
    """No snippet of the page is without a name, or without a test."""
    assert len(SNIPPETS) == PAGE.count("```python")
    assert PAGE.count("```console") == 1
    run = re.findall(r'snippet\("([\w/]+\.py)"\)', Path(__file__).read_text())
    assert set(run) == set(SNIPPETS)
