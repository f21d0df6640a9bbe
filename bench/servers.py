"""The servers that are compared, each started as its manual says, with one worker."""

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.client import Target
from tests.e2e import nginx
from tests.e2e.protocol import nchan
from tests.e2e.servers import (
    ROOT,
    Server,
    free_port,
    start_daphne,
    start_granian,
    start_uvicorn,
)

__all__ = ["NCHAN", "OWN", "SERVERS", "Candidate", "running", "together"]

SERVERS = ("daphne", "uvicorn", "granian")
NCHAN = "Nchan"
OWN = "runpushserver"  # Daphne, as we start it
MANAGE = """\
import sys
from importlib import import_module
from django.core.management import execute_from_command_line

import_module(sys.argv[1])  # configures Django
execute_from_command_line(sys.argv[1:])
"""


def start_command(
    project: Path, application: str, *arguments: str, env: Mapping[str, str]
) -> Server:
    """Start runpushserver as the application's own ``manage.py`` would."""
    port = free_port()
    module = application.partition(":")[0]
    command = [sys.executable, "-c", MANAGE, module, "runpushserver", str(port)]
    server = Server([*command, *arguments], cwd=project, port=port, env=env)
    return server.wait_listening()


STARTS: dict[str, tuple[Callable[..., Server], list[str]]] = {
    "daphne": (start_daphne, ["-v", "0"]),
    OWN: (start_command, ["--noreload", "--allrequests"]),
    "uvicorn": (start_uvicorn, ["--no-access-log", "--log-level", "error"]),
    "granian": (
        start_granian,
        # Else it holds 1,024 requests and lets the others wait outside.
        ["--workers", "1", "--backpressure", "20000", "--log-level", "error"],
    ),
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What is measured: an application (a module of bench.apps) on a server."""

    application: str
    server: str
    transport: str = "poll"
    layer: str = ""
    redis: str = ""
    watched: str = ""  # by which of bench.apps, for bench.profile

    @property
    def label(self) -> str:
        layer = f" ({self.layer.rpartition('.')[2]})" if self.layer else ""
        return f"{self.application}{layer} on {self.server}, {self.transport}"

    @property
    def environment(self) -> dict[str, str]:
        found = {"BENCH_LAYER": self.layer, "BENCH_REDIS": self.redis}
        if self.watched:
            found["BENCH_WATCHED"] = self.application
        return {name: value for name, value in found.items() if value}


@contextlib.contextmanager
def running(candidate: Candidate) -> Iterator[Target]:
    """Start the candidate's server; it ends with the block, or with this process."""
    with contextlib.ExitStack() as stack:
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # By itself that would leave the servers behind: they are in other sessions.
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
            stack.callback(signal.signal, signal.SIGTERM, signal.SIG_DFL)
        if candidate.server == NCHAN:
            folder = Path(stack.enter_context(TemporaryDirectory()))
            server = stack.enter_context(start_nchan(folder))
            paths = {"subscribe": "/sub/%s", "publish": "/pub/%s"}
        else:
            server = stack.enter_context(start(candidate))
            paths = {}
        target = Target(
            ports=(server.port,),
            pids=(server.process.pid,),
            transport=candidate.transport,
            **paths,
        )
        if candidate.transport == "many":
            target = replace(target, subscribe="/updates")
        yield target


def together(targets: Sequence[Target]) -> Target:
    """Several processes as one server: readers go to all of them."""
    return Target(
        ports=tuple(port for target in targets for port in target.ports),
        pids=tuple(pid for target in targets for pid in target.pids),
    )


def start(candidate: Candidate, extra: Mapping[str, str] | None = None) -> Server:
    function, arguments = STARTS[candidate.server]
    application = f"bench.apps.{candidate.watched or candidate.application}:app"
    env = {**candidate.environment, **(extra or {})}
    # Without what a run under pytest or coverage has set for its own processes.
    env["DJANGO_SETTINGS_MODULE"] = ""
    return function(ROOT, application, *arguments, env=env)


NCHAN_HTTP = """\
    keepalive_requests 1000000;
    tcp_nodelay on;
    nchan_message_buffer_length 100;
    nchan_shared_memory_size 128m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location ~ ^/sub/(.+)$ {{ nchan_subscriber; nchan_channel_id $1; }}
        location ~ ^/pub/(.+)$ {{ nchan_publisher; nchan_channel_id $1; }}
    }}
"""


def start_nchan(folder: Path) -> Server:
    port = free_port()
    return nginx.start(
        folder,
        port,
        NCHAN_HTTP.format(port=port),
        main=f"{nchan.MAIN} worker_rlimit_nofile 20000;",
        connections=19_000,
    )
