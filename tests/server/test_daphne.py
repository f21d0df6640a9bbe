import json
import resource
import signal
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.servers import Connection, Server, wait_until
from tests.serving import start, told, wait_told


@pytest.fixture
def server() -> Iterator[Server]:
    with start() as server:
        yield server
        assert "Traceback" not in server.stderr


def open_socket(server: Server, path: str = "/") -> ClientConnection:
    url = f"ws://{server.host}:{server.port}{path}"
    return connect(url, proxy=None, legacy=True)


def test_file_limit_is_raised(server):
    """The server may open as many connections as the system lets it."""
    soft, hard = json.loads(server.request("GET", "/files").body)
    assert soft == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/error", "/begun", "/refused"])
def test_application_that_raises(method, path):
    """An exception is a 500 without its text, and one logged traceback.

    Even after the start of an answer, and before there was a coroutine.
    """
    with start() as server:
        response = server.request(method, path)
        assert response.status == 500
        assert b"as the test asked for" not in response.body
        assert server.stop() == 0
        assert "RuntimeError: as the test asked for" in server.stderr
        assert server.stderr.count("Traceback") == 1


def test_websocket(server):
    """The application gets WebSockets, too."""
    with open_socket(server) as client:
        client.send("hello")
        assert client.recv() == "hello"
    wait_told(server, "log", "WebSocket CONNECTED /", None, 0)


def test_drain(server):
    """A stop answers held requests, lets running ones end and closes idle ones."""
    with server.connect() as held, server.connect() as slow, server.connect() as idle:
        idle.request("GET", "/")
        assert idle.response().status == 200
        held.request("GET", "/held")
        slow.request("GET", "/slow")
        wait_told(server, "got", "/slow")
        wait_told(server, "got", "/held")
        server.send_signal(signal.SIGTERM)
        response = held.response()
        assert (response.status, response.body) == (503, b"come back")
        assert response.headers["connection"] == "close"
        assert held.read_to_end() == b""
        assert idle.read_to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        assert slow.response().body == b"slow"
    assert server.wait() == 0
    assert told(server, "got").count(["drain"]) == 1
    assert told(server, "got")[-1] == ["stop"]
    assert told(server, "ended") == [[True]]


def test_drain_of_nobody(server):
    """Without connections a stop is immediate, on Ctrl-C as on SIGTERM."""
    server.interrupt()
    assert server.wait(2) == 0
    assert told(server, "ended") == [[True]]


@pytest.mark.parametrize("turns", [1, 2])
def test_drain_ends_a_connection_that_was_just_accepted(server, turns):
    """Which has asked for nothing, and would hold it up; so many turns of the loop."""
    assert server.request("GET", f"/crowd/{turns}").status == 200
    assert server.wait(5) == 0


def test_drain_ends_a_connection_after_its_stream(server):
    """A response that had begun is completed, then its connection closes."""
    with server.connect() as connection:
        connection.request("GET", "/stream")
        wait_told(server, "got", "/stream")
        server.send_signal(signal.SIGTERM)
        assert connection.response().body == b"begin end"
        assert connection.read_to_end() == b""
    assert server.wait() == 0


def test_drain_waits_for_a_request_that_is_coming_in(server):
    """A request of which the first half has arrived may send the other."""
    with server.connect() as connection:
        connection.request("POST", "/", headers={"Content-Length": "8"}, body=None)
        connection.send(b"half")
        # An answer on a later connection shows that the half has been read.
        assert server.request("GET", "/").status == 200
        server.send_signal(signal.SIGTERM)
        wait_told(server, "got", "drain")
        connection.send(b"half")
        assert connection.response().body == b"8"
    assert server.wait() == 0


def test_drain_waits_for_work_after_the_answer(server):
    """What an application does after its answer is not cut short."""
    assert server.request("GET", "/late").status == 200
    assert server.stop() == 0
    assert ["late work done"] in told(server, "got")


def begin_socket(server: Server, connection: Connection, path: str) -> None:
    """Ask for a WebSocket as a client that does nothing more than that."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    before = told(server, "got").count(["websocket.connect"])
    connection.request("GET", path, headers=headers)
    wait_until(lambda: told(server, "got").count(["websocket.connect"]) > before)


def test_drain_closes_websockets(server):
    """Open WebSockets are closed as going away, and one without answer is refused."""
    with (
        open_socket(server) as client,
        server.connect() as undecided,
        server.connect() as closing,
    ):
        client.send("hello")
        assert client.recv() == "hello"
        begin_socket(server, undecided, "/undecided")
        begin_socket(server, closing, "/closed")
        assert closing.response().status == 101
        server.send_signal(signal.SIGTERM)
        assert undecided.response().status == 403
        with pytest.raises(ConnectionClosed) as closed:
            client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
        assert server.wait(5) == 0
    wait_told(server, "got", "websocket.disconnect", 1001)


@pytest.mark.parametrize("path", ["/never", "/stubborn", "/thread"])
def test_drain_has_a_deadline(path):
    """A request that does not end in time is cut, and serve() comes back and says so.

    Whether it can be cancelled, refuses to be or has a thread that hangs.
    """
    with start(drain_timeout=0.5) as server, server.connect() as connection:
        connection.request("GET", path)
        wait_told(server, "got", path)
        assert server.stop(deadline=8) == 0
        assert told(server, "ended") == [[False]]
        assert "Cutting 1 connections" in server.stderr
        assert "Traceback" not in server.stderr


def test_stop_has_a_deadline():
    """What is left of the time is for `on_stop`, and no more."""
    with start(drain_timeout=0.5, stop_takes=3600) as server:
        assert server.stop(deadline=8) == 0
        assert told(server, "ended") == [[False]]
        assert not server.stderr


def test_second_signal(server):
    """Who presses Ctrl-C again does not want to wait."""
    with server.connect() as connection:
        connection.request("GET", "/never")
        wait_told(server, "got", "/never")
        server.interrupt()
        wait_told(server, "got", "drain")
        assert server.process.poll() is None
        server.interrupt()
        assert server.wait(3) == 0
    assert told(server, "ended") == [[False]]
