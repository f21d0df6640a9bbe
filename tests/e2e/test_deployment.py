"""The files of `deploy/`, run by the programs that they are for."""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from websockets.sync.client import connect as connect_websocket

from pushserver.conf import get_config
from tests.e2e import nginx
from tests.e2e.machines import fleet
from tests.e2e.machines.fleet import Fleet, substituted
from tests.e2e.servers import ROOT, Connection, Server, free_port, wait_until

SERVERS_PAGE = ROOT / "docs/deployment/uvicorn.md"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet")) as running:
        yield running


def hold(server: Server, channel: str) -> Connection:
    """Begin a poll that finds nothing."""
    connection = server.connect(timeout=30)
    connection.request("GET", f"/updates/{channel}")
    return connection


def held(running: Fleet) -> list[int]:
    return [running.witness(i)["held"] for i in range(len(running.processes))]


def holds_more_than(running: Fleet, number: int) -> bool:
    return sum(held(running)) > number


def use_all(running: Fleet) -> None:
    """Return when nginx asks each process: a second after its last failure."""
    missing = {str(server.process.pid) for server in running.processes}

    def all_answered() -> bool:
        missing.discard(running.nginx.request("GET", "/headers/").headers["x-pid"])
        return not missing

    wait_until(all_answered, deadline=10)


def post(server: Server, channel: str, body: bytes = b"{}") -> int:
    return server.request("POST", f"/send-update/{channel}", body=body).status


def test_nginx_accepts_the_file(tmp_path):
    """`nginx -t` has nothing to say against nginx.conf."""
    site = fleet.site(tmp_path, free_port(), fleet.PROJECT_PORTS)
    command = nginx.configure(tmp_path, site)
    done = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_an_update_comes_through_at_once(running):
    """A poll held behind nginx is answered when another process publishes."""
    with hold(running.nginx, "news") as connection:
        wait_until(lambda: sum(held(running)) == 1)
        assert post(running.processes[0], "news", b"now") in (201, 202)
        sent = time.monotonic()
        answer = connection.response()
    assert (answer.status, answer.body) == (200, b"now")
    assert time.monotonic() - sent < 2  # by its wake-up, not by verification


def test_an_event_stream_comes_through_at_once(running):
    """Nothing of it waits in a buffer."""
    with running.nginx.connect(timeout=10) as connection:
        accept = {"Accept": "text/event-stream"}
        connection.request("GET", "/updates/stream", headers=accept)
        for body in (b"one", b"two"):
            wait_until(lambda: sum(held(running)) == 1)
            assert post(running.processes[0], "stream", body) in (201, 202)
            while body not in connection.line():
                pass


def test_many_channels_come_through_at_once(running):
    """Also where the process that held them dies: another one is asked."""
    asked = json.dumps({"channels": {"many-1": {}, "many-2": {}}}).encode()
    with running.nginx.connect(timeout=30) as connection:
        connection.request("POST", "/updates", body=asked)
        wait_until(lambda: sum(held(running)) == 2)
        holder = held(running).index(2)
        running.kill(holder)
        others = [i for i in range(3) if i != holder]
        wait_until(lambda: sum(running.witness(i)["held"] for i in others) == 2)
        post(running.processes[others[0]], "many-2", b"now")
        answer = connection.response()
    running.restart(holder)
    assert answer.status == 200
    [entry] = json.loads(answer.body)
    assert (entry["channel"], entry["text"]) == ("many-2", "now")


def test_polls_are_spread_by_the_number_that_is_held(running):
    """Each of three processes holds a third of the readers."""
    use_all(running)
    with ExitStack() as stack:
        for number in range(30):
            stack.enter_context(hold(running.nginx, f"spread-{number}"))
            wait_until(partial(holds_more_than, running, number))
        assert held(running) == [10, 10, 10]
    wait_until(lambda: sum(held(running)) == 0, what="nginx passes on who has left")


def test_nobody_publishes_through_nginx(running):
    """The publisher location is closed, to addresses that it would let in, too."""
    assert post(running.nginx, "closed") == 403
    assert post(running.processes[0], "closed") == 202


def test_a_body_over_the_limit_is_refused_by_nginx(running):
    """More than `max_body` does not reach a process; a poll has no body at all."""
    limit = get_config().max_body
    assert post(running.nginx, "big", b"x" * limit) == 403
    assert post(running.nginx, "big", b"x" * (limit + 1)) == 413
    poll = running.nginx.request("GET", "/updates/big", body=b"x" * 2000)
    assert poll.status == 413


