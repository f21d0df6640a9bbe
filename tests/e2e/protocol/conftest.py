"""Which servers the rows run against.

Every test that asks for `target` runs once for each server. Set PUSH_PROTOCOL_URL to
run the suite against one other server instead, and PUSH_PROTOCOL_TEMPLATES to a JSON
object of its URL templates (`{"long": "/sub/{id}", "publish": "/pub/{id}"}`) when they
differ from the suite's own; rows whose location it lacks skip. PUSH_PROTOCOL_SERVERS
(`daphne,nchan`) picks among the servers that the suite starts.

Rows marked `nchan` belong to the protocol that Nchan shares and run against a real one
too. `nchan(differs="...")` says what it does differently: there the row has to fail.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.protocol import nchan, starting
from tests.e2e.protocol.target import TEMPLATES, Target
from tests.e2e.servers import Server

OTHER = os.environ.get("PUSH_PROTOCOL_URL")
CHOSEN = os.environ.get("PUSH_PROTOCOL_SERVERS", "").replace(" ", "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "nchan(differs=None): a row that Nchan shares, or nearly"
    )


def _parameter(name: str, differs: str | None) -> object:
    marks = [pytest.mark.xfail(strict=True, reason=differs)] if differs else []
    return pytest.param(name, marks=marks)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    own = [name for name in starting.NAMES if not CHOSEN or name in CHOSEN]
    if "target" in metafunc.fixturenames:
        names: list[object] = ["other"] if OTHER else list(own)
        mark = metafunc.definition.get_closest_marker("nchan")
        if mark and not OTHER and (not CHOSEN or "nchan" in CHOSEN):
            names.append(_parameter("nchan", mark.kwargs.get("differs")))
        metafunc.parametrize("target", names, indirect=True)
    # These need the process itself, so they say nothing about others.
    own = [] if OTHER else own
    if "counting" in metafunc.fixturenames:
        # Plain daphne reads the whole body before it calls anybody.
        names = [name for name in own if name != "daphne"]
        metafunc.parametrize("counting", names, indirect=True)
    for fixture in ("listening", "mortal"):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, own, indirect=True)


class Servers:
    """Starts each server when the first test asks for it, stops all at the end."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._running: dict[tuple[str, str], Server] = {}
        self._broken: set[tuple[str, str]] = set()

    def get(self, name: str, face: str = "quiet") -> Server:
        key = name, face
        if key in self._broken:
            # Said once in full; hundreds of tests need not try again.
            pytest.fail(f"{name} ({face}) does not start", pytrace=False)
        if key not in self._running:
            try:
                self._running[key] = self._start(name, face)
            except AssertionError:
                self._broken.add(key)
                raise
        return self._running[key]

    def _start(self, name: str, face: str) -> Server:
        if name == "nchan":
            return nchan.start(self._factory.mktemp("nchan"))
        return starting.start(name, face)

    def stop(self) -> None:
        with contextlib.ExitStack() as stack:
            for server in self._running.values():
                stack.enter_context(server)
                # All at once: each takes a moment to end.
                server.send_signal()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory)
    yield servers
    servers.stop()


@pytest.fixture
def target(request: pytest.FixtureRequest, servers: Servers) -> Target:
    """The server under test: the site's first face, nobody listening, DEBUG off."""
    name: str = request.param
    if OTHER:
        url = urlsplit(OTHER)
        assert url.hostname, f"PUSH_PROTOCOL_URL={OTHER} names no host"
        given = os.environ.get("PUSH_PROTOCOL_TEMPLATES")
        templates = json.loads(given) if given else TEMPLATES
        return Target("other", url.hostname, url.port or 80, templates)
    if name == "nchan" and (lacking := nchan.missing()):
        if os.environ.get("CI") == "true":
            pytest.fail(f"{lacking}: apt-get install nginx-light libnginx-mod-nchan")
        pytest.skip(lacking)
    server = servers.get(name)
    templates = nchan.TEMPLATES if name == "nchan" else TEMPLATES
    return Target(name, server.host, server.port, templates)


@pytest.fixture
def counting(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """The process behind the first face, where bodies are counted as they arrive."""
    return servers.get(request.param)


@pytest.fixture
def listening(request: pytest.FixtureRequest, servers: Servers) -> Server:
    """The site's second face: receivers, DEBUG, trusted proxies, a short resync."""
    return servers.get(request.param, "listening")


@pytest.fixture
def mortal(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of the test's own, to be stopped by it."""
    with starting.start(request.param) as server:
        yield server


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"channel-{uuid.uuid4().hex}"
