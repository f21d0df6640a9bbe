"""Each module of pushserver has the test file whose name says so."""

import ast
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parent.parent


def mirror(module: PurePosixPath) -> PurePosixPath:
    """pushserver/stores/memory.py is tested by tests/stores/test_memory.py.

    What a package's `__init__` holds is tested beside the package: `stores` by
    tests/test_stores.py, pushserver itself by tests/test_package.py.
    """
    place = PurePosixPath("tests", *module.parts[1:])
    if module.name != "__init__.py":
        return place.with_name(f"test_{module.name}")
    if place.parent.name == "tests":
        return place.with_name("test_package.py")
    return place.parent.with_name(f"test_{place.parent.name}.py")


def without_tests(
    modules: Iterable[PurePosixPath], tests: Iterable[PurePosixPath]
) -> list[str]:
    have = set(tests)
    return sorted(f"{module}" for module in modules if mirror(module) not in have)


def python_files(folder: str) -> list[PurePosixPath]:
    """The files below a folder of the checkout that have more in them than words."""
    return [
        PurePosixPath(path.relative_to(ROOT))
        for path in (ROOT / folder).rglob("*.py")
        if holds_code(path)
    ]


def holds_code(path: Path) -> bool:
    """Whether a module has more than a docstring, which is all some packages have."""
    return any(
        not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body
    )


def test_every_module_has_its_test_file():
    """No module of pushserver lacks its mirror below tests."""
    modules = python_files("pushserver")
    assert PurePosixPath("pushserver/conf/values.py") in modules
    assert without_tests(modules, python_files("tests")) == []


def test_a_missing_test_file_is_noticed():
    """The rule names the module, and does not take one file for another."""
    modules = map(
        PurePosixPath,
        [
            "pushserver/__init__.py",
            "pushserver/hub.py",
            "pushserver/stores/__init__.py",
            "pushserver/stores/hub.py",
        ],
    )
    tests = map(
        PurePosixPath,
        ["tests/test_package.py", "tests/test_stores.py", "tests/test_hub.py"],
    )
    assert without_tests(modules, tests) == ["pushserver/stores/hub.py"]
