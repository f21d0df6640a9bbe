import json
import re
from functools import partial

import pytest

from tests.e2e.servers import Connection, Server
from tests.serving import start, wait_told


def test_requests_are_logged(server):
    """Each answer is a line with the request line, the status and the size."""
    assert server.request("GET", "/x?y=1").status == 200
    wait_told(server, "log", "GET /x?y=1 HTTP/1.1", 200, 1)


def test_root_path_is_the_servers(server):
    """No request header changes the root path of the scope."""
    response = server.request("GET", "/root", headers={"Daphne-Root-Path": "/evil"})
    assert response.body == b"/mounted"


def test_form_is_left_to_the_application(server):
    """A body that claims to be a form and is none is not judged on the way."""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = server.request("POST", "/", headers=headers, body=b"no form")
    assert response.body == b"7"


def sent(connection: Connection, *lines: bytes) -> bytes:
    """Send a request and return the head of its answer, as it came."""
    connection.send(b"\r\n".join([*lines, b"", b""]))
    return head(connection)


def sent_in_pieces(server: Server, connection: Connection, *lines: bytes) -> bytes:
    """The same for a request of which half a line comes first, and is read."""
    data = b"\r\n".join([*lines, b"", b""])
    connection.send(data[:3])
    assert server.request("GET", "/").status == 200
    connection.send(data[3:])
    return head(connection)


def head(connection: Connection) -> bytes:
    found = connection.line()
    while not found.endswith(b"\r\n\r\n"):
        found += connection.line()
    return found


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/whole", b"200 OK"),
        ("/broken", b"200 OK"),
        ("/named", b"200 OK"),
        ("/odd", b"299 Unknown Status"),
        ("/nothing", b"204 No Content"),
        ("/stream", b"200 OK"),
    ],
)
def test_answer_is_the_same_on_both_roads(server, path, status):
    """A request in one piece is answered to the byte like one in two pieces."""
    line = b"GET %s HTTP/1.1" % path.encode()
    with server.connect() as short, server.connect() as long:
        answer = sent(short, line, b"Host: x")
        assert answer.startswith(b"HTTP/1.1 %b\r\n" % status)
        assert answer.count(b"Server: ") == 1
        assert sorted(answer.splitlines()) == sorted(
            sent_in_pieces(server, long, line, b"Host: x").splitlines()
        )


def test_answer_is_spelled_out(server):
    """Header names are spelled as everywhere, whatever the application has."""
    with server.connect() as connection:
        assert sent(connection, b"GET /whole HTTP/1.1", b"Host: x") == (
            b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: "1"\r\nX-Own: a b\r\n'
            b"Server: pushserver\r\n\r\n"
        )


def test_answer_to_head(server):
    """It has the head of the answer to a GET, and nothing after it."""
    with server.connect() as connection:
        get = sent(connection, b"GET /whole HTTP/1.1", b"Host: x")
        assert connection.read(5) == b"whole"
        assert sent(connection, b"HEAD /whole HTTP/1.1", b"Host: x") == get
        assert sent(connection, b"HEAD /whole HTTP/1.1", b"Host: x") == get


def test_answer_that_begins_twice():
    """The client sees that it is not whole; the server says why, and goes on."""
    with start() as server:
        with server.connect() as connection:
            connection.request("GET", "/twice")
            answer = connection.read_to_end()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert not answer.endswith(b"0\r\n\r\n")
        assert server.request("GET", "/error").status == 500
        server.stop()
        assert "HTTP response has already been started" in server.stderr


@pytest.mark.parametrize(
    "lines",
    [
        [b"GET /scope HTTP/1.1", b"Host: x"],
        [b"DELETE /scope?a=%C3%A9&b#c HTTP/1.1", b"Host: x", b"X-A:  1\t", b"x-a:2"],
        [
            b"GET /%73cope? HTTP/1.1",
            b"Host:",
            b"Connection: Keep-Alive",
            b"Cookie: a=b",
        ],
        [b"GET /scope HTTP/1.1", b"Host: x", b"X_Own: 1"],
        [b"GET /scope HTTP/1.1", b"Host: x", b"Daphne-Root-Path: /evil"],
        [b"GET /scope HTTP/1.1", b"Host: x", b"X-Long: 1", b"  2"],
        [b"GET /scope HTTP/1.1", b"X-Own: caf\xe9"],
    ],
)
def test_scope_is_the_same_on_both_roads(server, lines):
    """The application sees no difference between a request in one piece or two."""
    with server.connect() as connection:
        scopes = []
        for ask in (sent, partial(sent_in_pieces, server)):
            answer = ask(connection, *lines)
            assert answer.startswith(b"HTTP/1.1 200 ")
            length = int(re.findall(rb"Content-Length: (\d+)", answer)[0])
            scopes.append(json.loads(connection.read(length)))
        assert scopes[0] == scopes[1]
        assert scopes[0]["root_path"] == "'/mounted'"
        assert "evil" not in scopes[0]["headers"]


@pytest.mark.parametrize(
    "line",
    [b"X-Own: a\x0bb", b"X-Own: a\0b", b"X Own: a", b"X-Own : a", b": a", b"nothing"],
)
def test_malformed_header(server, line):
    """A header that is none is a bad request."""
    with server.connect() as connection:
        lines = [b"GET / HTTP/1.1", b"Host: x", line, b"Connection: close"]
        connection.send(b"\r\n".join([*lines, b"", b""]))
        assert connection.read_to_end().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("fields", [501, 1500])
def test_too_many_headers(server, fields):
    """A head has limits: 500 headers, 16 KiB."""
    with server.connect() as connection:
        lines = [b"GET / HTTP/1.1", *[b"X-Header: 1"] * fields]
        connection.send(b"\r\n".join([*lines, b"", b""]))
        assert connection.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_client_that_wants_the_connection_closed(server):
    """It is, after the answer, which says so."""
    with server.connect() as connection:
        connection.send(b"GET /whole HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = connection.read_to_end()
        assert b"Connection: close\r\n" in answer
        assert answer.endswith(b"\r\n\r\nwhole")
