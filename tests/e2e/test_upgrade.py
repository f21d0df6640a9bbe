"""A project written for the predecessor runs as it is, in each way one would start it.

The manual's two commands, one command for everything, and an ASGI server with the
`asgi.py` of the README; jQuery of another time in each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.browser import Browser, Window
from tests.e2e.predecessor import PASSWORD, SHELL, USER, Installation, build
from tests.e2e.servers import ROOT, Server, start_daphne, wait_until


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the pages come from, and where the polls go."""

    site: Server
    push: Server


def two_commands(installation: Installation, stack: ExitStack) -> Servers:
    """The manual's way: Django's own server, and the push server beside it."""
    port = installation.push_port
    push = stack.enter_context(installation.start("runpushserver", port=port))
    port = installation.site_port
    site = stack.enter_context(installation.start("runserver", f"{port}", port=port))
    return Servers(site, push)


def one_command(installation: Installation, stack: ExitStack) -> Servers:
    """What serves all from one process, without a change."""
    words = "runpushserver", "--allrequests"
    server = installation.start(*words, port=installation.push_port)
    stack.enter_context(server)
    return Servers(server, server)


def daphne(installation: Installation, stack: ExitStack) -> Servers:
    """Another server, with the application of the README."""
    installation.take_the_readmes_asgi_application()
    port = installation.push_port
    server = start_daphne(installation.folder, "project.asgi:application", port=port)
    stack.enter_context(server)
    return Servers(server, server)


WAYS: dict[str, tuple[Callable[[Installation, ExitStack], Servers], str]] = {
    "runserver and runpushserver": (two_commands, "jquery-1"),
    "runpushserver --allrequests": (one_command, "jquery-3"),
    "daphne": (daphne, "jquery-4"),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """A user who has logged in and has the page open."""

    installation: Installation
    servers: Servers
    browser: Browser
    window: Window


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / "js" / "node_modules").is_dir():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "js/node_modules is missing: npm ci"
        )
    folder = tmp_path_factory.mktemp("predecessor")
    build(folder)
    return folder


@pytest.fixture(scope="module", params=WAYS)
def visit(
    request: pytest.FixtureRequest,
    project: Path,
    browser: Browser,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Visit]:
    start, jquery = WAYS[request.param]
    folder = tmp_path_factory.mktemp("installation") / "project"
    installation = Installation(project, folder, jquery)
    with ExitStack() as stack:
        servers = start(installation, stack)
        window = browser.open(f"{servers.site.url}/admin/login/?next=/")
        window.write("#id_username", USER)
        window.write("#id_password", PASSWORD)
        window.click("[type=submit]")
        window.wait_for("location.pathname === '/'")
        yield Visit(installation, servers, browser, window)
        window.go("about:blank")
        for server in {servers.site, servers.push}:
            server.interrupt()
            server.wait()
            assert "Traceback" not in server.output, server.output
        assert complaints(window) == []


def complaints(window: Window) -> list[str]:
    """Return the errors in the browser's console; the project has no favicon."""
    lines = [line for line in window.console() if "favicon" not in line]
    return [line for line in lines if line.startswith("SEVERE")]


def answers(window: Window) -> list[str]:
    """Return what the page shows."""
    found: list[str] = window.run("return $('#answers li').get().map(e => e.innerText)")
    return found


def users_who(action: str, visit: Visit, channel_id: str) -> list[str]:
    """Return the users with whom the receivers were called for this channel."""
    lines = [line.split(" ") for line in visit.servers.push.stdout.splitlines()]
    return [
        user
        for did, user, channel in (line for line in lines if len(line) == 3)
        if (did, channel) == (action, channel_id)
    ]


@pytest.mark.parametrize(
    "context", ["sync view", "async view", "thread", "async_to_sync", "shell"]
)
def test_a_push_from_anywhere_is_on_the_page(context: str, visit: Visit):
    """What a view, a thread, wrapped code or a shell sends is shown at once, once."""
    seen = answers(visit.window)
    if context == "shell":
        visit.installation.manage("shell", "-c", SHELL)
    else:
        page = f"/{context.removesuffix(' view')}/"
        assert visit.servers.site.request("GET", page).status == 200
    wait_until(lambda: len(answers(visit.window)) > len(seen))
    assert answers(visit.window) == [*seen, context]


def test_the_receivers_get_the_user_who_logged_in(visit: Visit):
    """Each page listens as its user, and leaving it is one unsubscribe."""

    def listening() -> int:
        came, left = (
            users_who(did, visit, "some_channel_id")
            for did in ("Subscribed", "Unsubscribed")
        )
        assert set(came + left) <= {USER}
        return len(came) - len(left)

    wait_until(lambda: listening() == 1)
    other = visit.browser.open(f"{visit.servers.site.url}/")
    wait_until(lambda: listening() == 2)
    other.close()
    wait_until(lambda: listening() == 1)


def test_the_receivers_get_who_did_not_log_in(visit: Visit):
    """A poll without session is nobody's; a client that goes away unsubscribes."""
    with visit.servers.push.connect() as connection:
        connection.request("GET", "/updates/for_all")
        wait_until(lambda: users_who("Subscribed", visit, "for_all"))
    wait_until(lambda: users_who("Unsubscribed", visit, "for_all"))
    heard = [users_who(did, visit, "for_all") for did in ("Subscribed", "Unsubscribed")]
    assert heard == [["AnonymousUser"], ["AnonymousUser"]]
