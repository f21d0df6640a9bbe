"""The README as the tests read it: files to write and commands to run."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"(?:# |\{# )([\w./]+)(, at the end)?(?: #\})?\n")


@dataclass(frozen=True, slots=True)
class File:
    """A snippet whose first line says into which file it goes."""

    path: str
    at_the_end: bool
    text: str


def snippets() -> list[str | File]:
    """Everything that stands in a fence, in order: commands, and files."""
    found: list[str | File] = []
    for language, text in FENCE.findall(README):
        if language == "console":
            found += [command(line) for line in text.splitlines()]
        else:
            found.append(file(text))
    return found


def command(line: str) -> str:
    prompt, _, rest = line.partition(" ")
    assert prompt == "$", f"no command: {line}"
    return rest


def file(text: str) -> File:
    named = NAME.match(text)
    assert named, f"The first line does not name the file:\n{text}"
    return File(named[1], named[2] is not None, text)


def commands() -> list[str]:
    return [snippet for snippet in snippets() if isinstance(snippet, str)]


def files() -> list[File]:
    return [snippet for snippet in snippets() if isinstance(snippet, File)]
