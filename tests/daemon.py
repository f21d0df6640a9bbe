"""Our ASGI application on a real port, served by a thread of this very process.

The process of the test is then both: the one that serves, and any other that sends
over HTTP once `publisher_host` names the port (`Daemon.settings`).
"""

import asyncio
import http.client
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from django.dispatch import Signal
from django.test import override_settings

from pushserver import reach
from pushserver.asgi import push_application
from pushserver.engine.hub import running_hubs
from pushserver.names import quote_channel_id
from pushserver.sending import Sent, asend_update, send_update
from tests.e2e.servers import free_port, wait_until


class Reader:
    """One client that polls, and comes back with its cursor."""

    def __init__(self, port: int, channel_id: str) -> None:
        self.channel_id = channel_id
        self._path = f"/updates/{quote_channel_id(channel_id)}"
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self._cursor: dict[str, str] = {}
        self._polling = False
        self.content_type: str | None = None

    def poll(self) -> None:
        """Send the next poll and do not wait for the answer."""
        self._connection.request("GET", self._path, headers=self._cursor)
        self._polling = True

    def held(self) -> "Reader":
        """Poll, and return once the server holds the poll."""
        self.poll()
        key = "default", self.channel_id
        wait_until(lambda: any(hub.held(key) for hub in running_hubs()))
        return self

    def next(self) -> str:
        """Return the text of the next message, of the poll under way or a new one."""
        return self.next_body().decode()

    def next_body(self) -> bytes:
        """Return the bytes of the next message."""
        if not self._polling:
            self.poll()
        self._polling = False
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, (answer.status, body)
        self._cursor = {"If-None-Match": answer.headers["ETag"]}
        self.content_type = answer.headers["Content-Type"]
        return body

    def close(self) -> None:
        self._connection.close()


class Daemon:
    """The server: where it listens, and clients for it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.location = f"127.0.0.1:{port}"
        self._readers: list[Reader] = []

    def settings(self, **options: Any) -> Any:
        """Return settings under which this process sends to the daemon over HTTP."""
        host = {"location": self.location}
        return override_settings(PUSH_SERVER={"publisher_host": host, **options})

    def reader(self, channel_id: str) -> Reader:
        reader = Reader(self.port, channel_id)
        self._readers.append(reader)
        return reader

    def get(self, path: str) -> str:
        """Return the body of a page that answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            assert answer.status == 200, (answer.status, body)
            return body
        finally:
            connection.close()

    def close(self) -> None:
        """Hang up on behalf of all readers."""
        for reader in self._readers:
            reader.close()


class Server(uvicorn.Server):
    """uvicorn that stops when it is told to, and not at its next tick."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def main_loop(self) -> None:
        self._loop, self._stopped = asyncio.get_running_loop(), asyncio.Event()
        self.ready.set()
        await self._stopped.wait()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)


@contextmanager
def start_daemon(application: Any = None) -> Iterator[Daemon]:
    """Serve the locations, and else the application."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        push_application(application), lifespan="on", log_config=None, ws="none"
    )
    server = Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert server.ready.wait(20)
    daemon = Daemon(listener.getsockname()[1])
    try:
        yield daemon
    finally:
        daemon.close()
        server.stop()
        thread.join()
        listener.close()


ROADS = ["in this process", "over HTTP"]


@contextmanager
def start_daemon_by(road: str, application: Any = None) -> Iterator[Daemon]:
    """Start a server that the sends of this process reach by one of ROADS."""
    with start_daemon(application) as daemon:
        if road == "over HTTP":
            with daemon.settings():
                yield daemon
        else:
            yield daemon


@contextmanager
def new_process() -> Iterator[pytest.MonkeyPatch]:
    """Let this process begin anew, as far as sends are concerned.

    It serves nothing, has no arguments, and its stores are empty.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reach, "_process", reach._Process())
        patch.setattr(sys, "argv", ["manage.py"])
        patch.delenv("WEB_CONCURRENCY", raising=False)
        with override_settings(PUSH_SERVER={}):
            yield patch


def unreachable() -> Any:
    """Return settings that name a daemon which does not run."""
    host = {"location": f"127.0.0.1:{free_port()}"}
    return override_settings(PUSH_SERVER={"publisher_host": host})


each_twin = pytest.mark.parametrize("asynchronous", [False, True])


def send(channel_id: Any, data: Any, asynchronous: bool, **options: Any) -> Sent | None:
    """Send an update by `send_update`, or by its twin in a loop of its own."""
    if asynchronous:
        return asyncio.run(asend_update(channel_id, data, **options))
    return send_update(channel_id, data, **options)


@contextmanager
def connected(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    """Let a receiver hear a signal for a while."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)
