"""The load: readers and publishers of one push server, in one process and thread.

A message carries its channel, its number and the time at which it was sent, so each
delivery is checked (lost, doubled, out of order) and timed by one clock. Sockets and
epoll without any framework: 15 to 20 us a delivery, of which most is the kernel's.
Where this process used more CPU than the server it says so (``limited``): then the
server may have been faster than the figure.

CPU per delivery is the server's own, of all its processes and threads, with the
polls that follow: the figure that other work on the machine disturbs least.
"""

import json
import os
import re
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

__all__ = ["Load", "Target"]

MARK = re.compile(rb"#(\d+):(\d+):(\d+\.\d+)#")
HEADER = re.compile(rb"(?i)\r\n(etag|last-modified|content-length): *([^\r]*)")
QUIET_NS = 4_000_000  # CPU of a server that has nothing to do, in a window
WINDOW = 0.05  # seconds
BACKLOG = 40  # connections at once: Daphne's backlog is 50, and then it takes seconds
PAUSE = 0.02  # seconds, in which it accepts them
FLOOD = 40.0  # seconds that a flood may take


@dataclass(frozen=True, kw_only=True)
class Target:
    """One server as the load sees it. ``%s`` stands for the channel.

    Where it has several processes with a port each, readers go to all of them in
    turns; what is published goes to the first.
    """

    ports: tuple[int, ...]
    pids: tuple[int, ...]
    transport: str = "poll"  # or stream, socket, many
    subscribe: str = "/updates/%s"
    publish: str = "/send-update/%s"


@dataclass(kw_only=True)
class Result:
    """What one run found; times in milliseconds, CPU in microseconds."""

    readers: int
    messages: int
    delivered: int = 0
    lost: int = 0
    doubled: int = 0  # or out of order
    errors: int = 0
    cpu_us: float = 0.0
    per_second: float = 0.0
    last_ms: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    limited: bool = False
    more: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


