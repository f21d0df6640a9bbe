"""Imports of pushserver point down, and foreign libraries enter by one gate each.

The tables are the design's layers (docs/topics/design). A new package or module at the
top gets its rank here; an arrow within a rank or a package is listed, or it is not
there.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

PACKAGE = "pushserver"
LONGEST = 300

# The packages and modules at the top by rank, lowest first.
RANKS = (
    "exceptions forks heap messages names outages problems signals workers",
    "conf",
    "stores tokens",
    "engine",
    "access chain links pages publisher reach remote requests sending",
    "asgi consumers routing templatetags urls utils views",
    "__init__ apps checks forcehost management server",
)

# Who imports whom: among those of one rank, and within a package. The packages that
# are not here have no order within.
ARROWS = {
    PACKAGE: {
        "apps": "checks",
        "asgi": "consumers routing",
        "management": "forcehost server",
        "messages": "exceptions",
        "names": "exceptions",
        "pages": "links sending",
        "reach": "publisher",
        "remote": "links",
        "requests": "chain",
        "routing": "consumers",
        "sending": "links reach remote",
        "urls": "views",
        "views": "consumers",
    },
    "conf": {
        "__init__": "locations redis_settings values",
        "locations": "values",
        "redis_settings": "values",
    },
    "consumers": {
        "__init__": "location roles",
        "accepting": "endpoints",
        "answers": "endpoints memo",
        "eventstreams": "endpoints feeds spellings streams subscribing writing",
        "feeds": "spellings subscribing",
        "frames": "memo",
        "location": "endpoints",
        "multiplex": "accepting endpoints eventstreams polls roles subscribing",
        "polls": "feeds frames spellings subscribing",
        "roles": "accepting answers cors endpoints eventstreams location",
        "sockets": "accepting endpoints feeds frames roles spellings streams "
        "subscribing writing",
        "spellings": "frames sse",
        "sse": "memo",
        "streams": "endpoints feeds spellings writing",
        "subscribing": "endpoints frames memo",
        "writing": "endpoints",
    },
    "engine": {
        "contest": "hub waiters",
        "counts": "hub waiters",
        "following": "subscription waiters",
        "hub": "turns waiters wakeups",
        "live": "hub tails waiters",
        "publishing": "channel_report counts hub waiters wakeups",
        "subscription": "live subscriptions waiters",
        "subscriptions": "contest hub live tails upkeep waiters",
        "upkeep": "contest hub live waiters",
        "wakeups": "waiters",
    },
    "server": {
        "daphne": "connection events exchange listening reactor transport",
    },
}

# What is imported, or read from the settings, and the modules that alone may do it.
GATES = {
    "channels.layers": {"engine.wakeups"},
    "channels_redis": {"stores.redis", "engine.wakeups"},
    "daphne": {"server"},
    "redis": {"stores.redis"},
    "settings.PUSH_SERVER": {"conf"},
    "settings.PUSH_SERVER_IGNORE_ERRORS": {"conf"},
    "twisted": {"server"},
}

RELATIVE = "."
RANK_OF = {place: rank for rank, places in enumerate(RANKS) for place in places.split()}


def complaints(sources: Mapping[str, str]) -> list[str]:
    """Everything that is wrong with modules, given as {dotted name: source text}."""
    found: list[str] = []
    modules: dict[str, set[str]] = {}
    places: dict[str, set[str]] = {}
    for name, source in sources.items():
        place, _ = split(name)
        if place not in RANK_OF:
            found.append(f"{name} has no rank")
            continue
        if (lines := len(source.splitlines())) > LONGEST:
            found.append(f"{name} has {lines} lines, more than {LONGEST}")
        used = set(uses(source))
        if RELATIVE in used:
            found.append(f"{name} has a relative import")
        found += gate_complaints(name, used)
        modules[name] = {module for item in used if (module := owner(item, sources))}
        places.setdefault(place, set()).update(
            there for module in modules[name] if (there := split(module)[0]) != place
        )
        found += arrow_complaints(name, modules[name])
    return [*found, *circle(modules), *circle(places)]


def circle(graph: Mapping[str, set[str]]) -> Iterator[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield f"cycle: {' <- '.join(error.args[1])}"


def uses(source: str) -> Iterator[str]:
    """Dotted names that are imported anywhere in a module, and settings it reads."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(level=level) if level:
                yield RELATIVE
            case ast.ImportFrom(module=origin, names=names):
                yield from (f"{origin}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Name("import_module" | "import_string" | "__import__"),
                args=[ast.Constant(str(target)), *_],
            ):
                yield target
            case ast.Attribute(attr=setting) if setting.startswith("PUSH_SERVER"):
                yield f"settings.{setting}"
            case ast.Call(
                func=ast.Name("getattr" | "hasattr"),
                args=[_, ast.Constant(str(setting)), *_],
            ):
                yield f"settings.{setting}"


def split(module: str) -> tuple[str, str]:
    """Return a module's place at the top, and what it is called in that package."""
    place, _, within = module.removeprefix(PACKAGE).removeprefix(".").partition(".")
    return place or "__init__", within or "__init__"


def owner(used: str, sources: Mapping[str, str]) -> str | None:
    """The module of ours that a dotted name comes from."""
    while used not in sources:
        if "." not in used:
            return None
        used = used.rpartition(".")[0]
    return used


