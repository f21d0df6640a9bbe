import socket
import time

import pytest
from websockets.sync.client import connect

from tests.e2e.servers import Server, wait_until
from tests.serving import LIMIT, memory_peak, start, told, wait_told


def test_body_up_to_the_limit(server):
    """A body of exactly the limit reaches the application."""
    response = server.request("POST", "/limited", body=b"x" * LIMIT)
    assert (response.status, response.body) == (200, b"1000")


def test_body_above_the_limit(server):
    """One byte more is refused with the limit, and the connection closes."""
    with server.connect() as connection:
        connection.request("POST", "/limited/above", body=b"x" * (LIMIT + 1))
        response = connection.response()
        assert response.status == 413
        assert response.headers["connection"] == "close"
        assert b"1000" in response.body
        assert connection.read_to_end() == b""
    assert ["/limited/above"] not in told(server, "got")
    wait_told(server, "log", "POST /limited/above HTTP/1.1", 413, len(response.body))


def test_body_without_limit(server):
    """Where there is no limit a body of 10 MiB goes through."""
    response = server.request("POST", "/", body=b"x" * 10 * 2**20)
    assert response.body == b"10485760"


def test_refused_before_the_body(server):
    """The answer comes while not one byte of the body has been sent."""
    with server.connect() as connection:
        connection.request("POST", "/limited", headers={"Content-Length": "10000000"})
        assert connection.response().status == 413


def test_refused_body_is_not_asked_for(server):
    """Expect: 100-continue gets the refusal, and no 100 before or after it."""
    headers = {"Content-Length": "1001", "Expect": "100-continue"}
    with server.connect() as connection:
        connection.request("POST", "/limited", headers=headers)
        assert b"100 Continue" not in connection.read_to_end()


def test_accepted_body_is_asked_for(server):
    """Expect: 100-continue works for a body below the limit."""
    headers = {"Content-Length": "4", "Expect": "100-continue"}
    with server.connect() as connection:
        connection.request("POST", "/limited", headers=headers)
        assert connection.response().status == 100
        connection.send(b"body")
        assert connection.response().body == b"4"


def test_refusal_reaches_a_client_that_is_sending(server):
    """A client that sends everything before it reads gets the 413, no reset."""
    with server.connect() as connection:
        connection.request("POST", "/limited", body=b"x" * 10 * 2**20)
        assert connection.response().status == 413


def test_refused_connection_ends(server):
    """A client that goes on sending after the 413 is cut off, and fills no memory."""
    before = memory_peak(server)
    block = b"x" * 2**20
    sent = 0
    with server.connect() as connection:
        connection.request("POST", "/limited", headers={"Content-Length": "9" * 15})

        def is_cut() -> bool:
            nonlocal sent
            try:
                connection.send(block)
            except OSError:
                return True
            sent += len(block)
            return False

        wait_until(is_cut, deadline=15)
    assert sent > 20 * len(block)
    assert memory_peak(server) - before < 10 * len(block)


def test_chunked_body_up_to_the_limit(server):
    """The limit counts what is in the chunks, not what is around them."""
    with server.connect() as connection:
        connection.request("POST", "/limited", headers={"Transfer-Encoding": "chunked"})
        connection.send(b"1F4\r\n" + b"x" * 500 + b"\r\n")
        connection.send(b"1F4\r\n" + b"x" * 500 + b"\r\n0\r\n\r\n")
        assert connection.response().body == b"1000"


@pytest.mark.parametrize(
    "end", [b"", b"0\r\n\r\n", b"1\r\nx\r\n0\r\n\r\n", b"no chunk\r\n"]
)
def test_chunked_body_above_the_limit(server, end):
    """A chunked body is refused as soon as it is too big, however it goes on."""
    with server.connect() as connection:
        connection.request(
            "POST", "/limited/chunks", headers={"Transfer-Encoding": "chunked"}
        )
        connection.send(b"3E9\r\n" + b"x" * 1001 + b"\r\n" + end)
        assert connection.response().status == 413
    assert ["/limited/chunks"] not in told(server, "got")
    assert "Fatal error" not in server.stderr


def test_body_that_stops_halfway(server):
    """A request whose client goes before its body is complete never happened."""
    with server.connect() as connection:
        connection.request("POST", "/half", headers={"Content-Length": "10"})
        connection.send(b"half")
    assert server.request("GET", "/").status == 200
    assert ["/half"] not in told(server, "got")


