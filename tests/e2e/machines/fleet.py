"""Redis, the push processes and nginx, started as `deploy/` has them.

The very files are used; only ports, paths and the project are other ones.
"""

import contextlib
import json
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.e2e import nginx
from tests.e2e.servers import ROOT, Server, free_port
from tests.redis_server import RedisServer

DEPLOY = ROOT / "deploy"
NGINX = DEPLOY / "nginx.conf"
UNIT = DEPLOY / "pushserver@.service"
PROJECT_PORTS = (8001, 8002, 8003)
SETTINGS = "tests.e2e.machines.settings"


def substituted(text: str, changes: Mapping[str, str]) -> str:
    """Return the text with each change made; what is to be changed has to be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in it any more"
        text = text.replace(old, new)
    return text


def exec_start(port: int) -> list[str]:
    """Return the command of the systemd unit's instance for that port."""
    lines = UNIT.read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("ExecStart=")]
    changes = {
        "ExecStart=": "",
        "/srv/project/venv/bin/python": shlex.quote(sys.executable),
        "%i": str(port),
    }
    return shlex.split(substituted(line, changes))


def site(folder: Path, port: int, ports: tuple[int, ...]) -> str:
    """Return nginx's file with these ports, and static files in the folder."""
    changes = {
        "listen 80;": f"listen 127.0.0.1:{port};",
        "/srv/project/static/": f"{folder}/static/",
    }
    for old, new in zip(PROJECT_PORTS, ports, strict=True):
        changes[f"server 127.0.0.1:{old} "] = f"server 127.0.0.1:{new} "
    return substituted(NGINX.read_text(), changes)


class Fleet:
    """nginx in front of three push processes over one Redis."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {"DJANGO_SETTINGS_MODULE": SETTINGS, **environment}
        self.processes: list[Server] = []
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._stack:
            self.redis = self._stack.enter_context(RedisServer())
            self.environment["MACHINES_REDIS"] = self.redis.url
            ports = [free_port() for _ in PROJECT_PORTS]
            self.processes = [self._start(port) for port in ports]
            for process in self.processes:
                process.wait_listening()
            port = free_port()
            http = site(self.folder, port, tuple(ports))
            main = "worker_processes 2;"
            self.nginx = self._enter(nginx.start(self.folder, port, http, main=main))
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        for process in self.processes:
            if process.process.poll() is None:
                process.send_signal()  # all at once: each takes a moment to end
        self._stack.__exit__(*exc_info)

    def _enter(self, server: Server) -> Server:
        return self._stack.enter_context(server)

    def _start(self, port: int) -> Server:
        command = exec_start(port)
        return self._enter(Server(command, cwd=ROOT, port=port, env=self.environment))

    def kill(self, index: int) -> None:
        """Let a process die without a word."""
        self.processes[index].stop(signal.SIGKILL)

    def drain(self, index: int) -> int:
        """Stop a process as systemd does, and return its exit code."""
        return self.processes[index].stop(signal.SIGTERM)

    def restart(self, index: int) -> None:
        """Start a process again that has ended."""
        self.processes[index] = self._start(self.processes[index].port)
        self.processes[index].wait_listening()

    def witness(self, index: int) -> dict[str, Any]:
        """Return what a process has seen: `asgi` says what that is."""
        answer = self.processes[index].request("GET", "/witness/")
        seen: dict[str, Any] = json.loads(answer.body)
        return seen