def inside(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def gate_complaints(module: str, used: set[str]) -> Iterator[str]:
    for gate, keepers in GATES.items():
        passes = any(inside(name, gate) for name in used)
        if passes and not any(
            inside(module, f"{PACKAGE}.{keeper}") for keeper in keepers
        ):
            yield f"{module} uses {gate}, which is for {sorted(keepers)} only"


def arrow_complaints(module: str, targets: set[str]) -> Iterator[str]:
    here, name = split(module)
    for target in sorted(targets):
        there, other = split(target)
        above = RANK_OF.get(there, len(RANKS)) - RANK_OF[here]
        if above > 0:
            yield f"{module} imports {target}, which is above it"
        elif here == there:
            if here in ARROWS and other not in {name, *listed(here, name)}:
                yield f"{module} imports {target} of its own package"
        elif above == 0 and there not in listed(PACKAGE, here):
            yield f"{module} imports {target} of its own rank"


def listed(package: str, name: str) -> list[str]:
    """Return what the tables let a module import within its package."""
    return ARROWS[package].get(name, "").split()


def package_sources() -> dict[str, str]:
    root = Path(__file__).parent.parent
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path.read_text()
        for path in (root / PACKAGE).rglob("*.py")
    }


def test_the_package_keeps_its_layers():
    """No module of pushserver breaks a rule of the tables."""
    sources = package_sources()
    assert f"{PACKAGE}.engine.hub" in sources
    assert complaints(sources) == []


def test_the_tables_agree_with_themselves():
    """Arrows of one rank join what is of one rank, and run in no circle."""
    for package, arrows in ARROWS.items():
        graph = {name: {*targets.split()} for name, targets in arrows.items()}
        assert [*circle(graph)] == []
        if package == PACKAGE:
            for here, there in graph.items():
                assert {RANK_OF[place] for place in there} == {RANK_OF[here]}
        else:
            assert package in RANK_OF
    assert {split(keeper)[0] for keeper in chain(*GATES.values())} <= {*RANK_OF}


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        (
            {"conf": "from pushserver.engine.hub import Hub", "engine.hub": ""},
            "which is above it",
        ),
        (
            {"conf": "from pushserver.engine import hub", "engine.hub": ""},
            "which is above it",
        ),
        (
            {"conf": "import pushserver.engine.hub as h", "engine.hub": ""},
            "which is above it",
        ),
        (
            {"engine.hub": "from pushserver import send_update"},
            "pushserver, which is above",
        ),
        (
            {
                "conf": "def f():\n    from pushserver.engine.hub import Hub",
                "engine.hub": "",
            },
            "which is above it",
        ),
        (
            {"conf": "import_string('pushserver.engine.hub.Hub')", "engine.hub": ""},
            "which is above it",
        ),
        (
            {
                "engine.waiters": "from pushserver.engine.hub import Hub",
                "engine.hub": "",
            },
            "of its own package",
        ),
        ({"messages": "import pushserver.names", "names": ""}, "of its own rank"),
        (
            {
                "consumers": "",
                "consumers.feeds": "from pushserver.consumers import LocationConsumer",
            },
            "of its own package",
        ),
        (
            {
                "stores.a": "import pushserver.stores.b",
                "stores.b": "def f():\n    import pushserver.stores.a",
            },
            "cycle: ",
        ),
        ({"conf": "pass\n" * 301}, "301 lines"),
        ({"stores.a": "from .. import conf"}, "relative import"),
        ({"novelty": ""}, "has no rank"),
        ({"stores2": ""}, "has no rank"),
        ({"engine.hub": "import redis.asyncio"}, "uses redis"),
        ({"stores.memory": "import redis.asyncio"}, "uses redis"),
        ({"conf": "def f():\n    from channels import layers"}, "channels.layers"),
        ({"asgi": "from daphne.server import Server"}, "uses daphne"),
        ({"engine.hub": "settings.PUSH_SERVER"}, "settings.PUSH_SERVER"),
        (
            {"engine.hub": "getattr(settings, 'PUSH_SERVER', {})"},
            "settings.PUSH_SERVER",
        ),
        (
            {"sending": "s.PUSH_SERVER_IGNORE_ERRORS"},
            "settings.PUSH_SERVER_IGNORE_ERRORS",
        ),
    ],
)
def test_each_rule_can_be_broken(sources: dict[str, str], complaint: str):
    """A made-up module that breaks one rule is found, with that one complaint."""
    [found] = complaints({PACKAGE: "", **named(sources)})
    assert complaint in found


def test_packages_in_a_circle_are_found():
    """Two packages that need each other are a circle, even if no modules are."""
    sources = {
        "engine.hub": "import pushserver.stores.base",
        "stores.base": "",
        "stores.redis": "import pushserver.engine.turns",
        "engine.turns": "",
    }
    [found] = [each for each in complaints(named(sources)) if "cycle" in each]
    assert {"engine", "stores"} <= {*found.split()}


@pytest.mark.parametrize(
    "sources",
    [
        {
            "engine.wakeups": "import redistribute, channels.layers",
            "conf": "settings.PUSH_SERVER",
        },
        {
            "engine.hub": "from pushserver.engine.waiters import Waiters",
            "engine.waiters": "",
        },
        {
            "stores.redis": "import redis\nfrom pushserver.stores.base import S",
            "stores.base": "",
        },
        {
            "management.commands.x": "from pushserver.server.daphne import serve",
            "server.daphne": "",
        },
    ],
)
def test_what_the_tables_allow_passes(sources: dict[str, str]):
    """Arrows that point down, listed ones and gatekeepers are no complaint."""
    assert complaints({PACKAGE: "", **named(sources)}) == []


def named(sources: Mapping[str, str]) -> dict[str, str]:
    return {f"{PACKAGE}.{name}": source for name, source in sources.items()}
