"""The load: readers and publishers of one push server, in one process and thread.

A message carries its channel, its number and the time at which it was sent, so each
delivery is checked (lost, doubled, out of order) and timed by one clock. What happens
for each delivery is in load.c; here is who connects, what is sent when, and what is
made of the counts. Where this process used more CPU than the server it says so
(``limited``): then the server may have been faster than the figure.

CPU per delivery is the server's own, of all its processes and threads, with the
polls that follow: the figure that other work on the machine disturbs least.
"""

import os
import re
import resource
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from bench.native import library

__all__ = [
    "Load",
    "Result",
    "Target",
    "allow_many_connections",
    "cpu_ns",
    "warm",
]

TRANSPORTS = ("poll", "stream", "socket", "many")
QUIET_NS = 4_000_000  # CPU of a server that has nothing to do, in a window
WINDOW = 0.05  # seconds
BACKLOG = 40  # connections at once: Daphne's backlog is 50, and then it takes seconds
ASIDE = 1_000_000  # a channel that nobody reads
PATIENCE = 3  # seconds without any delivery: what is missing does not come any more
LONGEST = 40  # seconds that one round may take
EVER = 1 << 62  # deliveries


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
    expected: int = 0
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


class Load:
    """Readers of one target; use it in a ``with``."""

    runs = 0

    def __init__(self, target: Target, *, size: int = 200) -> None:
        Load.runs += 1
        self.target = target
        name = f"b{os.getpid()}-{Load.runs}-%d"
        paths = (target.subscribe, target.publish)
        self._library = library()
        self._load = self._library.load_new(
            TRANSPORTS.index(target.transport),
            size,
            *(path.replace("%s", name).encode() for path in paths),
            name.encode(),
        )
        self.counts = self._load.contents
        self.result = Result(readers=0, messages=0)
        self.readers = 0
        self.number = 0  # of the last message, in bursts
        self.cut = False  # by the clock

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._library.load_free(self._load)

    def read(self, first: int, channels: int = 1) -> None:
        """Connect one more reader, of so many channels."""
        port = self.target.ports[self.readers % len(self.target.ports)]
        if not self._library.load_reader(self._load, port, first, channels):
            raise OSError(f"cannot connect reader {self.readers + 1} to {port}")
        self.readers += 1

    def publisher(self, port: int = 0) -> int:
        port = port or self.target.ports[0]
        found: int | None = self._library.load_publisher(self._load, port)
        if found is None:
            raise OSError(f"cannot connect a publisher to {port}")
        return found

    def publish(self, publisher: int, channel: int, number: int) -> None:
        """Publish one message and wait for the answer."""
        self._library.load_publish(self._load, publisher, channel, number)
        self.run(10, 0, publisher)

    def run(
        self, seconds: float, deliveries: int = EVER, publisher: int | None = None
    ) -> bool:
        """Go on for so long, or until all this has come, and then return True."""
        done: bool = self._library.load_run(self._load, seconds, deliveries, publisher)
        return done

    def settle(self, seconds: float = 20.0) -> None:
        """Go on until the server has had nothing to do for two windows."""
        quiet, end = 0, time.monotonic() + seconds
        while quiet < 2 and time.monotonic() < end:
            before = cpu_ns(*self.target.pids)
            self.run(WINDOW)
            quiet = quiet + 1 if cpu_ns(*self.target.pids) - before < QUIET_NS else 0

    def hold(self, channels: int, each: int) -> None:
        """Have so many readers on each of so many channels, parked; some may be."""
        many = self.target.transport == "many"
        for position in range(self.readers, each if many else channels * each):
            if many:
                self.read(0, channels)
            else:
                self.read(position % channels)
            if position % BACKLOG == BACKLOG - 1:
                self.accepted()
        self.settle()

    def accepted(self) -> None:
        """Wait until the server has accepted whoever has connected.

        It does so in turns, so a connection that is answered was the last one.
        """
        for port in self.target.ports:
            publisher = self.publisher(port)
            self.publish(publisher, ASIDE, 1)
            self._library.load_leave(self._load, publisher)

    def complete(self, deliveries: int) -> None:
        """Wait until all this has come, or what is missing does not come any more.

        Who has no cursor loses messages.
        """
        started = time.monotonic()
        while not self.run(0.5, deliveries):
            now = time.monotonic()
            if now - started > LONGEST:
                self.cut = True  # too slow: what is missing is not lost
                break
            if now - max(self.counts.last_at, started) > PATIENCE:
                break

    # What is measured.

    def burst(self, *, readers: int, messages: int, channels: int = 1) -> Result:
        """One message to each channel, to all who wait; then the next, when idle."""
        self._begin(readers, messages * channels)
        self.hold(channels, readers // channels)
        publishers = [self.publisher(port) for port in self.target.ports]
        self.number += 1
        # For nothing: everything is warm.
        self.publish(publishers[0], 0, self.number)
        self.complete(readers // channels)
        self.settle()
        self.counts.before, self.counts.delivered = self.number, 0
        took: list[float] = []
        cpu, own, server = 0, 0.0, 0
        for _ in range(messages):
            self.number += 1
            expected = self.counts.delivered + readers
            before, own_before = cpu_ns(*self.target.pids), time.process_time()
            started = time.monotonic()
            for channel in range(channels):
                self.publish(
                    publishers[channel % len(publishers)], channel, self.number
                )
            self.complete(expected)
            own += time.process_time() - own_before
            server += cpu_ns(*self.target.pids) - before
            took.append(self.counts.last_at - started)
            self.settle()
            cpu += cpu_ns(*self.target.pids) - before
        return self._end(readers * messages, cpu, took, own > server / 1e9)

    def flood(
        self, *, channels: int, each: int, messages: int, publishers: int = 8
    ) -> Result:
        """Publish at full speed: so many messages to each channel, in order."""
        self._begin(channels * each, messages * channels)
        self.hold(channels, each)
        senders = [self.publisher() for _ in range(publishers)]
        expected = channels * each * messages
        before, own = cpu_ns(*self.target.pids), time.process_time()
        started = time.monotonic()
        for n, sender in enumerate(senders):
            self._library.load_flood(
                self._load, sender, n, publishers, channels, messages
            )
        self.complete(expected)
        took = self.counts.last_at - started
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
        publisher = self.publisher()
        before, started = cpu_ns(*self.target.pids), time.monotonic()
        for turn in range(messages):
            if (wait := started + turn * pause - time.monotonic()) > 0:
                self.run(wait)
            self.publish(publisher, turn % channels, turn // channels + 1)
        expected = messages * each
        self.run(5, expected)
        cpu = cpu_ns(*self.target.pids) - before
        took = self.counts.last_at - started
        return self._end(expected, cpu, [took], False)

    def idle(self, *, readers: int, seconds: float, base: int = 0) -> Result:
        """Memory of readers that wait, and what the server does meanwhile."""
        self._begin(readers, 0)
        base = base or warm(self.target)
        self.hold(1, readers)
        grown = resident(*self.target.pids) - base
        cpu = cpu_ns(*self.target.pids)
        self.run(seconds)
        busy = (cpu_ns(*self.target.pids) - cpu) / 1e9 / seconds
        self.result.more = {"bytes_per_reader": grown / readers, "idle_cpu": busy}
        return self.result

    def _begin(self, readers: int, messages: int) -> None:
        self.result = Result(readers=readers, messages=messages)
        self.counts.delivered = self.counts.doubled = self.counts.errors = 0

    def _end(
        self, expected: int, cpu: int, took: Sequence[float], limited: bool
    ) -> Result:
        result, delivered = self.result, self.counts.delivered
        missing = max(expected - delivered, 0)
        result.expected = expected
        result.delivered, result.lost = delivered, 0 if self.cut else missing
        result.doubled, result.errors = self.counts.doubled, self.counts.errors
        if delivered:
            result.cpu_us = cpu / 1000 / delivered
            per_round = delivered / len(took)
            result.last_ms = statistics.median(took) * 1000
            result.per_second = per_round / statistics.median(took)
            ordered = sorted(self.counts.latencies[:delivered])
            result.p50_ms = ordered[len(ordered) // 2] * 1000
            result.p99_ms = ordered[int(len(ordered) * 0.99)] * 1000
        result.limited = limited
        return result


def allow_many_connections() -> int:
    """Raise the limit of open files, for this process and the servers; return it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def warm(target: Target) -> int:
    """Have a server do everything once; return the memory that it then has."""
    with Load(target) as load:
        load.hold(1, 50)
    return resident(*target.pids)


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
