"""The views of docs/how-to/start-a-page.md, each of them run."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.db import connection, models
from django.test import RequestFactory, override_settings

from pushserver import send_update
from pushserver.asgi import push_application

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-to" / "start-a-page.md").read_text()
VIEW = re.compile(
    r"^```python\n# board/(\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
SNIPPETS = dict(VIEW.findall(PAGE))
[FILTER] = re.findall(r"in the template `(.*?)`", PAGE)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.locmem.Loader",
                    {"board.html": "{{ url }}|" + FILTER + "|{{ entries|length }}"},
                )
            ]
        },
    }
]


class Entry(models.Model):
    """What the page's project has in board/models.py."""

    class Meta:
        app_label = "board"

    def __str__(self) -> str:
        return f"entry {self.pk}"


@pytest.fixture(autouse=True)
def board(database: None) -> Iterator[None]:
    """The project's app, with its table."""
    before = set(sys.modules)
    package, holder = ModuleType("board"), ModuleType("board.models")
    holder.Entry = Entry  # type: ignore[attr-defined]
    sys.modules |= {"board": package, "board.models": holder}
    with connection.schema_editor() as editor:
        editor.create_model(Entry)
    push_application()  # the process serves push: sends stay in it
    with override_settings(TEMPLATES=TEMPLATES):
        yield
    with connection.schema_editor() as editor:
        editor.delete_model(Entry)
    for name in set(sys.modules) - before:
        del sys.modules[name]


def shown(name: str) -> str:
    """Return what the snippet's view answers."""
    found: dict[str, Any] = {}
    exec(compile(SNIPPETS[name], name, "exec"), found)
    text: str = found["board"](RequestFactory().get("/")).content.decode()
    return text


def test_the_view_takes_the_cursor_first():
    """Its page starts there."""
    sent = send_update("board", 1)
    assert sent is not None
    Entry._default_manager.create()
    assert shown("views").split("|")[::2] == [f"/updates/board?since={sent.id}", "1"]


def test_the_view_with_a_configuration():
    """As JSON that push.js finds by its id."""
    html = shown("configured").split("|")[1]
    assert html.startswith('<script id="push-config" type="application/json">')
    config = json.loads(html.partition(">")[2].partition("<")[0])
    assert list(config["channels"]) == ["board", "chat"]


def test_every_snippet_is_run():
    """None is left out."""
    assert set(SNIPPETS) == {"views", "configured"}
