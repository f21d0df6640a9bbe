"""The wakeups module: what goes out when, and what happens when the layer fails."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.test import override_settings

from pushserver.conf import get_config
from pushserver.engine import wakeups
from pushserver.engine.wakeups import Announcer, announcer_of
from pushserver.messages import Cursor
from pushserver.names import group_name
from tests.redis_server import RedisServer, eventually
from tests.sharing import CORE, PUBSUB, settings

NEWS = ("default", "news")
OTHER = ("default", "other")
PAUSE = 2.0  # seconds: longer than a busy machine takes for what a test does in it


class Recording(InMemoryChannelLayer):
    """Remembers what was sent when; fails or hangs as it is told to."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sent: list[tuple[float, str, str]] = []
        self.probes = 0
        self.fails: Exception | None = None
        self.fails_once: Exception | None = None
        self.takes = 0.0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        await asyncio.sleep(self.takes)
        error, self.fails_once = self.fails or self.fails_once, None
        if message["type"] == "pushserver.probe":
            self.probes += 1
        if error is not None:
            raise error
        if message["type"] == "pushserver.wakeup":
            now = asyncio.get_running_loop().time()
            self.sent.append((now, message["channel"], message["id"]))
            assert group == group_name(message["store"], message["channel"])


@pytest.fixture
def recording() -> Iterator[None]:
    backend = {"BACKEND": f"{__name__}.Recording"}
    with override_settings(CHANNEL_LAYERS={"default": backend}):
        yield


def sent(announcer: Announcer) -> list[tuple[str, str]]:
    return [(channel_id, reached) for _, channel_id, reached in announcer.layer.sent]


pytestmark = pytest.mark.asyncio


async def test_without_a_layer_in_the_settings_there_is_one_of_our_own() -> None:
    """A project without CHANNEL_LAYERS works, in its one process."""
    announcer = Announcer(get_config())
    assert isinstance(announcer.layer, InMemoryChannelLayer)
    assert announcer_of(asyncio.get_running_loop()) is announcer
    await announcer.close()
    assert announcer_of(asyncio.get_running_loop()) is None


async def test_a_layer_that_is_ours_alone_is_not_asked() -> None:
    """Nobody else could hear it."""
    announcer = Announcer(get_config())
    await announcer.layer.group_add(group_name(*NEWS), "inbox")
    announcer.announce(NEWS, Cursor(1, 0))
    await announcer.close()
    assert not announcer.layer.channels


@pytest.mark.usefixtures("recording")
async def test_the_first_goes_out_at_once_and_a_burst_becomes_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of what follows within a pause the highest id is sent, and then."""
    monkeypatch.setattr(wakeups, "_PAUSE", PAUSE)
    loop = asyncio.get_running_loop()
    announcer = Announcer(get_config())
    started = loop.time()
    announcer.announce(NEWS, Cursor(1, 0))
    await asyncio.sleep(0.001)
    for number in (2, 4, 3):
        announcer.announce(NEWS, Cursor(number, 0))
    announcer.announce(OTHER, Cursor(9, 0))
    await asyncio.sleep(3 * PAUSE)
    assert sent(announcer) == [("news", "1-0"), ("other", "9-0"), ("news", "4-0")]
    assert announcer.layer.sent[-1][0] - started < 2 * PAUSE
    announcer.announce(NEWS, Cursor(5, 0))
    await asyncio.sleep(0.001)
    assert sent(announcer)[-1] == ("news", "5-0")
    await announcer.close()


@pytest.mark.usefixtures("recording")
async def test_while_one_is_under_way_the_next_gather() -> None:
    """A layer that is slow gets one at a time."""
    announcer = Announcer(get_config())
    announcer.layer.takes = 0.1
    announcer.announce(NEWS, Cursor(1, 0))
    await asyncio.sleep(0.05)
    announcer.announce(NEWS, Cursor(2, 0))
    announcer.announce(OTHER, Cursor(3, 0))
    await asyncio.sleep(1)
    assert sent(announcer) == [("news", "1-0"), ("news", "2-0"), ("other", "3-0")]
    await announcer.close()


@pytest.mark.usefixtures("recording")
async def test_close_sends_what_is_pending() -> None:
    """Also what waits for the pause of its channel."""
    announcer = Announcer(get_config())
    announcer.announce(NEWS, Cursor(1, 0))
    await asyncio.sleep(0.001)
    announcer.announce(NEWS, Cursor(2, 0))
    announcer.announce(OTHER, Cursor(3, 0))
    await announcer.close()
    assert sent(announcer) == [("news", "1-0"), ("news", "2-0"), ("other", "3-0")]


@pytest.mark.usefixtures("recording")
async def test_an_outage_is_said_once_and_looked_after_every_second(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And whoever wants to know hears when the layer is back."""
    announcer = Announcer(get_config())
    returned = asyncio.Event()
    announcer.on_return = returned.set
    announcer.layer.fails = OSError("no route")
    for number in range(3):
        announcer.announce(NEWS, Cursor(number, 0))
        announcer.announce(OTHER, Cursor(number, 0))
        await asyncio.sleep(1)
    assert caplog.messages == ["The channel layer is down: no route"]
    assert announcer.outage.down
    assert announcer.layer.probes in (3, 4)
    announcer.layer.fails = None
    await asyncio.wait_for(returned.wait(), 1.1)
    assert caplog.messages[1:] == ["The channel layer is back"]
    await asyncio.sleep(0.1)
    assert sent(announcer) == [("other", "2-0"), ("news", "2-0")]
    await announcer.close()


