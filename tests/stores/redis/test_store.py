from collections.abc import Sequence
from typing import Any

import pytest

from pushserver.stores.base import Store
from pushserver.stores.contract import StoreContract
from tests.redis_server import RedisServer
from tests.stores.redis.clocks import ClockedStore

pytestmark = pytest.mark.real_time


class RedisContract(StoreContract):
    """The contract, and what is more than it because the clock is Redis's."""

    servers: Sequence[RedisServer]
    cluster = False

    def make_store(self, **options: Any) -> ClockedStore:
        return ClockedStore(self.servers, self.clock, cluster=self.cluster, **options)

    def make_peer(self, store: Store) -> Store:
        assert isinstance(store, ClockedStore)
        peer = self.make_store(key_prefix=store.prefix)
        self._stores.append(peer)
        return peer

    async def close_store(self, store: Store) -> None:
        await store.close()


class TestOneServer(RedisContract):
    @pytest.fixture(autouse=True)
    def _servers(self, server: RedisServer) -> None:
        self.servers = [server]


class TestTwoServers(RedisContract):
    @pytest.fixture(autouse=True)
    def _servers(self, server: RedisServer, other_server: RedisServer) -> None:
        self.servers = [server, other_server]


class TestCluster(RedisContract):
    cluster = True

    @pytest.fixture(autouse=True)
    def _servers(self, nodes: list[RedisServer]) -> None:
        self.servers = nodes
