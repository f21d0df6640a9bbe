"""What a newcomer does first: `make run`, two windows, and a push from a shell."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from demo.presence import GRACE
from tests.e2e.browser import Browser, Window, start_browser
from tests.e2e.servers import (
    Server,
    environment,
    free_port,
    start_daphne,
    start_runpushserver,
    start_runserver,
    start_uvicorn,
    wait_until,
)

SETTINGS = "demo_elsewhere"
COMMAND = (
    "from pushserver.utils import updates; "
    "updates.send_update('demo', {'type': 'answer', 'value': 42})"
)


class Site:
    """The demo's settings, but for the database and the port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        lines = [
            "from demo.settings import *",
            f"DATABASES['default']['NAME'] = {str(folder / 'demo.sqlite3')!r}",
            f"PUSH_SERVER = {{**PUSH_SERVER, 'port': {self.port}}}",
        ]
        (folder / f"{SETTINGS}.py").write_text("\n".join(lines))
        self.manage("demo_setup")

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end, in a process of its own."""
        subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=self.folder,
            env=environment(self.folder, self.environment),
            check=True,
            capture_output=True,
        )

    @property
    def environment(self) -> Mapping[str, str]:
        return {"DJANGO_SETTINGS_MODULE": SETTINGS}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def server(site: Site) -> Iterator[Server]:
    with start_runpushserver(
        site.folder, "--allrequests", settings=SETTINGS, port=site.port
    ) as server:
        yield server


@pytest.fixture(scope="module")
def browsers() -> Iterator[tuple[Browser, Browser]]:
    """Two people: their browsers share no cookies."""
    with start_browser() as one, start_browser() as other:
        yield one, other


@pytest.fixture
def windows(
    server: Server, browsers: tuple[Browser, Browser]
) -> Iterator[tuple[Window, Window]]:
    """The board in the window of a guest in each browser, both of them live."""
    one, other = (browser.open(server.url) for browser in browsers)
    for window in [one, other]:
        window.wait_for("document.querySelector('#state').textContent === 'live'")
    yield one, other
    for window in [one, other]:
        window.command("DELETE", "/cookie")
        assert window.console() == []
        window.go("about:blank")


def log_in(window: Window, server: Server) -> None:
    window.go(f"{server.url}/login/")
    window.write("#id_username", "demo")
    window.write("#id_password", "demo")
    window.click(".login button")
    window.wait_for("document.querySelector('#state')?.textContent === 'live'")


def people(window: Window) -> list[str]:
    """Return who the window says is listening, as shown."""
    script = "return [...document.querySelectorAll('#people li')].map(e => e.innerText)"
    return [" ".join(text.split()) for text in window.run(script)]


def votes(window: Window) -> list[int]:
    """Return the votes that the window shows for each of the choices."""
    texts = "[...document.querySelectorAll('[data-votes]')].map(e => e.innerText)"
    return [int(text) for text in window.run(f"return {texts}")]


def held(server: Server) -> int:
    """Return how many polls wait on the demo's channel."""
    headers = {"Accept": "application/json"}
    about = server.request("GET", "/send-update/demo", headers=headers)
    return int(json.loads(about.body)["subscribers"])


def shows(window: Window, expected: list[int]) -> bool:
    return votes(window) == expected


def test_a_vote_in_one_window_shows_in_the_other(windows: tuple[Window, Window]):
    """Who has the page open sees the vote; no page is reloaded for it."""
    one, other = windows
    for window in windows:
        window.run("window.loadedOnce = true")
    before = votes(one)
    one.click(".choice:nth-of-type(2)")
    after = [count + (place == 1) for place, count in enumerate(before)]
    for window in windows:
        wait_until(partial(shows, window, after), what="the vote")
        assert window.run("return window.loadedOnce")
    width = other.run("return document.querySelectorAll('rect')[1].style.width")
    assert width == f"{round(100 * after[1] / sum(after))}%"


def test_the_shell_reaches_both_pages(site: Site, windows: tuple[Window, Window]):
    """A second process sends the answer that the page says how to send."""
    assert COMMAND in windows[0].text("#command")
    site.manage("shell", "-c", COMMAND)
    for window in windows:
        window.wait_for("document.querySelector('#answer').textContent === '42'")
        wire = window.text("#wire")  # not the first row: who is there may have changed
        assert json.dumps({"type": "answer", "value": 42}) in wire


