import json
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.servers import Response, Server, start_runpushserver, wait_until
from tests.projects import SITE, build
from tests.serving import memory_peak

POLLS = 1000

RECEIVERS = """

from pushserver.signals import channel_subscribe, channel_unsubscribe


def note(signal, request, channel_id, **kwargs):
    kind = "subscribe" if signal is channel_subscribe else "unsubscribe"
    with open("noted", "a") as file:
        print(kind, channel_id, file=file)


channel_subscribe.connect(note)
channel_unsubscribe.connect(note)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that has nothing configured."""
    return build(tmp_path)


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    with start_runpushserver(project, "--allrequests", settings=SITE) as server:
        yield server
        assert "Traceback" not in server.stderr


def information(server: Server, channel: str = "news") -> dict[str, int]:
    headers = {"Accept": "application/json"}
    path = f"/send-update/{channel}"
    response = server.request("GET", path, headers=headers)
    return json.loads(response.body) if response.status == 200 else {}


def subscribers(server: Server, channel: str = "news") -> int:
    return information(server, channel).get("subscribers", 0)


def publish(server: Server, text: bytes, channel: str = "news") -> Response:
    return server.request("POST", f"/send-update/{channel}", body=text)


def test_client_that_vanishes(server):
    """A second after its client has gone a poll is held no more."""
    with server.connect() as poll:
        poll.request("GET", "/updates/news")
        wait_until(lambda: subscribers(server) == 1)
    wait_until(lambda: subscribers(server) == 0, deadline=1)
    assert publish(server, b"1").status == 202


def test_thousand_polls(project):
    """All of a thousand polls get the message, and all that wait for the next 503.

    Without a thread for any of them.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with (
        start_runpushserver(project, settings=SITE) as server,
        ExitStack() as stack,
    ):
        polls = [stack.enter_context(server.connect()) for _ in range(POLLS)]
        for poll in polls:
            poll.request("GET", "/updates/news")
        wait_until(lambda: subscribers(server) == POLLS)
        assert publish(server, b"news").status == 201
        etags = {poll.response().headers["etag"] for poll in polls}
        [etag] = etags
        for poll in polls:
            poll.request("GET", "/updates/news", headers={"If-None-Match": etag})
        wait_until(lambda: subscribers(server) == POLLS)
        threads = Path(f"/proc/{server.process.pid}/task")
        assert len(list(threads.iterdir())) < 10
        server.send_signal()
        answers = [poll.response() for poll in polls]
        assert {answer.status for answer in answers} == {503}
        assert server.wait() == 0
        assert "Traceback" not in server.stderr


def test_stop(server):
    """SIGTERM answers held polls with a time to come back; the process ends with 0."""
    with server.connect() as poll, server.connect() as idle:
        poll.request("GET", "/updates/news")
        wait_until(lambda: subscribers(server) == 1)
        began = time.monotonic()
        server.send_signal()
        answer = poll.response()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.headers["connection"] == "close"
        assert poll.read_to_end() == b""
        assert idle.read_to_end() == b""
        assert server.wait() == 0
    # Far below drain_timeout: nobody had to be waited for.
    assert time.monotonic() - began < 5


def test_ctrl_c(server):
    """Ctrl-C with --noreload drains like SIGTERM."""
    with server.connect() as poll:
        poll.request("GET", "/updates/news")
        wait_until(lambda: subscribers(server) == 1)
        server.interrupt()
        assert poll.response().status == 503
    assert server.wait() == 0


def test_no_new_polls_while_stopping(project):
    """A poll that arrives on an open connection during the drain is not held."""
    (project / "urls.py").write_text(
        (project / "urls.py").read_text().replace("3600", "2")
    )
    with (
        start_runpushserver(project, "--allrequests", settings=SITE) as server,
        server.connect() as running,
        server.connect() as half,
    ):
        half.send(b"GET /updates/news HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        running.request("GET", "/hang/")
        wait_until((project / "hangs").exists)
        server.send_signal()
        wait_until(lambda: refuses(server))
        half.send(b"\r\n")
        assert half.response().status == 503
        assert half.read_to_end() == b""
        assert running.response().body == b"late"
        assert server.wait() == 0


def refuses(server: Server) -> bool:
    try:
        server.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_signals_of_the_last_polls(project):
    """Receivers hear of the end of every poll that they heard of, at a stop, too."""
    with (project / f"{SITE}.py").open("a") as file:
        file.write("INSTALLED_APPS = ['pushserver', 'receivers']\n")
    (project / "receivers").mkdir()
    (project / "receivers" / "__init__.py").touch()
    (project / "receivers" / "apps.py").write_text(
        "from django.apps import AppConfig\n\n\n"
        "class Receivers(AppConfig):\n"
        "    name = 'receivers'\n\n"
        "    def ready(self):\n"
        "        import receivers.notes\n"
    )
    (project / "receivers" / "notes.py").write_text(RECEIVERS)
    noted = project / "noted"
    with (
        start_runpushserver(project, settings=SITE) as server,
        ExitStack() as stack,
    ):
        polls = [stack.enter_context(server.connect()) for _ in range(20)]
        for poll in polls:
            poll.request("GET", "/updates/news")
        wait_until(lambda: noted.exists() and noted.read_text().count("\n") == 20)
        server.send_signal()
        assert {poll.response().status for poll in polls} == {503}
        assert server.wait() == 0
        assert "Traceback" not in server.stderr
    lines = noted.read_text().splitlines()
    assert lines.count("subscribe news") == lines.count("unsubscribe news") == 20


def test_pipelined_polls(server):
    """Polls sent at once on one connection are answered one after the other."""
    for text in (b"1", b"2"):
        publish(server, text)
    with server.connect() as connection:
        connection.request("GET", "/updates/news")
        first = connection.response()
        headers = {"If-None-Match": first.headers["etag"]}
        connection.request("GET", "/updates/news", headers=headers)
        connection.request("GET", "/updates/news")
        second, third = connection.response(), connection.response()
    assert [each.body for each in (first, second, third)] == [b"1", b"2", b"1"]


def test_http_1_0_poll(server):
    """An HTTP/1.0 client can wait for news, too."""
    with server.connect() as poll:
        poll.request("GET", "/updates/news", version="1.0")
        wait_until(lambda: subscribers(server) == 1)
        assert publish(server, b"news").status == 201
        answer = poll.response()
        assert (answer.version, answer.body) == ("HTTP/1.0", b"news")
        assert poll.read_to_end() == b""


def test_oversized_publication(server):
    """10 MiB against a limit of 1 MiB get 413, and nothing of them is kept."""
    peak = memory_peak(server)
    assert publish(server, b"x" * 10 * 2**20).status == 413
    assert information(server) == {}
    assert memory_peak(server) - peak < 2 * 2**20


def test_header_injection(server):
    """A content type with a line break in it cannot add a header."""
    with server.connect() as connection:
        connection.send(
            b"POST /send-update/news HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Content-Type: text/plain\rX-Evil: 1\r\nContent-Length: 1\r\n\r\n1"
        )
        assert connection.response().status == 400
    assert information(server) == {}
