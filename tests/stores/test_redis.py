import asyncio
from typing import Any

import pytest
from django.test import override_settings

from pushserver.messages import START
from pushserver.stores import close_stores, get_store
from tests.redis_server import RedisServer, eventually

pytestmark = pytest.mark.real_time


async def _connections(server: RedisServer, count: int) -> bool:
    return server.connections() == count


async def test_a_store_from_the_settings():
    """By itself over the layer's hosts, or from its own url: the same messages."""
    with RedisServer() as server:
        layers = {
            "default": {
                "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
                "CONFIG": {"hosts": [("127.0.0.1", server.port)]},
            }
        }
        own: dict[str, Any] = {"store": {"type": "redis", "url": server.url}}
        with override_settings(CHANNEL_LAYERS=layers, PUSH_SERVER={}):
            message = await get_store().append("a", body=b"x")
            assert server.connections() == 1
            await close_stores()
        await eventually(lambda: _connections(server, 0))
        with override_settings(PUSH_SERVER=own):
            history = await get_store().read("a", after=START)
            assert history.messages == (message,)
            await close_stores()


async def test_closing_is_for_the_running_loop():
    """Another loop keeps its connection."""
    with (
        RedisServer() as server,
        override_settings(PUSH_SERVER={"store": {"type": "redis", "url": server.url}}),
    ):

        async def elsewhere() -> None:
            await get_store().append("a", body=b"x")
            await close_stores()

        await get_store().append("a", body=b"x")
        await asyncio.to_thread(asyncio.run, elsewhere())
        await eventually(lambda: _connections(server, 1))
        await close_stores()
