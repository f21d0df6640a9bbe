import pytest

from pushserver.stores.redis import scripts
from pushserver.stores.redis.scripts import Script
from tests.redis_server import RedisServer
from tests.stores.redis.clocks import READS_TIME

SCRIPTS = [getattr(scripts, name) for name in scripts.__all__ if name != "Script"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_redis_takes_it(server: RedisServer, script: Script):
    """It compiles there, and has the digest by which we call it."""
    loaded = server.command("SCRIPT", "LOAD", script.source)
    assert loaded.decode() == script.digest


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_time_is_taken_in_one_place(script: Script):
    """Where the tests of the store can replace it."""
    assert script.source.count("'TIME'") == script.source.count(READS_TIME)