def test_django_learns_who_asks(running):
    """nginx says for whom it asks, and drops what only a proxy may say."""
    claimed = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Port": "666",
        "Forwarded": "for=127.0.0.1",
        "Daphne-Root-Path": "/evil",
    }
    answer = running.nginx.request("GET", "/headers/", headers=claimed)
    seen = json.loads(answer.body)
    assert seen["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1"
    assert seen["X-Forwarded-Proto"] == "http"
    assert seen["Host"] == f"127.0.0.1:{running.nginx.port}"
    gone = {"X-Forwarded-Host", "X-Forwarded-Port", "Forwarded", "Daphne-Root-Path"}
    assert not gone & {*seen}


def test_a_websocket_goes_through(running):
    """The upgrade reaches the channels, and the project."""
    url = f"ws://127.0.0.1:{running.nginx.port}"
    with connect_websocket(f"{url}/updates/websocket") as websocket:
        assert json.loads(websocket.recv(timeout=10)) == {"id": "0-0"}
        post(running.processes[0], "websocket", b"now")
        assert json.loads(websocket.recv(timeout=10))["text"] == "now"
    with connect_websocket(f"{url}/socket/") as websocket:
        websocket.send("hello")
        assert websocket.recv(timeout=10) == "hello"


def test_static_files_come_from_nginx(running):
    """What collectstatic has gathered needs no process."""
    static = running.folder / "static"
    static.mkdir()
    (static / "page.css").write_text("p {}")
    answer = running.nginx.request("GET", "/static/page.css")
    assert (answer.status, answer.body) == (200, b"p {}")
    assert "x-pid" not in answer.headers


def test_who_was_held_by_a_process_that_dies_does_not_notice(running):
    """nginx asks another process, and the poll goes on there."""
    use_all(running)
    with ExitStack() as stack:
        polls = [stack.enter_context(hold(running.nginx, "survivors")) for _ in "abc"]
        wait_until(lambda: held(running) == [1, 1, 1])
        running.kill(2)
        wait_until(lambda: running.witness(0)["held"] + running.witness(1)["held"] == 3)
        post(running.processes[0], "survivors", b"alive")
        answers = [poll.response() for poll in polls]
    running.restart(2)
    assert [(a.status, a.body) for a in answers] == [(200, b"alive")] * 3


def test_a_process_that_comes_back_is_used_again(running):
    """A second after a restart nginx gives it polls like the others."""
    started = time.monotonic()
    assert running.drain(2) == 0
    assert time.monotonic() - started < 5  # nobody is held: nothing to wait for
    assert post(running.processes[0], "rolling", b"during") == 202
    during = running.nginx.request("GET", "/updates/rolling")
    assert (during.status, during.body) == (200, b"during")
    running.restart(2)
    use_all(running)


def test_nginx_waits_longer_than_a_poll_is_held():
    """The time-outs of the file fit the defaults of the settings."""
    text = fleet.NGINX.read_text()
    assert int(option(text, "proxy_read_timeout").removesuffix("s")) >= (
        get_config().poll_timeout + 5
    )
    assert option(text, "proxy_buffering") == "off"


def option(text: str, name: str) -> str:
    """Return the one value that the option has in nginx.conf, wherever it stands."""
    lines = {line.strip() for line in text.splitlines() if line.split()[:1] == [name]}
    (line,) = lines
    return line.removesuffix(";").split(maxsplit=1)[1]


def unit_value(name: str) -> str:
    lines = fleet.UNIT.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}=")]
    return line.partition("=")[2]


def test_systemd_accepts_the_unit(tmp_path):
    """`systemd-analyze verify` has nothing to say against the unit."""
    text = substituted(
        fleet.UNIT.read_text(),
        {"/srv/project/venv/bin/python": sys.executable},
    )
    unit = tmp_path / "pushserver@8001.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", unit],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_LOG_LEVEL": "warning"},
    )
    # Its exit code is 0 for a key that it does not know.
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_gives_a_drain_its_time():
    """systemd kills later than the process would end by itself, and signals once."""
    assert int(unit_value("TimeoutStopSec")) > get_config().drain_timeout + 4
    assert unit_value("KillSignal") == "SIGTERM"
    assert unit_value("KillMode") == "mixed"


def test_the_unit_counts_as_started_when_it_listens():
    """What runs after the start ends when the port takes connections."""
    port = free_port()
    command = shlex.split(unit_value("ExecStartPost").replace("%i", str(port)))
    with subprocess.Popen(command) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(0.5)
        with socket.create_server(("127.0.0.1", port)):
            assert waiting.wait(10) == 0


@pytest.mark.parametrize(("name", "ended"), [("uvicorn", -15), ("granian", 0)])
def test_under_another_server(running, name, ended):
    """The unit's drop-in serves, and held polls are answered when it stops."""
    (line,) = [
        line
        for line in (ROOT / f"deploy/{name}.conf").read_text().splitlines()
        if line.startswith("ExecStart=/")
    ]
    assert line in SERVERS_PAGE.read_text()
    port = free_port()
    changes = {
        "ExecStart=/srv/project/venv/bin/python": shlex.quote(sys.executable),
        "project.asgi:application": "tests.e2e.machines.asgi:application",
        "%i": str(port),
    }
    command = shlex.split(substituted(line, changes))
    with Server(command, cwd=ROOT, port=port, env=running.environment) as server:
        server.wait_listening()
        with hold(server, name) as connection:

            def is_held() -> bool:
                witness = server.request("GET", "/witness/")
                return bool(json.loads(witness.body)["held"] == 1)

            wait_until(is_held)
            server.send_signal()
            answer = connection.response()
        assert answer.status == 503
        assert answer.headers["retry-after"] in ("1", "2", "3")
        # As the page says; the unit counts both as a success.
        assert server.wait() == ended
