"""push.js and updates.js in a real Chromium: tabs, sleep, networks and proxies."""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e import nginx
from tests.e2e.browser import Browser, Window
from tests.e2e.servers import (
    DEADLINE,
    ROOT,
    Server,
    free_port,
    start_daphne,
    start_uvicorn,
    wait_until,
)

CHANNELS = [f"c{number}" for number in range(12)]
APPLICATION = "tests.e2e.pages.asgi:application"
SETTINGS = {"DJANGO_SETTINGS_MODULE": "tests.e2e.pages.settings"}
AS_JSON = {"Content-Type": "application/json"}
PROXY = """\
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {site};
            proxy_set_header Host $http_host;
            proxy_buffering on;
            proxy_ignore_headers X-Accel-Buffering;
        }}
    }}
"""

values = count(1)


class Site:
    """The pages, and the messages that were sent to them."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.sent: dict[str, list[int]] = {name: [] for name in CHANNELS}

    def send(self, *channels: str, update: Callable[[int], Any] = int) -> None:
        """Publish one message to each of the channels."""
        with self.server.connect() as connection:
            for channel in channels:
                value = next(values)
                body = json.dumps(update(value)).encode()
                path = f"/send-update/{channel}"
                connection.request("POST", path, headers=AS_JSON, body=body)
                assert connection.response().status in (201, 202)
                self.sent[channel].append(value)

    def opened(self) -> list[str]:
        """Return what is open: the one that tells is not among it."""
        found: list[str] = json.loads(self.server.request("GET", "/open/").body)
        return found

    def is_quiet(self) -> bool:
        return self.opened() == []


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start_uvicorn(
        ROOT, "tests.e2e.pages.asgi:application", env=SETTINGS
    ) as server:
        yield server


@pytest.fixture
def site(server: Server) -> Iterator[Site]:
    """A server to whom nobody listens, before and after, and empty channels."""
    site = Site(server)
    wait_until(site.is_quiet, what="nobody listens")
    for channel in CHANNELS:
        server.request("DELETE", f"/send-update/{channel}")
    yield site
    wait_until(site.is_quiet, what="nobody listens any more")


@pytest.fixture
def tabs(browser: Browser, keeper: Window, site: Site) -> Iterator["Tabs"]:
    tabs = Tabs(browser, keeper, site)
    yield tabs
    tabs.close()


class Tabs:
    """Windows of one browser that a test opens; none is left."""

    def __init__(self, browser: Browser, keeper: Window, site: Site) -> None:
        self._browser = browser
        self._keeper = keeper
        self._site = site
        self._windows: list[Window] = []

    def open(
        self, page: str = "module", *, url: str | None = None, **config: Any
    ) -> Window:
        base = url or self._site.server.url
        fragment = f"#{quote(json.dumps(config))}" if config else ""
        window = self._browser.open(f"{base}/{page}/{fragment}")
        self._windows.append(window)
        return window

    def open_live(self, **config: Any) -> Window:
        window = self.open(**config)
        window.wait_for("window.client?.state === 'open'")
        return window

    def close_one(self, window: Window) -> None:
        self._windows.remove(window)
        window.close()
        self._keeper.go("about:blank")  # the next command is not for the closed one

    def complaints(self) -> list[str]:
        """Return the errors in all consoles since the last call.

        But for networks that a test cut, and the icon that the guide's page lacks.
        """
        lines = [line for line in self._keeper.console() if line.startswith("SEVERE")]
        expected = ("ERR_INTERNET", "favicon")
        return [line for line in lines if not any(word in line for word in expected)]

    def close(self) -> None:
        for window in [*self._windows]:
            self.close_one(window)


def heard(window: Window) -> dict[str, list[int]]:
    found: dict[str, list[int]] = window.run("return heard")
    return found


def waits_for(window: Window, expected: dict[str, list[int]]) -> None:
    """Return once the window has heard all of it, once and in order, and no more."""
    deadline = time.monotonic() + DEADLINE
    while (found := heard(window)) != expected:
        assert time.monotonic() < deadline, f"{found} and not {expected}"


def devtools(window: Window, command: str, **parameters: Any) -> None:
    body = {"cmd": command, "params": parameters}
    window.command("POST", "/goog/cdp/execute", body)


@pytest.mark.parametrize("number", [2, 10])
def test_tabs_hold_one_connection(number: int, site: Site, tabs: Tabs):
    """Whatever the number of tabs: twelve channels, one connection in all."""
    windows = [tabs.open() for _ in range(number)]
    for window in windows:
        window.wait_for("window.client?.state === 'open'")
    site.send(*CHANNELS)
    for window in windows:
        waits_for(window, site.sent)
    wait_until(lambda: len(site.opened()) == 1, what="one connection")
    assert site.opened()[0].split()[1] == "/updates"
    assert tabs.complaints() == []


@pytest.mark.parametrize("transport", ["websocket", "event-stream", "long-poll"])
def test_closing_the_leader_loses_nothing(transport: str, site: Site, tabs: Tabs):
    """Another tab goes on with what was published meanwhile, and nothing twice."""
    leader, *others = (tabs.open_live(transports=[transport]) for _ in range(3))
    site.send("c0", "c1")
    waits_for(others[0], site.sent)
    site.send("c0", "c1")
    tabs.close_one(leader)
    site.send("c0", "c2")
    for window in others:
        waits_for(window, site.sent)
    wait_until(lambda: len(site.opened()) == 1, what="one connection")


def test_a_leader_that_is_frozen_is_replaced(site: Site, tabs: Tabs):
    """The others go on at once; resumed, it hears what it has slept through."""
    leader, other = tabs.open_live(), tabs.open_live()
    devtools(leader, "Page.setWebLifecycleState", state="frozen")
    site.send("c0")
    waits_for(other, site.sent)
    site.send("c1")
    devtools(leader, "Page.setWebLifecycleState", state="active")
    waits_for(leader, site.sent)
    wait_until(lambda: len(site.opened()) == 1, what="one connection")
    assert leader.run("return states") == ["open"]


def test_a_page_comes_back_from_the_back_forward_cache(site: Site, tabs: Tabs):
    """It was let in there, and goes on where it was."""
    window = tabs.open_live()
    site.send("c0")
    waits_for(window, site.sent)
    window.go("about:blank")
    site.send("c0")
    window.command("POST", "/back")
    waits_for(window, site.sent)
    assert window.run("return persisted") is True


def test_a_network_that_goes_and_comes(site: Site, tabs: Tabs):
    """Offline for ten seconds and back: it is told, and what was missed is heard."""
    window = tabs.open_live()
    network = partial(
        devtools,
        window,
        "Network.emulateNetworkConditions",
        latency=0,
        downloadThroughput=-1,
        uploadThroughput=-1,
    )
    devtools(window, "Network.enable")
    network(offline=True)
    window.wait_for("client.state === 'offline'")
    site.send("c0", "c1")
    # Nothing to wait for: that it stays offline for so long is the point.
    time.sleep(10)
    assert window.run("return [client.state, heard.c0.length]") == ["offline", 0]
    network(offline=False)
    began = time.monotonic()
    waits_for(window, site.sent)
    assert time.monotonic() - began < 5
    assert window.run("return states") == ["open", "offline", "connecting", "open"]
    assert tabs.complaints() == []


def buffering_proxy(folder: Path, site: str) -> Server:
    """Start an nginx that keeps back what an answer holds until it is much."""
    port = free_port()
    return nginx.start(folder, port, PROXY.format(port=port, site=site))


def test_a_proxy_that_buffers(tabs: Tabs, tmp_path: Path):
    """The client falls back within 5 s, and the next page of the tab knows.

    nginx speaks HTTP/1.0 to daphne, and so without chunks: those it passes on.
    """
    with (
        start_daphne(ROOT, APPLICATION, env=SETTINGS) as daphne,
        buffering_proxy(tmp_path, daphne.url) as proxy,
    ):
        site = Site(daphne)
        window = tabs.open(url=proxy.url)
        site.send("c0")
        waits_for(window, site.sent)
        assert 3_000 < window.run("return firstAfter") < 5_000
        window.command("POST", "/refresh")
        waits_for(window, site.sent)
        assert window.run("return firstAfter") < 2_000
        tabs.close_one(window)
    assert len(tabs.complaints()) == 1, "the handshake that nginx did not pass on"


def test_the_guides_page(site: Site, tabs: Tabs):
    """The example of docs/how-to/push-module.md, and what it sends."""
    window = tabs.open("example")
    window.wait_for("document.getElementById('state').textContent === 'open'")
    assert window.text("#count") == "41"
    assert site.server.request("GET", "/sends/").status == 200
    window.wait_for("document.getElementById('count').textContent === '42'")
    window.wait_for("document.querySelector('#news li')?.textContent === 'Hello'")


def test_updates_shares_a_connection_between_channels(site: Site, tabs: Tabs):
    """`$.updates` on twelve channels asks what is offered, and takes it."""
    window = tabs.open("classic")
    site.send(*CHANNELS, *CHANNELS, update=lambda value: {"type": "t", "value": value})
    waits_for(window, site.sent)
    wait_until(lambda: site.opened() == ["http /updates"], what="one connection")
    assert tabs.complaints() == []


def test_the_browsers_own_clients(site: Site, tabs: Tabs):
    """EventSource and WebSocket get each message with its id, without our script."""
    window = tabs.open("native")
    wait_until(lambda: len(site.opened()) == 2, what="both are open")
    site.send("c0", "c0")
    expected = "heard.source.length === 2 && heard.socket.length === 2"
    window.wait_for(expected)
    source, socket = (window.run(f"return heard.{name}") for name in heard(window))
    assert [value for _, value in source] == site.sent["c0"]
    assert socket == source