@pytest.mark.usefixtures("recording")
async def test_a_failure_that_is_over_at_once_is_no_outage(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A connection was cut: one line, but the groups may be gone."""
    announcer = Announcer(get_config())
    returned = asyncio.Event()
    announcer.on_return = returned.set
    announcer.layer.fails_once = OSError("cut")
    announcer.announce(NEWS, Cursor(1, 0))
    await returned.wait()
    assert not announcer.outage.down
    assert len(caplog.messages) <= 1  # not again within a minute of another test
    announcer.on_return = None
    announcer.failed(OSError("cut"))
    announcer.failed(OSError("cut"))
    await asyncio.sleep(0.1)
    assert announcer.layer.probes == 2
    await announcer.close()


@pytest.mark.usefixtures("recording")
async def test_a_layer_that_hangs_is_given_up_in_time() -> None:
    """What is pending is left to verification; close does not wait for ever."""
    announcer = Announcer(get_config())
    announcer.layer.takes = 3600
    announcer.announce(NEWS, Cursor(1, 0))
    await asyncio.sleep(3)
    assert announcer.outage.down
    announcer.announce(NEWS, Cursor(2, 0))
    started = announcer.loop.time()
    await announcer.close()
    assert announcer.loop.time() - started <= get_config().redis_timeout


# With Redis


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.real_time
async def test_the_core_layer_waits_longer_than_its_inbox(server: RedisServer) -> None:
    """Else redis-py would cut an idle inbox every five seconds; the project's wins."""
    with override_settings(**settings(server, CORE)):
        announcer = Announcer(get_config())
        [host] = announcer.layer.hosts
        assert host["socket_timeout"] > announcer.layer.brpop_timeout
        await announcer.close()
    hosts = [{"host": "127.0.0.1", "port": server.port, "socket_timeout": 3}]
    with override_settings(**settings(server, CORE, layer={"hosts": hosts})):
        announcer = Announcer(get_config())
        assert announcer.layer.hosts == hosts
        assert announcer.layer.hosts is not hosts
        await announcer.close()


@pytest.mark.real_time
@pytest.mark.parametrize("backend", [CORE, PUBSUB])
async def test_close_lets_go_of_the_connections(server: RedisServer, backend) -> None:
    """And leaves alone what others keep in the layer."""
    server.command("SET", "asgi:of-another-process", 1)
    with override_settings(**settings(server, backend)):
        before = server.connections()
        announcer = Announcer(get_config())
        announcer.announce(NEWS, Cursor(1, 0))
        await announcer.call(announcer.layer.group_send("any", {"type": "any"}))
        assert server.connections() > before
        await announcer.close()

        async def gone() -> bool:
            return server.connections() == before

        await eventually(gone)
    assert server.command("EXISTS", "asgi:of-another-process") == 1


@pytest.mark.real_time
@pytest.mark.parametrize("backend", [CORE, PUBSUB])
async def test_close_without_redis_is_no_error(backend: str) -> None:
    """Who ends has nobody to tell."""
    with RedisServer() as server, override_settings(**settings(server, backend)):
        announcer = Announcer(get_config())
        await announcer.call(announcer.layer.group_send("any", {"type": "any"}))
        server.kill()
        announcer.announce(NEWS, Cursor(1, 0))
        await announcer.close()
