import asyncio
from typing import Any

import pytest
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.test import override_settings

from pushserver.conf import StoreConfig, get_config, problems
from pushserver.stores import get_store
from pushserver.stores.memory import MemoryStore
from pushserver.stores.redis import RedisStore

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"
MEMORY = "channels.layers.InMemoryChannelLayer"
SENTINEL = {"sentinels": [("a", 26379)], "master_name": "main"}


def read(
    store: dict[str, Any] | None = None, *, layer: Any = None, **others: Any
) -> StoreConfig:
    """The default store of these settings."""
    push_server = others if store is None else {"store": store, **others}
    layers = {} if layer is None else {"default": layer}
    with override_settings(PUSH_SERVER=push_server, CHANNEL_LAYERS=layers):
        assert problems() == []
        return get_config().stores["default"]


def layer(*hosts: Any, backend: str = PUBSUB, **config: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "CONFIG": {"hosts": list(hosts), **config}}


def refused(store: dict[str, Any], layer: Any = None) -> list[str]:
    layers = {} if layer is None else {"default": layer}
    settings = {"store": {"type": "redis", **store}}
    with override_settings(PUSH_SERVER=settings, CHANNEL_LAYERS=layers):
        return [str(problem.id) for problem in problems()]


@pytest.mark.parametrize("backend", [CORE, PUBSUB])
@pytest.mark.parametrize(
    "host",
    [
        "redis://a:1/2",
        ("a", 1),
        ["a", 1],
        {"address": "rediss://a"},
        {"host": "a", "port": 1, "password": "x"},
        SENTINEL,
    ],
)
def test_a_redis_layer_lends_its_hosts(backend: str, host: Any):
    """Nothing else has to be set, in whatever form the hosts are."""
    store = read(layer=layer(host, "redis://other", backend=backend))
    assert store.type == "redis"
    assert store.options["hosts"] == [host, "redis://other"]


class OwnLayer(RedisPubSubChannelLayer):
    """What a project made of a layer of channels-redis."""


def test_a_layer_of_the_projects_own():
    """What derives from a layer of channels-redis lends its hosts as well."""
    for name in ("OwnLayer", "RedisPubSubChannelLayer"):
        store = read(layer=layer("redis://a", backend=f"{__name__}.{name}"))
        assert (store.type, store.options["hosts"]) == ("redis", ["redis://a"])


@pytest.mark.parametrize("path", ["no.such.Layer", f"{__name__}.PUBSUB", MEMORY])
def test_another_layer_lends_nothing(path: str):
    """Nor does one that is missing, or is no class: Channels will say so."""
    assert read(layer=layer("redis://a", backend=path)).type == "memory"


@pytest.mark.parametrize("config", [{}, {"CONFIG": {}}, {"CONFIG": None}])
def test_a_layer_without_hosts_is_on_this_machine(config: dict[str, Any]):
    """As channels-redis has it."""
    with override_settings(
        PUSH_SERVER={}, CHANNEL_LAYERS={"default": {"BACKEND": PUBSUB, **config}}
    ):
        store = get_store()
        assert isinstance(store, RedisStore)
        assert store._hosts == [{"address": "redis://localhost:6379"}]


def test_the_type_follows_the_layer_and_not_the_other_options():
    """A store that only says how much it keeps is in Redis, too."""
    assert read({"max_messages": 5}, layer=layer("redis://a")).type == "redis"
    named = {"default": {}, "news": {"max_messages": 5}}
    assert read(named, layer=layer("redis://a")).type == "redis"
    assert read({"type": "memory"}, layer=layer("redis://a")).type == "memory"
    assert read({}, layer={"BACKEND": MEMORY}).type == "memory"


def test_the_layer_of_the_settings_is_the_one_that_lends():
    """Not the default one, where another is named."""
    layers = {"default": layer("redis://a"), "push": layer("redis://b")}
    with override_settings(PUSH_SERVER={"layer": "push"}, CHANNEL_LAYERS=layers):
        assert get_config().stores["default"].options["hosts"] == ["redis://b"]


@pytest.mark.parametrize("layers", [None, [], {"default": "a"}, {"default": None}])
def test_layers_that_are_none(layers: Any):
    """Channels complains about them; our default is the memory."""
    with override_settings(PUSH_SERVER={}, CHANNEL_LAYERS=layers):
        assert get_config().stores["default"].type == "memory"


