import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.test import override_settings

from pushserver.management.commands.runpushserver import Command, log_access, max_body
from pushserver.server.listening import listen
from tests.e2e.servers import (
    Server,
    environment,
    free_port,
    management,
    start_runpushserver,
    wait_until,
)
from tests.projects import SITE, build
from tests.reference import tables


class Parsed(Exception):
    """Raised where the command would begin to serve."""


class Parsing(Command):
    """The command up to the point where it would begin to serve."""

    def serve(self, options):
        raise Parsed(self.addr, int(self.port), self.use_ipv6)


@pytest.mark.parametrize(
    ("arguments", "settings", "expected"),
    [
        ("", {}, ("127.0.0.1", 8001, False)),
        ("--allrequests", {}, ("127.0.0.1", 8000, False)),
        ("-6", {}, ("::1", 8001, True)),
        ("--ipv6 9000", {}, ("::1", 9000, True)),
        ("9000", {}, ("127.0.0.1", 9000, False)),
        ("0.0.0.0:9000", {}, ("0.0.0.0", 9000, False)),
        ("[::]:9000", {}, ("::", 9000, True)),
        ("localhost:9000 -6", {}, ("localhost", 9000, True)),
        ("", {"port": 7000}, ("127.0.0.1", 7000, False)),
        ("--allrequests", {"port": 7000}, ("127.0.0.1", 7000, False)),
        ("9000", {"port": 7000, "address": "0.0.0.0"}, ("0.0.0.0", 9000, False)),
        ("", {"address": "localhost"}, ("localhost", 8001, False)),
        ("-6", {"address": "0.0.0.0"}, ("::1", 8001, True)),
        ("", {"address": "::"}, ("::", 8001, True)),
        ("9000", {"address": "::"}, ("::", 9000, True)),
        ("-6", {"address": "::"}, ("::", 8001, True)),
        ("127.0.0.1:9000", {"address": "::"}, ("127.0.0.1", 9000, False)),
    ],
)
def test_where_it_listens(arguments, settings, expected):
    """The command line wins over the settings, and those over the defaults."""
    with override_settings(PUSH_SERVER=settings), pytest.raises(Parsed) as parsed:
        call_command(Parsing(), *arguments.split())
    assert parsed.value.args == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("abc", "not a valid port"),
        ("99999", "99999 is not a valid port"),
        ("127.0.0.1", "not a valid port number or address:port pair"),
        ("--forcehost example.com", "--forcehost needs --allrequests"),
        ("--unknown", "unrecognized arguments: --unknown"),
    ],
)
def test_wrong_arguments(arguments, complaint):
    """What cannot be understood is named."""
    with pytest.raises(CommandError, match=complaint):
        call_command(Parsing(), *arguments.split())


def test_documented_options():
    """The reference page names each option of the command that Django has not."""
    documented: set[str] = set()
    for cell in tables("runpushserver")["Options"]:
        documented.update(re.findall(r"(?<![\w-])--?[\w-]+", cell))
    parser = Command().create_parser("manage.py", "runpushserver")
    options = {text for each in parser._actions for text in each.option_strings}
    base = BaseCommand().create_parser("manage.py", "any")
    basic = {text for each in base._actions for text in each.option_strings}
    assert documented - {"--skip-checks"} == options - basic


def test_wrong_settings():
    """What is wrong in PUSH_SERVER is said before anything else happens."""
    with (
        override_settings(PUSH_SERVER={"port": "many"}),
        pytest.raises(CommandError, match="'port'"),
    ):
        call_command(Parsing())


def test_interrupted_start():
    """Who presses Ctrl-C while it starts gets the prompt back, and nothing else."""

    class Interrupted(Command):
        def serve(self, options):
            raise KeyboardInterrupt

    call_command(Interrupted())


