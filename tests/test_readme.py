"""The README as a text. That its snippets work is shown in tests/e2e/test_readme.py."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from pushserver.conf import get_config
from tests.readme import README, ROOT, commands, files

PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_to_files(page: Path):
    """Pages and pictures that are linked to are in the repository."""
    text = page.read_text()
    links = re.findall(r"\]\(([^)]+)\)|(?:src|srcset)=\"(docs[^\"]+)\"", text)
    local = [a or b for a, b in links if not (a or b).startswith("https://")]
    assert len(local) > 5
    assert [link for link in local if not (page.parent / link).is_file()] == []


def test_every_page_is_listed():
    """docs/index.md leads to each page of the documentation."""
    folder = ROOT / "docs"
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    linked = set(re.findall(r"\]\(([^)]+)\)", (folder / "index.md").read_text()))
    assert pages - linked == {"index.md"}


def test_the_make_commands_exist():
    """What the README wants to be made is a target of the Makefile."""
    targets = [line.split()[1:] for line in commands() if line.startswith("make ")]
    assert targets == [["run"], ["test"]]
    for target in targets:
        dry_run = ["make", "--dry-run", *target]
        subprocess.run(dry_run, cwd=ROOT, check=True, capture_output=True)


def test_the_python_snippets_are_typed_as_shown():
    """Each file of Python parses, and is short enough to be read on a phone."""
    for file in files():
        assert max(map(len, file.text.splitlines())) <= 88
        if file.path.endswith(".py"):
            ast.parse(file.text)


def test_what_is_said_of_defaults_is_true():
    """The numbers in the README are those of the settings."""
    store = get_config().stores["default"]
    assert (store.max_messages, store.message_timeout) == (100, 3600)
    assert all(location.create_on_get for location in get_config().locations)
    assert README.count("100 messages of a channel, for one hour") == 1
