"""A real Chromium, driven through chromedriver over the WebDriver protocol.

`start_browser()` is one browser with a new profile of its own, so two of them share
no cookies; `Browser.open()` gives a window. Leaving the context ends everything.
"""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.servers import ROOT, Server, free_port, wait_until

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
]
# What WebDriver calls an element when it is passed around.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class BrowserError(AssertionError):
    """The driver refused a command; the text says which and why."""


class Browser:
    """One session of chromedriver. Not for several threads at once."""

    def __init__(self, driver: Server, profile: Path) -> None:
        self._driver = driver
        self._session = ""
        self._blank: str | None = None
        arguments = [*ARGUMENTS, f"--user-data-dir={profile}"]
        capabilities = {
            "goog:chromeOptions": {
                "args": arguments,
                "binary": shutil.which("chromium"),
            },
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        wanted = {"capabilities": {"alwaysMatch": capabilities}}
        answer = self.command("POST", "/session", wanted)
        self._session = f"/session/{answer['sessionId']}"
        self._blank = self.command("GET", "/window")

    def command(self, method: str, path: str, body: Any = None) -> Any:
        """Send one command of the protocol and return its value."""
        connection = HTTPConnection(self._driver.host, self._driver.port, timeout=60)
        try:
            text = None if method != "POST" else json.dumps(body or {})
            connection.request(method, self._session + path, text)
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            message = f"{method} {path}: {value['error']}: {value['message']}"
            raise BrowserError(message)
        return value

    def open(self, url: str) -> "Window":
        """Show a URL in a window of its own."""
        handle, self._blank = self._blank, None
        if handle is None:
            handle = self.command("POST", "/window/new", {"type": "window"})["handle"]
        window = Window(self, handle)
        window.go(url)
        return window

    def quit(self) -> None:
        self.command("DELETE", "")


class Window:
    """One window of a browser."""

    def __init__(self, browser: Browser, handle: str) -> None:
        self._browser = browser
        self._handle = handle

    def command(self, method: str, path: str, body: Any = None) -> Any:
        """Send a command of the protocol that is about this window."""
        self._browser.command("POST", "/window", {"handle": self._handle})
        return self._browser.command(method, path, body)

    def go(self, url: str) -> None:
        """Load a URL and wait until it has loaded."""
        self.command("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Run the body of a JavaScript function; what it returns, awaited."""
        body = {"script": script, "args": list(arguments)}
        return self.command("POST", "/execute/sync", body)

    def wait_for(self, expression: str, *, deadline: float = 20.0) -> Any:
        """Return the first true value of a JavaScript expression."""
        return wait_until(
            lambda: self.run(f"return {expression}"), deadline=deadline, what=expression
        )

    def text(self, selector: str) -> str:
        """Return the text that the first such element shows."""
        path = f"/element/{self._find(selector)}/text"
        return str(self.command("GET", path))

    def click(self, selector: str) -> None:
        self.command("POST", f"/element/{self._find(selector)}/click")

    def write(self, selector: str, text: str) -> None:
        """Replace what a field holds, by keys as a user would."""
        element = self._find(selector)
        self.command("POST", f"/element/{element}/clear")
        self.command("POST", f"/element/{element}/value", {"text": text})

    def console(self) -> list[str]:
        """Return what the browser's console got since the last call, all windows."""
        entries = self.command("POST", "/se/log", {"type": "browser"})
        return [f"{entry['level']}: {entry['message']}" for entry in entries]

    def screenshot(self) -> bytes:
        """Return the visible part as PNG."""
        return base64.b64decode(self.command("GET", "/screenshot"))

    def close(self) -> None:
        self.command("DELETE", "/window")

    def _find(self, selector: str) -> str:
        body = {"using": "css selector", "value": selector}
        return str(self.command("POST", "/element", body)[ELEMENT])


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start a browser, and end it with all that it has started."""
    port = free_port()
    argv = ["chromedriver", f"--port={port}"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Server(argv, cwd=ROOT, port=port) as driver,
    ):
        browser = Browser(driver.wait_listening(), Path(profile))
        try:
            yield browser
        finally:
            browser.quit()
