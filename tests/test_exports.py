"""What is public: each name is on the reference page, and nothing else is."""

import ast
import re
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path

import pytest

import pushserver
import pushserver.asgi
from tests.reference import REFERENCE, tables
from tests.test_mirror import holds_code

ROOT = Path(__file__).parent.parent
PAGE = (REFERENCE / "python-api.md").read_text()
DOCUMENTED = tables("python-api")
# What Django finds by other names than those of __all__.
FOUND_BY_DJANGO = ("management/commands/", "templatetags/", "urls.py")


def listed(path: Path) -> list[str] | None:
    """Return the module's __all__ as it is written, None if it has none."""
    for node in ast.parse(path.read_text()).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names: list[str] = ast.literal_eval(value)
                return names
    return None


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_reference_page_has_the_public_names(module: str):
    """A module's table has just the names that the module lists."""
    assert sorted(DOCUMENTED[module]) == sorted(import_module(module).__all__)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_public_names_are_there(module: str):
    """Each name that is promised can be imported."""
    for name in DOCUMENTED[module]:
        assert hasattr(import_module(module), name)


def test_no_module_hides_a_public_name():
    """A name at the top is no module's: importing that would put it in its place."""
    modules = {path.stem for path in (ROOT / "pushserver").iterdir()}
    assert modules & set(pushserver.__all__) == set()


def test_every_module_says_what_is_public():
    """A module lists each public name once, except where Django looks by itself."""
    package = ROOT / "pushserver"
    for path in package.rglob("*.py"):
        place = path.relative_to(package).as_posix()
        if holds_code(path) and not place.startswith(FOUND_BY_DJANGO):
            names = listed(path)
            assert names is not None, place
            assert len(names) == len(set(names)), place


def test_the_signatures_are_those_of_the_functions():
    """What the page shows in code is what can be called."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shown = [line for block in blocks for line in block.splitlines()]
    assert len(shown) > 10
    for line in shown:
        name = line.partition("(")[0]
        owner = pushserver.asgi if name == "push_application" else pushserver
        assert line == f"{name}{without_types(getattr(owner, name))}"


def without_types(function: object) -> str:
    found = signature(function)  # type: ignore[arg-type]
    bare = [
        each.replace(annotation=Parameter.empty) for each in found.parameters.values()
    ]
    return str(found.replace(parameters=bare, return_annotation=Parameter.empty))


def test_all_exceptions_that_can_be_caught_are_at_the_top():
    """Whoever sends finds every exception beside the function.

    A malformed cursor is a client's, and answered by the server.
    """
    raised = set(import_module("pushserver.exceptions").__all__)
    assert raised - set(pushserver.__all__) == {"InvalidCursor"}
