"""Redis stores that take the time from a clock of the test.

The scripts' ``now_ms`` is rewritten, and keys expire as Redis lets them expire when
the clock of its machine is set: by the time that has passed on the test's clock.
"""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from pushserver.stores.harness import Clock
from pushserver.stores.redis.connection import Connection
from pushserver.stores.redis.scripts import Script
from pushserver.stores.redis.store import RedisStore
from tests.redis_server import RedisServer

READS_TIME = """\
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
"""


class ClockedStore(RedisStore):
    """A Redis store over a clock; one that has a server's own time has None."""

    def __init__(
        self, servers: Sequence[RedisServer], clock: Clock, **options: Any
    ) -> None:
        options.setdefault("key_prefix", uuid4().hex)
        options.setdefault("hosts", [server.host for server in servers])
        super().__init__(**options)
        self.servers, self.clock = servers, clock
        self.prefix = options["key_prefix"]

    def _connection(self, shard: int) -> Any:
        return ClockedConnection(super()._connection(shard), self)


class ClockedConnection:
    def __init__(self, connection: Any, store: ClockedStore) -> None:
        self._connection: Connection = connection
        self._store = store

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        clock = self._store.clock
        expire(self._store.servers, self._store.prefix, clock)
        now = f"    return {round(clock() * 1000)}\n"
        source = script.source.replace(READS_TIME, now)
        assert "'TIME'" not in source
        return await self._connection.call(Script(source), keys, args)


def expire(servers: Sequence[RedisServer], prefix: str, clock: Clock) -> None:
    """Let the keys know what time has passed since this was last asked for."""
    before = getattr(clock, "expired_at", clock.now)
    clock.expired_at = clock.now  # type: ignore[attr-defined]
    passed = round((clock.now - before) * 1000)
    if not passed:
        return
    for server in servers:
        with server.client() as client:
            for key in client.scan_iter(match=f"{prefix}:*", count=1000):
                left = client.pttl(key)
                if left > 0:
                    client.pexpire(key, left - passed)
