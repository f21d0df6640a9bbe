"""The guides to listening without our own scripts: each example is run."""

import asyncio
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.browser import Browser, Window
from tests.e2e.servers import ROOT, Server, start_uvicorn, wait_until

GUIDES = ROOT / "docs" / "how-to"
COMMAND = re.compile(r"^```console\n\$ (.*)\n(.*)\n```$", re.MULTILINE)
MODULE = re.compile(r"(?ms)^```python\n# (\w+)\.py\n(.*?)^```$")
SENDS = re.compile(r"(?ms)^```python\n(.*?)^```$")


def guide(name: str) -> str:
    return (GUIDES / f"{name}.md").read_text()


@contextmanager
def serving(**env: str) -> Iterator[Server]:
    env["DJANGO_SETTINGS_MODULE"] = "tests.e2e.pages.settings"
    with start_uvicorn(ROOT, "tests.e2e.pages.asgi:application", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def site(server: Server) -> Server:
    """The server with empty channels, and nobody who listens."""
    wait_until(lambda: opened(server) == [], what="nobody listens")
    for channel in ("news", "votes", "chat"):
        server.request("DELETE", f"/send-update/{channel}")
    return server


@pytest.fixture
def brief() -> Iterator[Server]:
    """A server whose streams end every two seconds."""
    with serving(PAGES_STREAM_SECONDS="2") as server:
        yield server


@pytest.fixture
def window(browser: Browser, keeper: Window, site: Server) -> Iterator[Window]:
    window = browser.open("about:blank")
    yield window
    complaints = [line for line in window.console() if "favicon" not in line]
    window.close()
    keeper.run("return 1")  # commands go to one that is there
    assert complaints == []


def opened(server: Server) -> list[str]:
    found: list[str] = json.loads(server.request("GET", "/open/").body)
    return found


def visit(window: Window, site: Server, name: str, number: int = 0) -> None:
    """Open a guide's page and wait until it listens."""
    window.go(f"http://127.0.0.1:{site.port}/guide/{name}/{number}/")
    wait_until(lambda: len(opened(site)) == 1, what="the page listens")


def publish(
    site: Server,
    channel: str,
    body: str,
    content_type: str = "application/json",
    **more,
) -> None:
    fields = {"Content-Type": content_type, **more}
    path = f"/send-update/{channel}"
    answer = site.request("POST", path, headers=fields, body=body.encode())
    assert answer.status in (201, 202)


def sent(name: str) -> list[tuple[str, Any, Any]]:
    """Run what the guide sends, and return that: channel, data, name of the event."""
    calls: list[tuple[str, Any, Any]] = []

    def note(channel: str, data: Any, event: Any = None, **options: Any) -> None:
        calls.append((channel, data, event))

    [code] = SENDS.findall(guide(name))
    known = {"send_update": note, "send_message": note, "render_to_string": rendered}
    lines = [line for line in code.splitlines() if not line.startswith("from ")]
    exec("\n".join(lines), known)
    return calls


def rendered(template: str, context: dict[str, Any]) -> str:
    return f'<p id="votes">{context["count"]} votes</p>'


def test_event_source(window: Window, site: Server):
    """Shows what comes, tells named events apart, and stops when it is over."""
    visit(window, site, "event-source")
    for channel, data, event in sent("event-source"):
        named = {"X-EventSource-Event": event} if event else {}
        publish(site, channel, json.dumps(data), **named)
    window.wait_for("document.querySelector('#news li')?.textContent === 'Hello'")
    window.wait_for("document.title === 'All the news'")
    site.request("DELETE", "/send-update/news")
    window.wait_for("state.textContent === 'over'")
    wait_until(lambda: opened(site) == [], what="it does not come back")


def test_websocket(window: Window, brief: Server):
    """Shows what comes, comes back with its position, and knows when it is over."""
    publish(brief, "news", '{"title": "Before the page"}')
    visit(window, brief, "websocket")
    [(channel, data, _)] = sent("websocket")
    publish(brief, channel, json.dumps(data))
    shown = "[...document.querySelectorAll('#news li')].map(item => item.textContent)"
    window.wait_for(f"{shown}.join() === 'Hello'")
    window.wait_for("state.textContent === 'waiting'")
    publish(brief, channel, '{"title": "While it was away"}')
    window.wait_for(f"{shown}.join() === 'While it was away,Hello'")
    brief.request("DELETE", "/send-update/news")
    window.wait_for("state.textContent === 'over'")


def test_nchan_s_own_client(window: Window, brief: Server):
    """Cut by the server it comes back by itself: each message once, and in order."""
    publish(brief, "news", '{"title": "Before the page"}')
    visit(window, brief, "websocket", 1)
    window.run("""
        window.log = [];
        subscriber.on("disconnect", () => log.push("cut"));
        subscriber.on("message", (text) => log.push(JSON.parse(text).title));
        subscriber.reconnectTimeout = 2000; // a second more in which to publish
    """)
    publish(brief, "news", '{"title": "Hello"}')
    window.wait_for("log.join().endsWith('Hello,cut')")
    publish(brief, "news", '{"title": "Missed"}')
    publish(brief, "news", '{"title": "Missed, too"}')
    assert window.run("return log.at(-1)") == "cut", "it is still away"
    window.wait_for("log.includes('Missed, too')")
    publish(brief, "news", '{"title": "Live"}')
    window.wait_for("log.includes('Live')")
    heard = [entry for entry in window.run("return log") if entry != "cut"]
    assert heard == ["Hello", "Missed", "Missed, too", "Live"]
    shown = "[...document.querySelectorAll('#news li')].map(item => item.textContent)"
    assert window.run(f"return {shown}") == heard[::-1]


@pytest.mark.parametrize("number", [0, 1])
def test_htmx(window: Window, site: Server, number: int):
    """Both extensions swap in the HTML that was sent, and what follows."""
    visit(window, site, "htmx", number)
    for channel, html, event in sent("htmx"):
        publish(site, channel, html, "text/html", **{"X-EventSource-Event": event})
    window.wait_for("document.getElementById('votes').textContent === '42 votes'")
    publish(site, "votes", '<p id="votes">43 votes</p>', "text/html")
    window.wait_for("document.getElementById('votes').textContent === '43 votes'")


@pytest.mark.parametrize(("command", "answer"), COMMAND.findall(guide("curl")))
def test_curl(site: Server, command: str, answer: str):
    """Each command gets what the guide shows."""
    publish(site, "news", '{"title": "Hello"}')
    url = f"http://127.0.0.1:{site.port}"
    argv = shlex.split(command.replace("$SITE", url))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        heard = ""
        while answer not in heard:
            piece = process.stdout.readline()
            assert piece, f"{answer!r} is not in {heard!r}"
            heard += piece
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def snippet(name: str) -> Any:
    found: dict[str, Any] = {}
    code = dict(MODULE.findall(guide("httpx")))[name]
    exec(compile(code, name, "exec"), found)
    return found[name]


def test_httpx_follows_a_channel(site: Server):
    """From the beginning, and then what comes, over polls."""
    publish(site, "news", "1")
    updates = snippet("follow")(f"http://127.0.0.1:{site.port}/updates/news")
    assert next(updates) == 1
    later = threading.Timer(0.2, publish, (site, "news", "2"))
    later.start()
    try:
        assert next(updates) == 2
    finally:
        later.join()
        updates.close()


def test_httpx_follows_many_channels(site: Server):
    """And keeps the positions for the next time."""
    publish(site, "news", "1")
    channels: dict[str, str | None] = {"news": None, "chat": None}

    async def hear(count: int) -> list[tuple[str, object]]:
        found = []
        stream = snippet("follow_many")(f"http://127.0.0.1:{site.port}", channels)
        async for each in stream:
            found.append(each)
            if len(found) == count:
                break
        await stream.aclose()
        return found

    assert asyncio.run(hear(1)) == [("news", 1)]
    publish(site, "chat", "2")
    publish(site, "news", "3")
    assert sorted(asyncio.run(hear(2))) == [("chat", 2), ("news", 3)]
