"""Both Redis layers, with wake-ups that are lost and a witness of those that come."""

from typing import Any

from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from tests.e2e.machines.scale import MUTED

announced: dict[str, str] = {}
"""By channel: the id that the last wake-up of this process told of."""


def note(wakeup: dict[str, Any]) -> dict[str, Any]:
    announced[wakeup["channel"]] = wakeup["id"]
    return wakeup


class PubSubLayer(RedisPubSubChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["channel"] not in MUTED:
            await self._get_layer().group_send(group, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return note(await self._get_layer().receive(channel))


class CoreLayer(RedisChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if message["channel"] not in MUTED:
            await super().group_send(group, message)

    async def receive(self, channel: str) -> dict[str, Any]:
        return note(await super().receive(channel))
