from collections.abc import Iterator

import pytest

from tests.e2e.servers import Server
from tests.serving import start, wait_told


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with start() as server:
        yield server
        server.stop()
        assert "Traceback" not in server.stderr


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
