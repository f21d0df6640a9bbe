"""What docs/how-to/redis.md shows works over real servers."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver.conf import problems
from pushserver.messages import START
from pushserver.stores import close_stores, get_store
from tests.e2e.servers import ROOT
from tests.redis_server import RedisServer, Sentinel

pytestmark = pytest.mark.real_time

PAGE = (ROOT / "docs" / "how-to" / "redis.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SETTINGS = [text for text in EXAMPLES if "import" not in text]


@pytest.fixture(scope="module")
def ports(server: RedisServer, nodes: list[RedisServer]) -> Iterator[dict[str, int]]:
    with Sentinel(server) as sentinel:
        yield {"6379": server.port, "26379": sentinel.port, "7000": nodes[0].port}


def test_the_page_has_its_examples():
    """None gets lost by another way of writing the fences."""
    assert len(SETTINGS) == 5
    assert len(EXAMPLES) == PAGE.count("```") // 2 == 6


@pytest.mark.parametrize("text", SETTINGS)
async def test_settings(ports: dict[str, int], text: str):
    """Each is fine for the checks, and its store keeps what it is given."""
    for shown, real in ports.items():
        text = re.sub(rf"\b{shown}\b", f"{real}", text)
    settings: dict[str, Any] = {"PUSH_SERVER": {}, "CHANNEL_LAYERS": {}}
    exec(text, {}, settings)
    with override_settings(**settings):
        assert problems() == []
        message = await get_store().append("how-to", body=b"x")
        history = await get_store().read("how-to", after=START)
        assert history.messages[-1] == message
        await get_store().delete("how-to")
        await close_stores()


def test_the_code():
    """It is Python, and what it imports is there."""
    found: dict[str, Any] = {}
    exec(EXAMPLES[-1], found)
    assert callable(found["announce"])
