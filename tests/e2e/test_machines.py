"""Every message once and in order, while processes die, drain and Redis stands still.

nginx, three push processes, a WSGI process and a plain worker, as `deploy/` and a
project have them; readers that know nothing but their cursor.
"""

import asyncio
import itertools
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e.machines.fleet import SETTINGS, Fleet
from tests.e2e.machines.publishers import Ledger, publish, view, worker
from tests.e2e.machines.readers import Reader
from tests.e2e.machines.scale import MUTED, RESYNC
from tests.e2e.servers import ROOT, Server, start_runserver, wait_until

# By channel: its readers and its messages. 200 and 10,000 in all.
CHANNELS = {f"busy-{i}": (1, 960) for i in range(10)} | {
    f"popular-{i}": (19, 40) for i in range(10)
}
MESSAGES = 10_000
LANES = 4  # connections to the WSGI process
PAUSE = 3.0  # seconds for which Redis stands still
DEADLINE = 100.0  # on a machine that has other work: a hung test is ended at 120 s

# Messages that the readers together may be behind: 5 each, so most polls are held.
LAG = 1000
# No news for so long, while somebody lacks something: it does not come any more.
# Longer than Redis stands still and a reader that was told 503 stays away.
STALLED = 10.0
PATIENCE = 0.5  # seconds that a publisher waits for readers that have stopped
# The last part of the messages is sent when all harm is done: a process that starts
# reads what is there and would find what no wake-up told the others of.
LAST_PART = 0.8


class Run:
    """One run: what was published, what was done to whom, what the readers got."""

    def __init__(self, fleet: Fleet, wsgi: Server, *, part: float = 1) -> None:
        self.fleet = fleet
        self.wsgi = wsgi
        self.ledger = Ledger()
        self.readers = [
            Reader(channel, self._received)
            for channel, (readers, _) in CHANNELS.items()
            for _ in range(readers)
        ]
        self.pids: list[int] = []  # of all push processes that there were
        self.held_by_killed = 0
        self._part = part  # of the messages
        # Of the channels that have wake-ups: messages that are on their way, counted
        # once for each reader.
        self._behind = 0
        self._last_news = 0.0
        self._harmed = asyncio.Event()

    async def execute(self, *, stalled: float = STALLED) -> None:
        """Publish everything, do the harm, and wait until nothing comes any more."""
        self.pids += [server.process.pid for server in self.fleet.processes]
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            port = self.fleet.nginx.port
            following = [group.create_task(r.follow(port)) for r in self.readers]
            async with asyncio.TaskGroup() as work:
                work.create_task(self._publish())
                work.create_task(self._harm())
            await self._until(lambda: not self.lost(), stalled)
            for task in following:
                task.cancel()

    async def _publish(self) -> None:
        async with AsyncExitStack() as stack:
            lanes = [
                await stack.enter_async_context(view(self.wsgi.port))
                for _ in range(LANES)
            ]
            log, env = self.fleet.folder / "worker.log", self.fleet.environment
            plain = await stack.enter_async_context(worker(log, env))
            async with asyncio.TaskGroup() as group:
                publishers = {f"view {i}": send for i, send in enumerate(lanes)}
                turns = enumerate(self._turns())
                for name, send in [*publishers.items(), ("worker", plain)]:
                    group.create_task(
                        publish(name, send, turns, ledger=self.ledger, room=self._room)
                    )

    def _turns(self) -> list[str]:
        """Return the channel of each message, all of them spread evenly."""
        moments = [
            ((turn + 0.5) / count, channel)
            for channel, (_, count) in CHANNELS.items()
            for turn in range(int(count * self._part))
        ]
        return [channel for _, channel in sorted(moments)]

    async def _room(self, channel: str) -> None:
        """Return when the time has come for one more message."""
        if self._published >= LAST_PART:
            await self._harmed.wait()
        if channel not in MUTED:
            self._behind += CHANNELS[channel][0]
            if not await self._until(lambda: self._behind <= LAG, PATIENCE):
                self._behind = 0  # what was lost does not hold up the rest

    @property
    def _published(self) -> float:
        return self.ledger.count / (self._part * MESSAGES)

    def _received(self, reader: Reader) -> None:
        self._behind -= reader.channel not in MUTED
        self._last_news = time.monotonic()

    async def _until(self, condition: Callable[[], bool], patience: float) -> bool:
        """Say whether it comes true before readers have stopped getting anything."""
        self._last_news = time.monotonic()
        while not (done := condition()):
            if time.monotonic() - self._last_news > patience:
                break
            await asyncio.sleep(0.01)
        return done

    async def _harm(self) -> None:
        """Kill one process, stop Redis for a while, drain another process."""
        for share, harm in [(0.1, self._kill), (0.4, self._pause), (0.6, self._drain)]:
            while self._published < share:  # noqa: ASYNC110 - others fulfil it
                await asyncio.sleep(0.01)
            await harm()
        self._harmed.set()

    async def _kill(self) -> None:
        def kill() -> None:
            self.held_by_killed = wait_until(lambda: self.fleet.witness(0)["held"])
            self.fleet.kill(0)
            self.fleet.restart(0)

        await asyncio.to_thread(kill)
        self.pids.append(self.fleet.processes[0].process.pid)

    async def _pause(self) -> None:
        self.fleet.redis.pause()
        await asyncio.sleep(PAUSE)
        self.fleet.redis.resume()

    async def _drain(self) -> None:
        def drain() -> None:
            assert self.fleet.drain(1) == 0
            self.fleet.restart(1)

        await asyncio.to_thread(drain)
        self.pids.append(self.fleet.processes[1].process.pid)

    def lost(self) -> list[str]:
        """Say which reader lacks what was accepted on its channel."""
        return [
            f"{reader.channel} lacks {len(missing)}, as {sorted(missing)[:3]}"
            for reader in self.readers
            if (missing := set(self.ledger.accepted(reader.channel)) - {*reader.texts})
        ]