@pytest.mark.parametrize(
    ("store", "host"),
    [
        ({"url": "redis://:secret@a:1/2"}, "redis://:secret@a:1/2"),
        ({"url": "unix:///tmp/redis.sock"}, "unix:///tmp/redis.sock"),
        ({"host": "a"}, {"host": "a", "port": 6379, "db": 0}),
        ({"port": 1}, {"host": "127.0.0.1", "port": 1, "db": 0}),
        ({"database": 2}, {"host": "127.0.0.1", "port": 6379, "db": 2}),
        ({"host": "::1", "port": 1}, {"host": "::1", "port": 1, "db": 0}),
    ],
)
def test_a_server_of_its_own(store: dict[str, Any], host: Any):
    """It needs no layer, and does not use one's hosts."""
    encrypting = layer("redis://b", symmetric_encryption_keys=["x"])
    for lender in (None, encrypting):
        found = read({"type": "redis", **store}, layer=lender)
        assert found.options["hosts"] == [host]


def test_the_store_gets_its_settings():
    """Prefix, cluster, time-out and limits."""
    settings = {
        "store": {
            "type": "redis",
            "url": "redis://a",
            "key_prefix": "my-site",
            "max_messages": 5,
            "cluster": True,
        },
        "redis_timeout": 7,
    }
    with override_settings(PUSH_SERVER=settings):
        store = get_store()
    assert isinstance(store, RedisStore)
    assert store._keys("a")[0].startswith("my-site:{")
    assert (store._timeout, store._limits[1], store._is_cluster) == (7, 5, True)
    asyncio.run(store.close())


def test_memory_has_none_of_these_keys():
    """A url for a store in memory is a mistake."""
    with override_settings(
        PUSH_SERVER={"store": {"type": "memory", "url": "redis://"}}
    ):
        assert [str(problem.id) for problem in problems()] == ["pushserver.E002"]
        assert not isinstance(MemoryStore(), RedisStore)


@pytest.mark.parametrize(
    "url", ["redis:/a", "redis://", "redis://a b", "redis://a:x", "redis://a:0", 1, ""]
)
def test_urls_that_are_refused(url: object):
    """E028, before anything connects."""
    assert refused({"url": url}) == ["pushserver.E028"]


@pytest.mark.parametrize("prefix", ["", "a b", "{a}", "x" * 65, "ä", 1, None])
def test_key_prefixes_that_are_refused(prefix: object):
    """E029: braces would spoil the hash tags of a cluster."""
    assert refused({"url": "redis://a", "key_prefix": prefix}) == ["pushserver.E029"]


@pytest.mark.parametrize(
    ("hosts", "is_refused"),
    [
        (["redis://a", "rediss://b:1/", "redis://c/0", "redis://c?db=0"], False),
        ([("a", 1), {"host": "b"}, {"address": "redis://c"}], False),
        ([{"address": "redis://c", "db": 0}], False),
        (["redis://a/1"], True),
        (["redis://a", "unix:///a"], True),
        ([{"host": "a", "db": 1}], True),
        ([{"address": "redis://a/2"}], True),
        ([SENTINEL], True),
    ],
)
def test_what_can_be_a_cluster(hosts: list[Any], is_refused: bool):
    """E032: it has one database, and its nodes are found by themselves."""
    expected = ["pushserver.E032"] if is_refused else []
    assert refused({"cluster": True}, layer(*hosts)) == expected


@pytest.mark.parametrize("hosts", ["redis://a", {"a": 1}, [1], [("a",)], [None], 5])
def test_hosts_of_a_layer_that_are_refused(hosts: object):
    """E033: as channels-redis does, but when the project starts."""
    lender = {"BACKEND": CORE, "CONFIG": {"hosts": hosts}}
    assert refused({}, lender) == ["pushserver.E033"]


def test_the_layer_of_a_redis_store_may_be_another():
    """Without a Redis layer to borrow from, the one on this machine is used."""
    assert read({"type": "redis"}, layer={"BACKEND": MEMORY}).options["hosts"] == []


def test_what_is_refused_together():
    """E030 two places for one store, E031 a layer that encrypts."""
    assert refused({"url": "redis://a", "host": "b"}) == ["pushserver.E030"]
    encrypting = layer("redis://a", symmetric_encryption_keys=["x"])
    assert refused({}, encrypting) == ["pushserver.E031"]
    assert refused({"url": "redis://b"}, encrypting) == []