class Reader:
    """One client, of one channel or (``many``) of several."""

    def __init__(self, load: "Load", channels: Sequence[int]) -> None:
        self.load, self.channels = load, channels
        self.number = len(load.readers)
        self.seen = dict.fromkeys(channels, 0)
        self.cursors: dict[str, str] = {}
        self.etag = self.date = b""
        self.buffer = b""
        self.connect()

    def connect(self) -> None:
        self.buffer = b""
        self.opened = False
        ports = self.load.target.ports
        self.socket = self.load.connection(
            self.readable, ports[self.number % len(ports)]
        )
        self.ask()

    def ask(self) -> None:
        target = self.load.target
        path = target.subscribe.replace("%s", self.load.name(self.channels[0]))
        lines = [b"GET %s HTTP/1.1" % path.encode(), b"Host: 127.0.0.1"]
        body = b""
        if target.transport == "poll":
            if self.etag:
                lines += [b"If-None-Match: " + self.etag]
                lines += [b"If-Modified-Since: " + self.date]
        elif target.transport == "stream":
            lines.append(b"Accept: text/event-stream")
        elif target.transport == "socket":
            lines += [b"Connection: Upgrade", b"Upgrade: websocket"]
            lines += [b"Sec-WebSocket-Version: 13"]
            lines += [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
        else:
            wanted = {
                name: {"since": self.cursors[name]} if name in self.cursors else {}
                for name in map(self.load.name, self.channels)
            }
            body = json.dumps({"channels": wanted}).encode()
            lines[0] = b"POST %s HTTP/1.1" % path.encode()
            lines.append(b"Content-Length: %d" % len(body))
        self.socket.sendall(b"\r\n".join(lines) + b"\r\n\r\n" + body)

    def readable(self) -> None:
        try:
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.load.forget(self.socket)
            self.load.lost_connections += 1
            self.connect()
            return
        data = self.buffer + data if self.buffer else data
        if self.load.target.transport in ("poll", "many"):
            self.buffer = data
            while self.buffer and self.answered():
                pass
        else:
            self.streamed(data)

    def streamed(self, data: bytes) -> None:
        if not self.opened:
            head = data.find(b"\r\n\r\n")
            if head < 0:
                self.buffer = data
                return
            if data[9:12] not in (b"200", b"101"):
                self.load.result.errors += 1
            self.opened = True
            self.load.open += 1
        end = self.count(data)
        self.buffer = data[end:][-4096:]

    def answered(self) -> bool:
        """Take one whole answer from the buffer, and poll again."""
        data = self.buffer
        head = data.find(b"\r\n\r\n")
        if head < 0:
            return False
        found = {name.lower(): value for name, value in HEADER.findall(data, 0, head)}
        end = head + 4 + int(found.get(b"content-length", b"0"))
        if len(data) < end:
            return False
        status = data[9:12]
        self.buffer = data[end:]
        if status == b"200":
            self.etag = found.get(b"etag", self.etag)
            self.date = found.get(b"last-modified", self.date)
            body = data[head + 4 : end]
            self.count(body)
            if self.load.target.transport == "many":
                for entry in json.loads(body):
                    if "id" in entry:
                        self.cursors[entry["channel"]] = entry["id"]
        elif status not in (b"304", b"408", b"204"):
            self.load.result.errors += 1
        self.ask()
        return True

    def count(self, data: bytes) -> int:
        """Note the deliveries in the bytes; return where the last one ends."""
        now, end = time.monotonic(), 0
        load = self.load
        for match in MARK.finditer(data):
            end = match.end()
            channel, number = int(match[1]), int(match[2])
            seen = self.seen.get(channel)
            if seen is None or number <= load.first:
                continue
            if number <= seen:
                load.result.doubled += 1
                continue
            self.seen[channel] = number
            load.delivered += 1
            load.latencies.append(now - float(match[3]))
            load.last_at = now
        return end


class Publisher:
    """One connection that publishes, a message at a time."""

    def __init__(self, load: "Load") -> None:
        self.load = load
        self.busy = False
        self.on_done: Callable[[], None] = lambda: None
        self.buffer = b""
        self.socket = load.connection(self.readable)

    def publish(self, channel: int, number: int) -> None:
        mark = b"#%d:%d:%.6f#" % (channel, number, time.monotonic())
        body = mark.ljust(self.load.size, b"x")
        path = self.load.target.publish.replace("%s", self.load.name(channel))
        self.busy = True
        self.socket.sendall(
            b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)
        )

    def readable(self) -> None:
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:  # closed: say so, and go on with another one
            self.load.forget(self.socket)
            self.load.result.errors += self.busy
            self.buffer, self.socket = b"", self.load.connection(self.readable)
            self.busy = False
            self.on_done()
            return
        self.buffer += data
        head = self.buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        found = HEADER.findall(self.buffer, 0, head)
        length = next((v for n, v in found if n.lower() == b"content-length"), b"0")
        if len(self.buffer) < head + 4 + int(length):
            return
        if self.buffer[9:10] != b"2":
            self.load.result.errors += 1
        self.buffer = b""
        self.busy = False
        self.on_done()


