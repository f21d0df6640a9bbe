"""Real Redis servers of the tests' own, on free loopback ports.

Each is a context manager: leaving it ends the process, however it stands, and removes
what it kept. `Proxy` stands between a client and a server, and misbehaves.
"""

import asyncio
import contextlib
import re
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.servers import free_port, wait_until

# Memory only, and ready at once; a later option wins.
QUIETLY = ("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0")
PERSISTENTLY = ("--appendonly", "yes", "--appendfsync", "always")


class RedisServer:
    """A redis-server, started at once; `options` are those of its command line."""

    def __init__(self, *options: str, password: str | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.socket = self.folder / "redis.sock"
        self.port = free_port()
        self.password = password
        auth = ("--requirepass", password) if password else ()
        self.options = (*QUIETLY, *auth, *options)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def host(self) -> dict[str, Any]:
        """What channels-redis takes for it."""
        return {"host": "127.0.0.1", "port": self.port, "password": self.password}

    def start(self) -> None:
        argv = ["redis-server", *self.config(), *self.options]
        self.process = subprocess.Popen(
            argv, cwd=self.folder, stdout=subprocess.DEVNULL, start_new_session=True
        )
        with self.client() as client:
            wait_until(lambda: self._answers(client), deadline=10, what=f"{argv}")

    def config(self) -> list[str]:
        own = ["--port", str(self.port), "--bind", "127.0.0.1"]
        return [*own, "--dir", str(self.folder), "--unixsocket", str(self.socket)]

    def _answers(self, client: redis.Redis) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}")
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    def client(self) -> redis.Redis:
        """A blocking client for looking and meddling; close it."""
        return redis.Redis(**self.host, socket_timeout=5)

    def command(self, *words: Any) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def connections(self) -> int:
        """How many clients are connected, without who asks."""
        return int(self.command("INFO", "clients")["connected_clients"]) - 1

    def kill(self) -> None:
        """End it without a chance to save anything."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it accept connections, and answer nothing."""
        self.process.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.process.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class TlsServer(RedisServer):
    """A Redis over TLS as well; its certificate is vouched for by ``authority``."""

    def __init__(self, *options: str) -> None:
        self._tls_port = free_port()
        super().__init__(*options)

    @property
    def authority(self) -> Path:
        return self.folder / "certificate.pem"

    @property
    def url(self) -> str:
        return f"rediss://127.0.0.1:{self._tls_port}?ssl_ca_certs={self.authority}"

    def config(self) -> list[str]:
        key = self.folder / "key.pem"
        if not key.exists():
            write_certificate(self.authority, key)
        tls = {
            "port": self._tls_port,
            "cert-file": self.authority,
            "key-file": key,
            "ca-cert-file": self.authority,
            "auth-clients": "no",
        }
        words = [(f"--tls-{name}", str(value)) for name, value in tls.items()]
        return [*super().config(), *(word for pair in words for word in pair)]


def write_certificate(certificate: Path, key: Path) -> None:
    """Make a certificate of this machine, signed by itself, good for an hour."""
    secret = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    hosts = [x509.IPAddress(ip_address("127.0.0.1"))]
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(secret.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(secret, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        secret.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Sentinel(RedisServer):
    """A Sentinel that knows one master, as "main"."""

    def __init__(self, master: RedisServer) -> None:
        self._master = master
        super().__init__()

    def start(self) -> None:
        super().start()
        # Usually it looks at a replica every 10 seconds.
        self.command("SENTINEL", "DEBUG", "INFO-PERIOD", "100")

    def config(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor main 127.0.0.1 {self._master.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
        )
        self.options = ()
        return [str(file), "--sentinel"]


class ClusterNode(RedisServer):
    """A Redis that is to be a node of a cluster."""

    def __init__(self, *options: str) -> None:
        # Not free_port() + 10000, which is often no port.
        bus = ("--cluster-port", str(free_port()), "--cluster-node-timeout", "1000")
        super().__init__("--cluster-enabled", "yes", *bus, *options)

    def replicate(self, master: "ClusterNode", *others: "ClusterNode") -> None:
        """Be ready to take over when that master dies, and be known to the others."""
        name = master.command("CLUSTER", "MYID")
        for node in (master, *others):
            bus = node.options[node.options.index("--cluster-port") + 1]
            self.command("CLUSTER", "MEET", "127.0.0.1", node.port, bus)

        def replicates() -> bool:
            with contextlib.suppress(redis.ResponseError):  # it has not met it yet
                return bool(self.command("CLUSTER", "REPLICATE", name))
            return False

        def known() -> bool:
            replicas = [node.command("CLUSTER", "REPLICAS", name) for node in others]
            linked = self.command("INFO", "replication")["master_link_status"] == "up"
            return all(replicas) and linked

        wait_until(replicates, what="a master to replicate")
        wait_until(known, what="a replica that all know")


@contextlib.contextmanager
def cluster() -> Iterator[list[ClusterNode]]:
    """Three masters that share the slots of a cluster."""
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(ClusterNode()) for _ in range(3)]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"],
            check=True,
            stdout=subprocess.DEVNULL,
        )

        def agreed() -> bool:
            info = [node.command("CLUSTER", "INFO") for node in nodes]
            return all(b"cluster_state:ok" in each for each in info)

        wait_until(agreed, what="a cluster")
        yield nodes


class Proxy:
    """Forwards between clients and a server in this event loop.

    ``answer`` is given what the server says and returns what the client gets: None
    cuts the connection. ``accepted`` counts connections, ``asked`` keeps what came.
    """

    def __init__(self, port: int) -> None:
        self.to = port
        self.port = 0
        self.accepted = 0
        self.asked = b""
        self.answer: Callable[[bytes], bytes | None] = lambda data: data
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def host(self) -> dict[str, Any]:
        return {"host": "127.0.0.1", "port": self.port}

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            self._tasks.discard(task)
            return
        pump = asyncio.ensure_future(self._pump(reader, back))
        try:
            while data := await onward.read(65536):
                answer = self.answer(data)
                if answer is None:
                    break
                writer.write(answer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # asyncio logs whatever a task of a server raises
        finally:
            pump.cancel()
            back.transport.abort()
            writer.transport.abort()
            self._tasks.discard(task)

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.asked += data
                writer.write(data)
        writer.close()

    def cut(self) -> int:
        """Cut every connection that is open; return how many there were."""
        for task in self._tasks:
            task.cancel()
        return len(self._tasks)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """Something on a port that gives the same reply to whatever it hears."""

    class Answering(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            transports.append(transport)

        def data_received(self, data: bytes) -> None:
            # Several commands may come in one piece: each is an array by itself.
            commands = re.findall(rb"(?:^|\r\n)\*\d+\r\n", data)
            self.transport.write(reply * max(1, len(commands)))

    transports: list[asyncio.Transport] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for transport in transports:
            transport.abort()
        await turn()


async def eventually(
    condition: Callable[[], Awaitable[object]], *, deadline: float = 10
) -> None:
    """Return once the condition is true, or fail at the deadline."""
    async with asyncio.timeout(deadline):
        while not await condition():  # noqa: ASYNC110 - other processes fulfil it
            await asyncio.sleep(0.01)


async def turn() -> None:
    """Give the loop the two turns it needs to hear what its sockets have."""
    for _ in range(2):
        await asyncio.sleep(0)
