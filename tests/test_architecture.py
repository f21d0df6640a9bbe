"""Imports of pushserver point down, and foreign libraries enter by one gate each.

The tables are the design's layers (docs/topics/design). A new module gets its rank
here; an arrow between two modules of one rank is listed, or it is not there.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = "pushserver"
LONGEST = 300

# Modules by rank, lowest first. A package's row is good for what is in it.
RANKS = (
    {
        *(
            "channel_report",
            "deadlines",
            "exceptions",
            "forks",
            "heap",
            "frames",
            "memo",
        ),
        *("messages", "names", "outages", "problems", "signals", "sse", "workers"),
    },
    {"conf", "locations", "redis_settings", "values"},
    {"cors", "stats", "stores", "tails", "tokens"},
    {
        *("contest", "counts", "following", "hub", "live", "publishing"),
        *("subscription", "subscriptions", "turns", "upkeep", "waiters"),
        "wakeups",
    },
    {
        *(
            "access",
            "chain",
            "links",
            "pages",
            "presence",
            "publisher",
            "reach",
            "remote",
        ),
        *("requests", "sending"),
    },
    {
        *("accepting", "admin", "answers", "asgi", "consumers", "endpoints"),
        *(
            "eventstreams",
            "feeds",
            "location_consumer",
            "multiplex",
            "polls",
            "routing",
            "sockets",
            "spellings",
        ),
        *("streams", "subscribing", "templatetags", "testing", "urls", "utils"),
        *("views", "writing"),
    },
    {
        *("", "apps", "checks", "connection", "exchange", "forcehost", "events"),
        *("listening", "management", "reactor", "server", "transport"),
    },
)

# The arrows between modules of one rank.
SAME_RANK = {
    ("frames", "memo"),
    ("frames", "messages"),
    ("messages", "exceptions"),
    ("names", "exceptions"),
    ("sse", "memo"),
    ("sse", "messages"),
    ("conf", "locations"),
    ("conf", "redis_settings"),
    ("conf", "values"),
    ("locations", "values"),
    ("redis_settings", "values"),
    ("contest", "hub"),
    ("contest", "waiters"),
    ("counts", "hub"),
    ("following", "subscription"),
    ("following", "subscriptions"),
    ("following", "waiters"),
    ("hub", "turns"),
    ("hub", "waiters"),
    ("hub", "wakeups"),
    ("live", "hub"),
    ("live", "waiters"),
    ("publishing", "counts"),
    ("publishing", "hub"),
    ("publishing", "wakeups"),
    ("subscription", "live"),
    ("subscription", "subscriptions"),
    ("subscription", "waiters"),
    ("subscriptions", "contest"),
    ("subscriptions", "hub"),
    ("subscriptions", "live"),
    ("subscriptions", "upkeep"),
    ("subscriptions", "waiters"),
    ("upkeep", "contest"),
    ("upkeep", "hub"),
    ("upkeep", "live"),
    ("counts", "waiters"),
    ("upkeep", "waiters"),
    ("publishing", "waiters"),
    ("wakeups", "waiters"),
    ("reach", "publisher"),
    ("remote", "links"),
    ("requests", "chain"),
    ("pages", "links"),
    ("pages", "sending"),
    ("sending", "access"),
    ("sending", "links"),
    ("sending", "reach"),
    ("sending", "remote"),
    ("asgi", "endpoints"),
    ("asgi", "routing"),
    ("accepting", "endpoints"),
    ("answers", "endpoints"),
    ("location_consumer", "endpoints"),
    ("consumers", "accepting"),
    ("consumers", "answers"),
    ("consumers", "endpoints"),
    ("consumers", "eventstreams"),
    ("consumers", "location_consumer"),
    ("eventstreams", "endpoints"),
    ("eventstreams", "feeds"),
    ("eventstreams", "spellings"),
    ("eventstreams", "streams"),
    ("eventstreams", "subscribing"),
    ("eventstreams", "writing"),
    ("feeds", "spellings"),
    ("feeds", "subscribing"),
    ("multiplex", "accepting"),
    ("multiplex", "consumers"),
    ("multiplex", "endpoints"),
    ("multiplex", "eventstreams"),
    ("multiplex", "polls"),
    ("multiplex", "subscribing"),
    ("polls", "feeds"),
    ("polls", "spellings"),
    ("polls", "subscribing"),
    ("routing", "consumers"),
    ("routing", "location_consumer"),
    ("routing", "endpoints"),
    ("routing", "multiplex"),
    ("routing", "sockets"),
    ("sockets", "accepting"),
    ("sockets", "consumers"),
    ("sockets", "endpoints"),
    ("sockets", "feeds"),
    ("sockets", "spellings"),
    ("sockets", "streams"),
    ("sockets", "subscribing"),
    ("sockets", "writing"),
    ("streams", "endpoints"),
    ("streams", "feeds"),
    ("streams", "spellings"),
    ("streams", "writing"),
    ("subscribing", "endpoints"),
    ("writing", "endpoints"),
    ("urls", "views"),
    ("views", "consumers"),
    ("apps", "checks"),
    ("management", "forcehost"),
    ("management", "server"),
    ("server", "connection"),
    ("server", "exchange"),
    ("server", "events"),
    ("server", "listening"),
    ("server", "reactor"),
    ("server", "transport"),
}

# What is imported, or read from the settings, and the modules that alone may do it.
GATES = {
    "channels.layers": {"wakeups"},
    "channels_redis": {"stores.redis", "wakeups"},
    "daphne": {"exchange", "reactor", "server"},
    "redis": {"presence", "stores.redis"},
    "settings.PUSH_SERVER": {"conf"},
    "settings.PUSH_SERVER_IGNORE_ERRORS": {"conf"},
    "twisted": {"connection", "exchange", "reactor", "server", "transport"},
}

RELATIVE = "."
ROWS = {row: rank for rank, rows in enumerate(RANKS) for row in rows}


def complaints(sources: Mapping[str, str]) -> list[str]:
    """Everything that is wrong with modules, given as {dotted name: source text}."""
    found: list[str] = []
    graph: dict[str, set[str]] = {}
    for name, source in sources.items():
        if row_of(name) is None:
            found.append(f"{name} has no rank")
            continue
        if (lines := len(source.splitlines())) > LONGEST:
            found.append(f"{name} has {lines} lines, more than {LONGEST}")
        used = set(uses(source))
        if RELATIVE in used:
            found.append(f"{name} has a relative import")
        found += gate_complaints(name, used)
        graph[name] = {module for item in used if (module := owner(item, sources))}
        found += arrow_complaints(name, graph[name])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found.append(f"cycle: {' <- '.join(error.args[1])}")
    return found


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


def row_of(module: str) -> str | None:
    """The row of the tables that a module belongs to, itself or a package above."""
    row = module.removeprefix(PACKAGE).removeprefix(".")
    while row not in ROWS:
        if "." not in row:
            return None
        row = row.rpartition(".")[0]
    return row


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
    here = row_of(module) or ""
    for target in sorted(targets):
        there = row_of(target) or ""
        if ROWS[there] > ROWS[here]:
            yield f"{module} imports {target}, which is above it"
        elif (
            here != there
            and ROWS[there] == ROWS[here]
            and (here, there) not in SAME_RANK
        ):
            yield f"{module} imports {target} of its own rank"


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
    assert f"{PACKAGE}.hub" in sources
    assert complaints(sources) == []


def test_the_tables_agree_with_themselves():
    """Arrows of one rank join rows of one rank, and run in no circle."""
    graph: dict[str, set[str]] = {}
    for here, there in SAME_RANK:
        assert ROWS[here] == ROWS[there]
        graph.setdefault(here, set()).add(there)
    TopologicalSorter(graph).prepare()
    assert all(row_of(keeper) for keepers in GATES.values() for keeper in keepers)


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ({"conf": "from pushserver.hub import Hub", "hub": ""}, "which is above it"),
        ({"conf": "from pushserver import hub", "hub": ""}, "which is above it"),
        ({"conf": "import pushserver.hub as h", "hub": ""}, "which is above it"),
        ({"hub": "from pushserver import send_update"}, "pushserver, which is above"),
        (
            {"conf": "def f():\n    from pushserver.hub import Hub", "hub": ""},
            "which is above it",
        ),
        (
            {"conf": "import_string('pushserver.hub.Hub')", "hub": ""},
            "which is above it",
        ),
        (
            {"waiters": "from pushserver.hub import Hub", "hub": ""},
            "of its own rank",
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
        ({"hub": "import redis.asyncio"}, "uses redis"),
        ({"stores.memory": "import redis.asyncio"}, "uses redis"),
        ({"conf": "def f():\n    from channels import layers"}, "channels.layers"),
        ({"asgi": "from daphne.server import Server"}, "uses daphne"),
        ({"hub": "settings.PUSH_SERVER"}, "settings.PUSH_SERVER"),
        ({"hub": "getattr(settings, 'PUSH_SERVER', {})"}, "settings.PUSH_SERVER"),
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


@pytest.mark.parametrize(
    "sources",
    [
        {
            "wakeups": "import redistribute, channels.layers",
            "conf": "settings.PUSH_SERVER",
        },
        {"hub": "from pushserver.waiters import Waiters", "waiters": ""},
        {
            "stores.redis": "import redis\nfrom pushserver.stores.base import S",
            "stores.base": "",
        },
        {"management.commands.x": "from pushserver.server import serve", "server": ""},
    ],
)
def test_what_the_tables_allow_passes(sources: dict[str, str]):
    """Arrows that point down, listed ones and gatekeepers are no complaint."""
    assert complaints({PACKAGE: "", **named(sources)}) == []


def named(sources: Mapping[str, str]) -> dict[str, str]:
    return {f"{PACKAGE}.{name}": source for name, source in sources.items()}
