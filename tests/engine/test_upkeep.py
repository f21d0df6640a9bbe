"""The upkeep module: what a process does by itself for its readers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from django.test import override_settings

from pushserver.engine import subscriptions
from pushserver.engine.subscription import Subscription
from pushserver.engine.subscriptions import Subscriptions
from pushserver.engine.waiters import Delivery
from pushserver.exceptions import StoreUnavailable
from pushserver.stores import get_store
from pushserver.stores.base import Head, SharedStore
from pushserver.stores.memory import MemoryStore
from tests.sharing import Reader


class Shared(MemoryStore, SharedStore):
    """A store that other processes share as well, and that can be down, or wrong."""

    local: ClassVar[bool] = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.fails: Exception | None = None
        self.reports: list[dict[str, int]] = []
        self.looked = 0
        self.elsewhere = 0
        self.noted: list[str] = []
        self.asked_to_note = 0
        self.fails_to_note: Exception | None = None

    async def heads(self, channel_ids: Sequence[str]) -> Mapping[str, Head]:
        self.looked += 1
        self._check()
        return await super().heads(channel_ids)

    async def report_held(self, held: Mapping[str, int]) -> None:
        self._check()
        self.reports.append(dict(held))

    async def held_elsewhere(self, channel_id: str) -> int:
        self._check()
        return self.elsewhere

    async def note_requested(self, channel_id: str, seconds_ago: float) -> None:
        self.asked_to_note += 1
        if self.fails_to_note is not None:
            raise self.fails_to_note
        self.noted.append(channel_id)

    def _check(self) -> None:
        if self.fails is not None:
            raise self.fails


SHARED = {"type": f"{__name__}.Shared"}
DOWN = StoreUnavailable("no route")

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Subscriptions]:
    stores = {"default": SHARED, "second": SHARED, "own": {"type": "memory"}}
    with override_settings(PUSH_SERVER={"store": stores, "linger": 5}):
        served = subscriptions.current()
        yield served
        await served.close()


def shared(alias: str = "default") -> Shared:
    store = get_store(alias)
    assert isinstance(store, Shared)
    return store


async def unheard(alias: str, channel_id: str, body: bytes) -> None:
    """Store a message that no wake-up tells of."""
    await get_store(alias).append(channel_id, body=body)


async def test_what_no_wakeup_told_of_is_found_within_resync(served) -> None:
    """And the group is entered again at once: it may have forgotten us."""
    loop = asyncio.get_running_loop()
    async with Reader("news") as reader:
        [membership] = served.hub.memberships()
        joined_at = membership.joined_at
        await unheard("default", "news", b"hello")
        started = loop.time()
        assert await reader.bodies() == [b"hello"]
        assert loop.time() - started <= served.config.resync
        await asyncio.sleep(0.1)
        assert membership.joined_at > joined_at


async def test_a_store_that_is_down_is_said_once_and_asked_every_second(
    served, caplog: pytest.LogCaptureFixture
) -> None:
    """Then who was held is served within about a second of its return."""
    loop = asyncio.get_running_loop()
    async with Reader("news") as reader:
        shared().fails = DOWN
        await asyncio.sleep(10)
        assert reader.held
        assert caplog.messages == ["The store 'default' is down: no route"]
        looked = shared().looked
        await asyncio.sleep(10)
        assert shared().looked - looked in (9, 10, 11)
        await unheard("default", "news", b"hello")
        shared().fails = None
        started = loop.time()
        assert await reader.bodies() == [b"hello"]
        assert loop.time() - started <= 1.1
    assert caplog.messages[1:] == ["The store 'default' is back"]


async def test_a_store_that_is_down_does_not_hold_up_another(served) -> None:
    """Verification goes on for the channels of the others."""
    with Subscription(served, ("second", "news"), None) as other:
        await other.begin()
        async with Reader("news"):
            shared().fails = DOWN
            await unheard("second", "news", b"hello")
            await asyncio.sleep(served.config.resync)
        assert other.waiter is not None
        assert isinstance(other.waiter.outcome, Delivery)


async def test_a_bug_ends_no_verification(
    served, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback, and the next one makes good."""
    async with Reader("news") as reader:
        shared().fails = ZeroDivisionError("a bug")
        await asyncio.sleep(served.config.resync)
        shared().fails = None
        await unheard("default", "news", b"hello")
        assert await reader.bodies() == [b"hello"]
    logged = {record.message for record in caplog.records if record.exc_info}
    assert logged == {
        "Verifying the channels of the store 'default' failed",
        "Reporting the held readers failed",
    }


async def test_held_readers_are_reported_every_second(served) -> None:
    """By channel, where there are any; stores of one process are not asked to know."""
    async with Reader("news"), Reader("news"), Reader("other"):
        await asyncio.sleep(1.1)
        assert shared().reports[-1] == {"news": 2, "other": 1}
        assert shared("second").reports[-1] == {}
    await asyncio.sleep(1)
    assert shared().reports[-1] == {}
    assert len(shared().reports) in (2, 3)


async def test_a_channel_that_nobody_reads_is_forgotten(served) -> None:
    """After the linger; the store remembers when it was last asked for."""
    await unheard("default", "news", b"old")
    async with Reader("news"):
        pass
    await asyncio.sleep(4)
    assert served.statistics().channels == 1
    await asyncio.sleep(6)
    assert served.statistics().channels == 0
    assert shared().noted == ["news"]


async def test_an_idle_channel_is_forgotten_without_the_store_too(
    served, caplog: pytest.LogCaptureFixture
) -> None:
    """When it was last asked for is not worth an error, nor another try."""
    for name in ("news", "other"):
        async with Reader(name):
            pass
    shared().fails = DOWN
    await asyncio.sleep(15)
    assert served.statistics().channels == 0
    assert shared().noted == []
    assert caplog.messages == ["The store 'default' is down: no route"]


async def test_a_store_that_goes_down_while_channels_are_forgotten(
    served, caplog: pytest.LogCaptureFixture
) -> None:
    """Each of a thousand channels would wait for the time-out: only one does."""
    for name in ("news", "other"):
        async with Reader(name):
            pass
    shared().fails_to_note = DOWN
    await asyncio.sleep(15)
    assert shared().asked_to_note == 1
    assert served.statistics().channels == 0
    assert caplog.messages[0] == "The store 'default' is down: no route"


async def test_more_channels_than_one_read_takes_are_verified(served) -> None:
    """In batches, all within one round."""
    with ExitStack() as readers:
        for i in range(600):
            key = "default", f"c{i}"
            readers.enter_context(Subscription(served, key, None))
        looked = shared().looked
        await asyncio.sleep(served.config.resync)
        assert shared().looked == looked + 2