@override_settings(
    FORCE_SCRIPT_NAME="/here",
    PUSH_SERVER={
        "max_body": 30,
        "locations": [
            {"type": "publisher", "prefix": "/small/", "max_body": 10},
            {"type": "multiplex", "url": "/many", "max_request": 20},
            {"type": "publisher", "prefix": "/usual/"},
        ],
    },
)
@pytest.mark.parametrize(
    ("path", "alone", "with_django"),
    [
        ("/here/small/x", 10, 10),
        ("/here/many", 20, 20),
        ("/here/usual/x", 30, 30),
        ("/here/upload/", 30, None),
        ("/small/x", 10, 10),
    ],
)
def test_body_limits(path, alone, with_django):
    """Locations have their limit; what goes to Django has Django's."""
    assert max_body(path, everything=False) == alone
    assert max_body(path, everything=True) == with_django


@pytest.mark.parametrize(
    ("status", "level", "text"),
    [
        (200, logging.INFO, '"GET / HTTP/1.1" 200 5'),
        (404, logging.WARNING, '"GET / HTTP/1.1" 404 5'),
        (500, logging.ERROR, '"GET / HTTP/1.1" 500 5'),
        (None, logging.INFO, '"GET / HTTP/1.1" - 5'),
    ],
)
def test_access_log(status, level, text):
    """Requests are logged like runserver's, by the same logger."""
    records = logged(status)
    assert [(each.levelno, each.getMessage()) for each in records] == [(level, text)]


def test_access_log_that_is_turned_down():
    """What the project does not want to read is not even put together."""
    logger = logging.getLogger("django.server")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        assert logged(200) == []
        assert len(logged(404)) == 1
    finally:
        logger.setLevel(before)