def test_each_sees_who_is_there(
    server: Server,
    windows: tuple[Window, Window],
    browsers: tuple[Browser, Browser],
):
    """A login, a second page and a page that goes show in the other window."""
    one, other = windows
    wait_until(lambda: people(other) == ["2 guests not logged in"], what="two guests")
    log_in(one, server)
    expected = ["demo 1 page", "a guest not logged in"]
    wait_until(lambda: people(other) == expected, what="the login")
    wait_until(lambda: people(one)[0] == "demo you, 1 page", what="oneself")
    second = browsers[0].open(server.url)
    wait_until(lambda: people(other)[0] == "demo 2 pages", what="the second page")
    second.close()
    wait_until(
        lambda: people(other) == expected, deadline=GRACE + 10, what="the page's end"
    )
    one.click(".account button")
    wait_until(
        lambda: people(other) == ["2 guests not logged in"],
        deadline=GRACE + 10,
        what="the logout",
    )


def test_a_login_elsewhere_does_not_disturb_a_page(
    server: Server, windows: tuple[Window, Window], browsers: tuple[Browser, Browser]
):
    """A page that was open before the login in another window can still vote."""
    one, other = windows
    second = browsers[0].open(server.url)
    log_in(second, server)
    before = votes(other)
    one.click(".choice:nth-of-type(1)")
    wait_until(lambda: sum(votes(other)) == sum(before) + 1, what="the vote")
    second.close()


def test_a_user_pushes_to_any_channel(server: Server, windows: tuple[Window, Window]):
    """What the box sends shows in the other window, and on the channel's own page."""
    one, other = windows
    assert other.run("return document.querySelector('#push fieldset').disabled")
    log_in(one, server)
    # While the pages still hear of each other, one may be between two polls.
    expected = ["demo 1 page", "a guest not logged in"]
    wait_until(lambda: people(other) == expected, deadline=GRACE + 10, what="the login")
    wait_until(lambda: held(server) == 2, what="two polls that are held")
    one.write("#push-update", '{"type": "answer", "value": "from the box"}')
    one.click("#push fieldset button")
    other.wait_for("document.querySelector('#answer').textContent === 'from the box'")
    one.wait_for("/Kept as \\d+-\\d+; 2 pages/.test(pushed.textContent)")
    one.write("#push-channel", "Räume/3 ß")
    one.write("#push-update", '["not even an object"]')
    one.click("#push fieldset button")
    one.wait_for("document.querySelector('#pushed a')")
    one.click("#pushed a")
    one.wait_for("document.querySelector('#wire tr')")
    assert '["not even an object"]' in one.text("#wire tr")
    # It is no update: the client says so, once, and goes on.
    assert "JSON, but no object" in "".join(one.console())


def updates(server: Server, channel_id: str) -> Iterator[dict[str, Any]]:
    """Follow a channel from its beginning."""
    tag = "0"
    while True:
        path = f"/updates/{channel_id}?since={tag}"
        response = server.request("GET", path)
        assert response.status == 200
        tag = response.headers["etag"].strip('"')
        yield json.loads(response.body)


STARTS: dict[str, Callable[[Site], AbstractContextManager[Server]]] = {
    "daphne": lambda site: start_daphne(
        site.folder, "demo.asgi:application", port=site.port, env=site.environment
    ),
    "runserver": lambda site: start_runserver(
        site.folder, settings=SETTINGS, port=site.port
    ),
    "uvicorn": lambda site: start_uvicorn(
        site.folder, "demo.asgi:application", port=site.port, env=site.environment
    ),
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_other_servers_serve_the_site(
    start: Callable[[Site], AbstractContextManager[Server]], tmp_path: Path
):
    """Pages, static files and channels come from one process of any ASGI server."""
    site = Site(tmp_path)
    with start(site) as server:
        assert server.request("GET", "/").status == 200
        for path in ["demo/board.js", "demo/demo.css", "pushserver/updates.js"]:
            assert server.request("GET", f"/static/{path}").status == 200
        with server.connect() as poll:
            poll.request("GET", "/updates/demo")
            # The guest is noticed: the server's own first message.
            assert json.loads(poll.response().body)["guests"] == 1
        site.manage("shell", "-c", COMMAND)
        answer = next(u for u in updates(server, "demo") if u["type"] == "answer")
        assert answer == {"type": "answer", "value": 42}