class Load:
    """Readers of one target; use it in a ``with``."""

    runs = 0

    def __init__(self, target: Target, *, size: int = 200) -> None:
        Load.runs += 1
        self.target, self.size = target, size
        self.prefix = f"b{os.getpid()}-{Load.runs}-"
        self.result = Result(readers=0, messages=0)
        self.readers: list[Reader] = []
        self.latencies: list[float] = []
        self.delivered = self.open = self.lost_connections = self.number = 0
        self.cut = False  # by the clock
        self.first = 0  # numbers up to this one are of an earlier round
        self.last_at = 0.0
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._readable: dict[int, Callable[[], None]] = {}

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in self._sockets.values():
            each.close()
        self._epoll.close()

    def name(self, channel: int) -> str:
        return f"{self.prefix}{channel}"

    def connection(self, readable: Callable[[], None], port: int = 0) -> socket.socket:
        address = "127.0.0.1", port or self.target.ports[0]
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[connection.fileno()] = connection
        self._readable[connection.fileno()] = readable
        self._epoll.register(connection, select.EPOLLIN)
        return connection

    def forget(self, connection: socket.socket) -> None:
        del self._sockets[connection.fileno()], self._readable[connection.fileno()]
        self._epoll.unregister(connection)
        connection.close()

    def step(self, seconds: float) -> None:
        for descriptor, _ in self._epoll.poll(seconds):
            if readable := self._readable.get(descriptor):
                readable()

    def run_until(self, done: Callable[[], bool], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                return False
            self.step(0.02)
        return True

    def settle(self, seconds: float = 20.0) -> None:
        """Go on until the server has had nothing to do for two windows."""
        quiet, end = 0, time.monotonic() + seconds
        while quiet < 2 and time.monotonic() < end:
            before, until = cpu_ns(*self.target.pids), time.monotonic() + WINDOW
            while (left := until - time.monotonic()) > 0:
                self.step(left)
            quiet = quiet + 1 if cpu_ns(*self.target.pids) - before < QUIET_NS else 0

    def hold(self, channels: int, each: int) -> None:
        """Have so many readers on each of so many channels, parked."""
        many = self.target.transport == "many"
        wanted = [range(channels)] * each if many else None
        wanted = wanted or [[n % channels] for n in range(channels * each)]
        for position, group in enumerate(wanted):
            self.readers.append(Reader(self, group))
            if position % BACKLOG == 0:
                self.run_until(lambda: False, PAUSE)
        self.settle()

    # What is measured.

    def burst(self, *, readers: int, messages: int, channels: int = 1) -> Result:
        """One message to each channel, to all who wait; then the next, when idle."""
        self._begin(readers, messages * channels)
        self.hold(channels, readers // channels)
        publisher = Publisher(self)
        publisher.publish(0, 1)  # a first one for nothing: everything is warm
        self.run_until(lambda: self.delivered >= readers // channels, 10)
        self.settle()
        self._forget()
        took: list[float] = []
        cpu, own, server = 0, 0.0, 0
        for _ in range(messages):
            expected = self.delivered + readers
            before, own_before = cpu_ns(*self.target.pids), time.process_time()
            started = time.monotonic()
            for channel in range(channels):
                publisher.publish(channel, self.first + self.number + 1)
                self.run_until(lambda: not publisher.busy, 10)
            self.number += 1
            # Who has no cursor loses messages: no need to wait for them.
            self.run_until(partial(self._has, expected), 3)
            own += time.process_time() - own_before
            server += cpu_ns(*self.target.pids) - before
            took.append(self.last_at - started)
            self.settle()
            cpu += cpu_ns(*self.target.pids) - before
        return self._end(readers * messages, cpu, took, own > server / 1e9)

    def flood(
        self, *, channels: int, each: int, messages: int, publishers: int = 8
    ) -> Result:
        """Publish at full speed: so many messages to each channel, in order."""
        self._begin(channels * each, messages * channels)
        self.hold(channels, each)
        left = dict.fromkeys(range(channels), 0)
        senders = [Publisher(self) for _ in range(publishers)]
        mine = [list(range(n, channels, publishers)) for n in range(publishers)]

        def send(n: int) -> None:
            if mine[n]:
                channel = mine[n].pop(0)
                left[channel] += 1
                senders[n].publish(channel, left[channel])
                if left[channel] < messages:
                    mine[n].append(channel)

        expected = channels * each * messages
        before, own = cpu_ns(*self.target.pids), time.process_time()
        started = time.monotonic()
        for n, sender in enumerate(senders):
            sender.on_done = partial(send, n)
            send(n)
        end, quiet_since = started + FLOOD, (0, started)
        while self.delivered < expected and time.monotonic() < end:
            self.step(0.02)
            if self.delivered != quiet_since[0]:
                quiet_since = self.delivered, time.monotonic()
            elif time.monotonic() - quiet_since[1] > 3:
                break  # what is missing does not come any more
        else:
            self.cut = self.delivered < expected  # too slow; nothing is lost
        took = self.last_at - started
        limited = time.process_time() - own > (cpu_ns(*self.target.pids) - before) / 1e9
        self.settle()
        cpu = cpu_ns(*self.target.pids) - before
        return self._end(expected, cpu, [took], limited)

    def paced(
        self, *, readers: int, channels: int, per_second: int, seconds: float
    ) -> Result:
        """Deliveries at a steady rate: latencies as a user has them."""
        each = readers // channels
        pause = each / per_second
        messages = int(seconds / pause)
        self._begin(readers, messages)
        self.hold(channels, each)
        publisher = Publisher(self)
        numbers = dict.fromkeys(range(channels), 0)
        before, started = cpu_ns(*self.target.pids), time.monotonic()
        for turn in range(messages):
            channel = turn % channels
            numbers[channel] += 1
            while (wait := started + turn * pause - time.monotonic()) > 0:
                self.step(wait)
            self.run_until(lambda: not publisher.busy, 10)
            publisher.publish(channel, numbers[channel])
        expected = messages * each
        self.run_until(lambda: self.delivered >= expected, 5)
        cpu = cpu_ns(*self.target.pids) - before
        took = self.last_at - started
        return self._end(expected, cpu, [took], False)

    def idle(self, *, readers: int, seconds: float) -> Result:
        """Memory of readers that wait, and what the server does meanwhile."""
        self._begin(readers, 0)
        with Load(self.target) as warm:
            warm.hold(1, 50)
        before = resident(*self.target.pids)
        self.hold(1, readers)
        grown = resident(*self.target.pids) - before
        cpu, until = cpu_ns(*self.target.pids), time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.step(left)
        busy = (cpu_ns(*self.target.pids) - cpu) / 1e9 / seconds
        self.result.more = {"bytes_per_reader": grown / readers, "idle_cpu": busy}
        return self.result

    def _begin(self, readers: int, messages: int) -> None:
        self.result = Result(readers=readers, messages=messages)

    def _has(self, deliveries: int) -> bool:
        return self.delivered >= deliveries

    def _forget(self) -> None:
        """What came until now was for warming up."""
        self.first, self.number = 1, 0
        self.delivered, self.latencies = 0, []

    def _end(
        self, expected: int, cpu: int, took: Sequence[float], limited: bool
    ) -> Result:
        result, delivered = self.result, self.delivered
        missing = max(expected - delivered, 0)
        result.delivered, result.lost = delivered, 0 if self.cut else missing
        if delivered:
            result.cpu_us = cpu / 1000 / delivered
            per_round = delivered / len(took)
            result.last_ms = statistics.median(took) * 1000
            result.per_second = per_round / statistics.median(took)
            ordered = sorted(self.latencies)
            result.p50_ms = ordered[len(ordered) // 2] * 1000
            result.p99_ms = ordered[int(len(ordered) * 0.99)] * 1000
        result.limited = limited
        return result


def processes(pid: int) -> Iterable[int]:
    """The process and all below it."""
    yield pid
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except OSError:  # of a thread that has just ended
            continue
        for child in children:
            yield from processes(int(child))


def cpu_ns(*pids: int) -> int:
    """The CPU that servers have used, in all their processes and threads."""
    total = 0
    for each in chain.from_iterable(map(processes, pids)):
        for path in Path(f"/proc/{each}/task").glob("*/schedstat"):
            try:
                total += int(path.read_text().split()[0])
            except OSError:  # a thread that has just ended
                continue
    return total


def resident(*pids: int) -> int:
    """The memory that servers' processes have for themselves, in bytes."""
    total = 0
    for each in chain.from_iterable(map(processes, pids)):
        text = Path(f"/proc/{each}/smaps_rollup").read_text()
        match = re.search(r"^Pss: *(\d+)", text, re.MULTILINE)
        total += int(match[1]) * 1024 if match else 0
    return total
