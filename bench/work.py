"""What a server has to do while it is looked at: the loads of the profiles."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.client import Load, Result, Target

__all__ = ["Burst", "Flood", "Go", "Idle", "Paced", "Work", "named"]

DELIVERIES = 40_000
MOST = 60  # messages: after each it waits until the server is idle

Go = Callable[[], Result]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One load. ``begun`` has everything connected and warm when its block begins."""

    unit = "CPU us per delivery"
    short = "us"
    least = 0.4  # of the unit: a part that is less is not named

    @property
    def name(self) -> str:
        """Of the file that keeps the profile."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        raise NotImplementedError

    def begun(self, target: Target) -> contextlib.AbstractContextManager[Go]:
        """Give what does the work, once."""
        raise NotImplementedError

    def figure(self, result: Result) -> float:
        """Return what the work has cost, in the unit."""
        return result.cpu_us


@dataclass(frozen=True, kw_only=True)
class Burst(Work):
    """One message to all readers of a channel; the next when the server is idle."""

    readers: int = 1000
    deliveries: int = DELIVERIES

    @property
    def name(self) -> str:
        return str(self.readers)

    @property
    def title(self) -> str:
        return f"{self.readers:,} readers of one channel"

    @contextlib.contextmanager
    def begun(self, target: Target) -> Iterator[Go]:
        messages = min(max(2, self.deliveries // self.readers), MOST)
        with Load(target) as load:
            load.burst(readers=self.readers, messages=1)
            yield lambda: load.burst(readers=self.readers, messages=messages)


@dataclass(frozen=True, kw_only=True)
class Flood(Work):
    """Many channels with few readers each, and publishers at full speed."""

    channels: int = 50
    each: int = 10
    messages: int = MOST
    name = "flood"

    @property
    def title(self) -> str:
        return f"{self.channels} channels with {self.each} readers at full speed"

    @contextlib.contextmanager
    def begun(self, target: Target) -> Iterator[Go]:
        def flood(load: Load, messages: int) -> Result:
            return load.flood(channels=self.channels, each=self.each, messages=messages)

        with Load(target) as load:
            flood(load, 1)
        with Load(target) as load:
            yield lambda: flood(load, self.messages)


@dataclass(frozen=True, kw_only=True)
class Paced(Work):
    """Few deliveries a second: what one of them waits for."""

    readers: int = 100
    channels: int = 10
    per_second: int = 1000
    seconds: float = 10.0
    name = "paced"
    least = 1.5

    @property
    def title(self) -> str:
        each = self.readers // self.channels
        return f"{self.per_second:,} deliveries a second, {each} readers a message"

    @contextlib.contextmanager
    def begun(self, target: Target) -> Iterator[Go]:
        def paced(load: Load, seconds: float) -> Result:
            return load.paced(
                readers=self.readers,
                channels=self.channels,
                per_second=self.per_second,
                seconds=seconds,
            )

        with Load(target) as load:
            paced(load, 1.0)
        with Load(target) as load:
            load.hold(self.channels, self.readers // self.channels)
            yield lambda: paced(load, self.seconds)


@dataclass(frozen=True, kw_only=True)
class Idle(Work):
    """Readers that wait; for less than 20 seconds, after which they ask again."""

    readers: int = 10_000
    seconds: float = 12.0
    unit = "CPU ms in each second (10 are one percent)"
    short = "ms"
    least = 1.0

    @property
    def name(self) -> str:
        return f"idle-{self.readers}"

    @property
    def title(self) -> str:
        return f"{self.readers:,} readers that wait"

    @contextlib.contextmanager
    def begun(self, target: Target) -> Iterator[Go]:
        with Load(target) as load:
            load.hold(1, self.readers)
            yield lambda: load.idle(readers=self.readers, seconds=self.seconds, base=1)

    def figure(self, result: Result) -> float:
        return result.more["idle_cpu"] * 1000


def named(name: str) -> Work:
    """Return the load of that name."""
    idle, _, readers = name.rpartition("-")
    if idle:
        return Idle(readers=int(readers))
    if name.isdigit():
        return Burst(readers=int(name))
    return {"flood": Flood(), "paced": Paced()}[name]
