"""Real servers as child processes on free loopback ports, and a raw HTTP client.

Each function that starts a server returns a `Server` once something accepts
connections on its port, and is a context manager: leaving it stops the process.
"""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0


def wait_until(
    condition: Callable[[], T], *, deadline: float = DEADLINE, what: str = ""
) -> T:
    """Return the first true value of `condition`, or fail at the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            message = f"not within {deadline} s: {what or condition}"
            raise AssertionError(message)
        time.sleep(0.01)


# Below those that a kernel gives to clients (from 32,768): one of these could take the
# port of a server that is still starting. Each process of pytest-xdist has its own.
_PORTS_EACH = 2000
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
_OFFSETS = itertools.count(os.getpid())


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port that nobody listens on, and that no other test is given soon."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = 12_000 + _WORKER * _PORTS_EACH + next(_OFFSETS) % _PORTS_EACH
        with socket.socket(family) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port


class Server:
    """One server process; its output is kept and never blocks it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        port: int,
        host: str = "127.0.0.1",
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.host = host
        self.port = port
        # Files, not pipes: a server must not block on output nobody reads.
        self._stdout: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        self._stderr: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115
        # A session of its own, so that what interrupt() sends to its process group
        # does not reach the test run.
        self.process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environment(cwd, env or {}),
            stdin=subprocess.DEVNULL,
            stdout=self._stdout,
            stderr=self._stderr,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def stdout(self) -> str:
        return _content(self._stdout)

    @property
    def stderr(self) -> str:
        return _content(self._stderr)

    @property
    def output(self) -> str:
        """Everything it has written so far, for messages of failed tests."""
        return f"stdout:\n{self.stdout}\nstderr:\n{self.stderr}"

    def wait_listening(self, deadline: float = DEADLINE) -> Self:
        """Return once its port accepts connections. Who fails to is ended."""
        return self.wait_ready(self._listens, f"listening at {self.url}", deadline)

    def wait_ready(
        self, ready: Callable[[], T], what: str, deadline: float = DEADLINE
    ) -> Self:
        """Return once it is. Who fails to is ended, with all that it has started."""
        try:
            wait_until(ready, deadline=deadline, what=what)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def _listens(self) -> bool:
        if self.process.poll() is not None:
            message = f"exited with {self.process.returncode}\n{self.output}"
            raise AssertionError(message)
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def connect(self, *, timeout: float = DEADLINE) -> "Connection":
        return Connection(self.port, host=self.host, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> "Response":
        """Send one request over a connection of its own."""
        with self.connect() as connection:
            connection.request(method, path, headers=headers, body=body)
            return connection.response(head=method == "HEAD")

    def send_signal(self, number: int = signal.SIGTERM) -> None:
        """Send a signal to this process alone."""
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """Do what Ctrl-C in a terminal does: SIGINT to the process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def wait(self, deadline: float = DEADLINE) -> int:
        """Return the exit code of a process that is about to end."""
        return self.process.wait(deadline)

    def stop(self, number: int = signal.SIGTERM, *, deadline: float = DEADLINE) -> int:
        """Ask it to stop and return its exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.wait(deadline)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self.process.poll() is None:
                self.send_signal()
                try:
                    self.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(self.process.pid, signal.SIGKILL)
                    self.wait()
        finally:
            if exc is not None:
                exc.add_note(self.output)
            self._stdout.close()
            self._stderr.close()


def _content(file: BinaryIO) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")


def environment(cwd: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which `cwd` and this repository are importable."""
    own = os.environ.copy()
    for name in ("DJANGO_SETTINGS_MODULE", "RUN_MAIN", "WEB_CONCURRENCY"):
        own.pop(name, None)
    own["PYTHONPATH"] = os.pathsep.join([str(cwd), str(ROOT)])
    own["PYTHONUNBUFFERED"] = "1"
    return {**own, **extra}


def _start_command(
    command: str,
    project: Path,
    *arguments: str,
    settings: str,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start ``manage.py <command> <port> --noreload <arguments>``.

    It listens and has said what it serves.
    """
    port = port or free_port()
    argv = [command, str(port), "--noreload", *arguments]
    server = management(project, argv, settings=settings, port=port, env=env)
    server.wait_listening()
    return server.wait_ready(lambda: "Quit the server" in server.stdout, "its address")


start_runpushserver = partial(_start_command, "runpushserver")
start_runserver = partial(_start_command, "runserver")


def management(
    project: Path,
    argv: Sequence[str],
    *,
    settings: str,
    port: int,
    host: str = "127.0.0.1",
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start a management command exactly as given; waits for nothing."""
    command = [sys.executable, "-m", "django", *argv]
    extra = {"DJANGO_SETTINGS_MODULE": settings, **(env or {})}
    return Server(command, cwd=project, port=port, host=host, env=extra)


def _start_server(
    command: Sequence[str],
    project: Path,
    application: str,
    *arguments: str,
    port: int | None = None,
    env: Mapping[str, str] | None = None,
) -> Server:
    """Start ``python -m <command> --port <port> <arguments> <application>``."""
    port = port or free_port()
    argv = [sys.executable, "-m", *command, "--port", str(port), *arguments]
    server = Server([*argv, application], cwd=project, port=port, env=env)
    return server.wait_listening()


start_daphne = partial(_start_server, ["daphne"])
start_uvicorn = partial(_start_server, ["uvicorn"])
start_granian = partial(_start_server, ["granian", "--interface", "asgi"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One answer, with header names in lower case."""

    version: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """One TCP connection that speaks HTTP/1.x and hides nothing of it."""

    def __init__(
        self, port: int, *, host: str = "127.0.0.1", timeout: float = DEADLINE
    ) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self._incoming = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        version: str = "1.1",
    ) -> None:
        """Send one request and do not wait for the answer."""
        host, port = self.socket.getpeername()[:2]
        fields = {"Host": f"{host}:{port}"}
        if body is not None:
            fields["Content-Length"] = str(len(body))
        fields.update(headers or {})
        lines = [f"{method} {path} HTTP/{version}"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        head = "\r\n".join([*lines, "", ""]).encode()
        self.send(head + (body or b""))

    def line(self) -> bytes:
        """Read a line of what comes, whatever it is a part of."""
        line = self._incoming.readline()
        assert line, "it has ended"
        return line

    def read(self, size: int) -> bytes:
        """Read so many bytes of what comes."""
        return self._incoming.read(size)

    def response(self, *, head: bool = False) -> Response:
        """Read the next answer; `head` says that it answers a HEAD request."""
        line = self._incoming.readline()
        if not line:
            message = "closed without an answer"
            raise ConnectionError(message)
        version, status = line.decode("ascii").split(" ", 2)[:2]
        headers: dict[str, str] = {}
        while (line := self._incoming.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        bodiless = head or status in ("204", "304") or status.startswith("1")
        body = b"" if bodiless else self._body(headers)
        return Response(version=version, status=int(status), headers=headers, body=body)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            parts: list[bytes] = []
            while size := int(self._incoming.readline(), 16):
                parts.append(self._incoming.read(size))
                self._incoming.readline()
            self._incoming.readline()
            return b"".join(parts)
        if "content-length" in headers:
            return self._incoming.read(int(headers["content-length"]))
        return self._incoming.read()

    def read_to_end(self) -> bytes:
        """Return what comes until the other side closes its half."""
        return self._incoming.read()

    def close(self) -> None:
        self._incoming.close()
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