def check(run: Run) -> None:
    """Hold what the readers got against what was published."""
    for reader in run.readers:
        name = f"a reader of {reader.channel}"
        accepted = run.ledger.accepted(reader.channel)
        maybe = run.ledger.maybe(reader.channel)
        pairs = itertools.pairwise(reader.ids)
        assert all(one < other for one, other in pairs), f"{name}: not in order"
        doubled = [t for t, count in Counter(reader.texts).items() if count > 1]
        assert not doubled, f"{name} got twice: {doubled}"
        unknown = {*reader.texts} - {*accepted} - {*maybe}
        assert not unknown, f"{name} got what was refused: {unknown}"
        for publisher, numbers in by_publisher(reader.texts).items():
            assert numbers == sorted(numbers), f"{name}: {publisher} not in order"
        assert reader.gaps == 0, f"{name} was told of {reader.gaps} gaps"
    for channel in CHANNELS:
        # Nobody sees another order; what only some have is what came at the end.
        all_ids = sorted((r.ids for r in run.readers if r.channel == channel), key=len)
        assert all(ids[: len(all_ids[0])] == all_ids[0] for ids in all_ids), channel


def by_publisher(texts: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers of the messages, apart for each who sent one after another."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for text in texts:
        publisher, _, number = text.rpartition(" ")
        numbers[publisher].append(int(number))
    return numbers


def found_by_verification(run: Run) -> set[str]:
    """Return the channels where a process found what no wake-up told it of."""
    found = set()
    for index in range(len(run.fleet.processes)):
        seen = run.fleet.witness(index)
        for channel, newest in seen["verified"].items():
            if position(newest) > position(seen["announced"].get(channel, "0-0")):
                found.add(channel)
    return found


def position(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("-")))


@contextmanager
def machines(folder: Path, *, part: float = 1, **environment: str) -> Iterator[Run]:
    with (
        Fleet(folder, **environment) as fleet,
        start_runserver(ROOT, settings=SETTINGS, env=fleet.environment) as wsgi,
    ):
        yield Run(fleet, wsgi, part=part)


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        ("PubSubLayer", 1),
        # A wake-up costs it four times as many commands.
        pytest.param("CoreLayer", 0.5, marks=pytest.mark.long),
    ],
)
async def test_every_reader_gets_every_message_once_and_in_order(tmp_path, layer, part):
    """A killed, a drained process and a Redis that stands still cost no message."""
    path = f"tests.e2e.machines.layers.{layer}"
    with machines(tmp_path, part=part, MACHINES_LAYER=path) as run:
        await run.execute()
        assert run.lost() == []
        check(run)
        assert len(run.readers) == 200
        assert run.ledger.count == part * MESSAGES
        # But for what was under way when Redis stopped, and while it did not answer.
        failed = run.ledger.count - run.ledger.total("accepted")
        assert failed <= 2 * (LANES + 1)
        assert run.held_by_killed > 0
        # All but those who had little to read, and that in one go.
        assert sum(len(reader.pids) > 1 for reader in run.readers) > 180
        assert {pid for r in run.readers for pid in r.pids} == {*run.pids}
        assert len(run.pids) == 5
        assert found_by_verification(run) >= {*MUTED}


async def test_it_fails_where_wakeups_are_believed_to_arrive(tmp_path):
    """Without verification the same run loses messages: it can fail."""
    with machines(tmp_path, part=0.1, MACHINES_FAULT="credulous") as run:
        # All harm is long done by then; verification would take RESYNC.
        await run.execute(stalled=2.5 * RESYNC)
        assert run.lost()
