"""The tables of the reference pages, for tests that compare them with the code."""

from pathlib import Path

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def tables(page: str) -> dict[str, dict[str, str]]:
    """Return, by heading, the second column of each table by its first one."""
    found: dict[str, dict[str, str]] = {}
    heading = ""
    for line in (REFERENCE / f"{page}.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| `"):
            first, second = line.split(" | ")[:2]
            found.setdefault(heading, {})[first.strip("|` ")] = second.strip("| ")
    return found
