from collections.abc import Iterator

import pytest

from tests.redis_server import ClusterNode, RedisServer, cluster


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """A Redis that tests share, each under a key prefix of its own."""
    with RedisServer() as one:
        yield one


@pytest.fixture(scope="session")
def other_server() -> Iterator[RedisServer]:
    with RedisServer() as one:
        yield one


@pytest.fixture(scope="session")
def nodes() -> Iterator[list[ClusterNode]]:
    """The three nodes of a cluster."""
    with cluster() as three:
        yield three


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis that one test has for itself, to do with it what it likes."""
    with RedisServer() as one:
        yield one