def test_absurd_content_length(server):
    """A Content-Length that Python does not convert is a bad request."""
    with server.connect() as connection:
        connection.request("POST", "/", headers={"Content-Length": "1" * 5000})
        assert connection.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_line_that_is_no_request(server):
    """Bytes that are no HTTP get 400 and a closed connection."""
    with server.connect() as connection:
        connection.send(b"hello\r\n\r\n")
        assert connection.read_to_end().startswith(b"HTTP/1.1 400 ")


def test_pipelined_requests(server):
    """Requests sent without waiting are answered in their order."""
    with server.connect() as connection:
        for path in ("/slow", "/", "/limited"):
            connection.request("GET", path)
        bodies = [connection.response().body for _ in range(3)]
    assert bodies == [b"slow", b"0", b"0"]


def test_thousand_requests_on_one_connection(server):
    """A connection is good for as many requests as the client likes."""
    with server.connect() as connection:
        for _ in range(1000):
            connection.request("GET", "/")
            assert connection.response().body == b"0"


def test_http_1_0(server):
    """An HTTP/1.0 client gets an answer it can read, then the end."""
    with server.connect() as connection:
        connection.send(b"GET /slow HTTP/1.0\r\n\r\n")
        head, _, body = connection.read_to_end().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"chunked" not in head
    assert body == b"slow"


def test_client_that_vanishes(server):
    """The application of a held request learns within a second that nobody waits."""
    with server.connect() as connection:
        connection.request("GET", "/held")
        wait_told(server, "got", "/held")
    wait_told(server, "got", "http.disconnect", deadline=1)
    wait_told(server, "log", "GET /held HTTP/1.1", None, 0)


def test_client_that_vanishes_with_a_reset(server):
    """A connection that is reset is noticed like one that is closed."""
    polls = told(server, "got").count(["/held"])
    gone = told(server, "got").count(["http.disconnect"])
    with server.connect() as connection:
        connection.request("GET", "/held")
        wait_until(lambda: told(server, "got").count(["/held"]) > polls)
        linger = b"\1\0\0\0\0\0\0\0"
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    wait_until(
        lambda: told(server, "got").count(["http.disconnect"]) > gone, deadline=1
    )


def test_an_application_need_not_wait_for_its_client(server):
    """What the client takes late is all there."""
    assert server.request("GET", "/big").body == b"x" * 8 * 2**20


def test_an_application_may_wait_for_a_client_that_does_not_read():
    """By the extension; what is written stays bounded, and all of it arrives."""
    with start() as server, server.connect() as connection:
        connection.request("GET", "/flood")
        wait_until(lambda: told(server, "wrote"))
        # The sockets of both sides take some megabytes.
        still(server)
        written = len(told(server, "wrote"))
        assert written < 128
        peak = memory_peak(server)
        body = connection.response().body
        assert len(body) == 64 * 2**20
        assert len(told(server, "wrote")) == 256
        assert memory_peak(server) - peak < 8 * 2**20


def test_who_waits_for_a_client_goes_on_when_the_connection_is_closing():
    """As it does after the answer to a request that has asked for it."""
    with start() as server, server.connect() as connection:
        connection.request("GET", "/flood", headers={"Connection": "close"})
        assert len(connection.response().body) == 64 * 2**20
        wait_told(server, "got", "room for all")


def test_an_answer_in_two_writes_is_not_held_back(server):
    """Nagle's algorithm would keep the body until the client, 40 ms later, has said
    that the head is there."""
    started = time.monotonic()
    with server.connect() as connection:
        for _ in range(25):
            connection.request("POST", "/", headers={"Content-Length": "0"})
            assert connection.response().status == 200
    assert time.monotonic() - started < 0.8


def test_a_websocket_is_waited_for_alike():
    """The connection goes on telling when it is full."""
    with start() as server:
        url = f"ws://127.0.0.1:{server.port}/flood"
        with connect(url, max_size=None, max_queue=1) as websocket:
            wait_until(lambda: told(server, "wrote"))
            still(server)
            assert len(told(server, "wrote")) < 128
            for _ in range(256):
                assert len(websocket.recv()) == 262_144


def still(server: Server) -> None:
    """Wait until the process has written nothing for a while."""
    before = -1
    while (now := len(told(server, "wrote"))) != before:
        before = now
        time.sleep(0.2)