def logged(status: int | None) -> list[logging.LogRecord]:
    records: list[logging.LogRecord] = []

    class Keeping(logging.Handler):
        def emit(self, record):
            records.append(record)

    handler = Keeping()
    logger = logging.getLogger("django.server")
    logger.addHandler(handler)
    try:
        log_access("GET / HTTP/1.1", status, 5)
    finally:
        logger.removeHandler(handler)
    return records


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it gives up by itself."""
    command = [sys.executable, "-m", "django", "runpushserver", *arguments]
    env = environment(project, {"DJANGO_SETTINGS_MODULE": SITE})
    return subprocess.run(
        command,
        cwd=project,
        env=env,
        capture_output=True,
        check=False,
        text=True,
        timeout=30,
    )


def test_unknown_option_is_one_line(tmp_path):
    """On the command line a wrong option is one line, without a page of usage."""
    ended = run(build(tmp_path), "--unknown")
    assert ended.returncode == 2
    [line] = ended.stderr.splitlines()
    assert line.endswith("error: unrecognized arguments: --unknown")


@pytest.mark.parametrize(
    ("address", "reason", "reloading"),
    [
        ("127.0.0.1", "the port is already in use", True),
        ("127.0.0.1", "the port is already in use", False),
        ("192.0.2.1", "this machine does not have that address", False),
        ("nowhere.invalid", "there is no such address", False),
    ],
)
def test_cannot_listen(tmp_path, address, reason, reloading):
    """A port or an address that cannot be had is one line and a failure."""
    project = build(tmp_path)
    with listen("127.0.0.1", 0) as taken:
        where = f"{address}:{taken.getsockname()[1]}"
        ended = run(project, where, *([] if reloading else ["--noreload"]))
    assert ended.returncode == 1
    lines = ended.stderr.splitlines()
    if reloading:
        assert lines.pop(0).startswith("Watching for file changes")
    assert lines == [f"CommandError: Cannot listen at {where}: {reason}."]


def test_failed_check(tmp_path):
    """A project that is in error is not served, and says why without a traceback."""
    project = build(tmp_path)
    (project / "urls.py").write_text("urlpatterns = ['nothing']\n")
    ended = run(project, str(free_port()), "--noreload")
    assert ended.returncode == 1
    assert "urls.E004" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_skipped_checks(tmp_path):
    """--skip-checks does what it says."""
    project = build(tmp_path)
    with start_runpushserver(project, "--skip-checks", settings=SITE) as server:
        assert "system checks" not in server.stdout


def test_application_that_cannot_be_imported(tmp_path):
    """An ASGI_APPLICATION that is not there is one line and a failure."""
    project = build(tmp_path, ASGI_APPLICATION="nowhere.application")
    ended = run(project, str(free_port()), "--allrequests", "--noreload")
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert "ASGI_APPLICATION" in line
    assert "nowhere" in line


def test_alone(tmp_path):
    """Without --allrequests the locations are served, and all else is 404."""
    with start_runpushserver(build(tmp_path), settings=SITE) as server:
        assert server.request("POST", "/send-update/news", body=b"1").status == 202
        assert server.request("GET", "/updates/news").body == b"1"
        assert server.request("GET", "/length/").status == 404
        said = server.stdout
        assert server.stop() == 0
    assert f"listening at {server.url}/\n" in said
    assert f" {server.url}/updates/<channel>\n" in said
    assert f" {server.url}/send-update/<channel>\n" in said
    assert "404" in said
    assert "'subscriber_host'" in said
    assert "'allow_origin'" in said


def test_alone_and_ready_for_pages(tmp_path):
    """With subscriber_host and allow_origin there is nothing to be set."""
    settings = {
        "subscriber_host": {"location": "127.0.0.1:8001"},
        "locations": [
            {
                "type": "subscriber",
                "url": r"/updates/(\d+)",
                "allow_origin": "http://127.0.0.1:8000",
            }
        ],
    }
    project = build(tmp_path, PUSH_SERVER=settings, FORCE_SCRIPT_NAME="/here")
    with start_runpushserver(project, settings=SITE) as server:
        assert "subscriber_host" not in server.stdout
        # The pattern stands for itself where "<channel>" would not match it.
        assert rf"{server.url}/here/updates/(\d+)" in server.stdout


def test_everything(tmp_path):
    """With --allrequests Django is served, and its views push from the process."""
    project = build(tmp_path)
    with (
        start_runpushserver(project, "--allrequests", settings=SITE) as server,
        server.connect() as poll,
    ):
        assert "the Django project" in server.stdout
        assert "subscriber_host" not in server.stdout
        poll.request("GET", "/updates/news")
        wait_until(lambda: b'"subscribers": 1' in information(server))
        assert server.request("GET", "/send/").body == b"1"
        assert json.loads(poll.response().body) == {"type": "news"}
        big = b"x" * 2 * 2**20
        assert server.request("POST", "/length/", body=big).body == b"2097152"
        assert server.request("POST", "/send-update/news", body=big).status == 413


def test_asgi_application(tmp_path):
    """ASGI_APPLICATION is what --allrequests serves, wrapped already or not."""
    project = build(tmp_path, ASGI_APPLICATION="site_asgi.application")
    with start_runpushserver(project, "--allrequests", settings=SITE) as server:
        assert server.request("POST", "/length/", body=b"abc").body == b"3"
        assert server.request("POST", "/send-update/news", body=b"1").status == 202
        assert server.request("GET", "/from-asgi").body == b"site_asgi"


STATIC_FILES = {
    "STATIC_URL": "/static/",
    "INSTALLED_APPS": ["django.contrib.staticfiles", "pushserver"],
}
SCRIPT = "/static/pushserver/updates.js"


@pytest.mark.parametrize(
    ("settings", "arguments", "status"),
    [
        ({}, [], 200),
        ({}, ["--nostatic"], 404),
        ({"DEBUG": False, "ALLOWED_HOSTS": ["*"]}, [], 404),
        ({"INSTALLED_APPS": ["pushserver"]}, [], 404),
    ],
)
def test_static_files(tmp_path, settings, arguments, status):
    """They are served in DEBUG, if their app is installed and nobody says no."""
    project = build(tmp_path, **(STATIC_FILES | settings))
    arguments = ["--allrequests", *arguments]
    with start_runpushserver(project, *arguments, settings=SITE) as server:
        assert server.request("GET", SCRIPT).status == status


def test_force_host(tmp_path):
    """--forcehost redirects requests for other hosts."""
    project = build(tmp_path, ALLOWED_HOSTS=["*"])
    arguments = ["--allrequests", "--forcehost", "example.com"]
    with start_runpushserver(project, *arguments, settings=SITE) as server:
        response = server.request("GET", "/length/?a=b")
        assert response.status == 301
        assert response.headers["location"] == "http://example.com/length/?a=b"
        headers = {"Host": "example.com"}
        assert server.request("GET", "/length/", headers=headers).status == 200


def test_server_name(tmp_path):
    """`servername` is what the Server header says."""
    project = build(tmp_path, PUSH_SERVER={"servername": "news"})
    with start_runpushserver(project, settings=SITE) as server:
        assert server.request("GET", "/").headers["server"] == "news"


def test_ipv6(tmp_path):
    """-6 listens at ::1, and the line it prints can be clicked."""
    port = free_port("::1")
    argv = ["runpushserver", str(port), "-6", "--noreload"]
    project = build(tmp_path, ALLOWED_HOSTS=["*"])
    with management(project, argv, settings=SITE, port=port, host="::1") as server:
        server.wait_listening()
        assert server.request("GET", "/nothing").status == 404
        said = f"http://[::1]:{port}/updates/<channel>"
        wait_until(lambda: said in server.stdout)


def test_thread_that_hangs(tmp_path):
    """A view that does not return cannot keep the process."""
    project = build(tmp_path, PUSH_SERVER={"drain_timeout": 0.5})
    with (
        start_runpushserver(project, "--allrequests", settings=SITE) as server,
        server.connect() as connection,
    ):
        connection.request("GET", "/hang/")
        wait_until((project / "hangs").exists)
        assert server.stop(deadline=8) == 0
        assert "Traceback" not in server.stderr


def reloading(project: Path, *arguments: str) -> Server:
    port = free_port()
    argv = ["runpushserver", str(port), *arguments]
    return management(project, argv, settings=SITE, port=port)


def edit(file: Path, text: str, until: Callable[[], object]) -> None:
    """Save a file like a developer who sees that the change was not noticed.

    The reloader looks once a second, and only sees what it has seen before.
    """
    saved = 0.0

    def is_noticed() -> object:
        nonlocal saved
        if time.monotonic() > saved + 3:
            saved = time.monotonic()
            file.write_text(text)
        return until()

    wait_until(is_noticed)


def test_reload(tmp_path):
    """In DEBUG changed code is served, and a poll is cut without a traceback."""
    project = build(tmp_path)
    urls = project / "urls.py"
    new = urls.read_text().replace("str(len(request.body))", "'new'")
    with reloading(project, "--allrequests") as server:
        server.wait_listening()
        with server.connect() as poll:
            poll.request("GET", "/updates/news")
            edit(urls, new, lambda: server.stdout.count("listening at") == 2)
            assert poll.read_to_end() == b""
        assert server.request("GET", "/length/").body == b"new"
        server.interrupt()
        assert server.wait() == 0
        assert "Traceback" not in server.stderr


def test_reload_after_a_mistake(tmp_path):
    """What an edit can mend is shown, and the mended project is served."""
    project = build(tmp_path, ASGI_APPLICATION="site_asgi.site_application")
    urls, asgi = project / "urls.py", project / "site_asgi.py"
    right = urls.read_text()
    urls.write_text("urlpatterns = ['nothing']\n")
    with reloading(project, "--allrequests") as server:
        wait_until(lambda: "urls.E004" in server.stderr)
        edit(urls, right, lambda: "ASGI_APPLICATION" in server.stderr)
        added = asgi.read_text() + "site_application = application\n"
        edit(asgi, added, lambda: "listening at" in server.stdout)
        assert server.request("GET", "/length/").status == 200
        assert server.stop() == 0
        assert "Traceback" not in server.stderr


def test_no_reload_without_debug(tmp_path):
    """In production nothing watches the code, and SIGTERM drains."""
    locations = [
        {"type": "subscriber", "prefix": "/updates/"},
        {"type": "publisher", "prefix": "/send-update/", "allow": ["127.0.0.1"]},
    ]
    settings = {"DEBUG": False, "ALLOWED_HOSTS": ["*"]}
    project = build(tmp_path, **settings, PUSH_SERVER={"locations": locations})
    with reloading(project) as server:
        server.wait_listening()
        with server.connect() as poll:
            poll.request("GET", "/updates/news")
            wait_until(lambda: b'"subscribers": 1' in information(server))
            server.send_signal()
            assert poll.response().status == 503
        assert server.wait() == 0
        assert "Watching" not in server.stderr


def information(server: Server) -> bytes:
    headers = {"Accept": "application/json"}
    return server.request("GET", "/send-update/news", headers=headers).body
