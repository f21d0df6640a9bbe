"""The stores of the settings, one object an alias and process."""

from typing import Any

from django.utils.module_loading import import_string

from pushserver.conf import Config, StoreConfig, get_config
from pushserver.stores.base import Store
from pushserver.stores.memory import MemoryStore
from pushserver.stores.redis import RedisStore, decode_hosts

__all__ = ["close_stores", "get_store"]

# The stores belong to the configuration they were built from: where the settings
# change (in tests), new ones are made and the old ones forgotten.
_built_from: Config | None = None
_stores: dict[str, Store] = {}


def get_store(alias: str = "default") -> Store:
    """Return the store of that alias, built at its first use.

    Raises KeyError for an alias that the settings do not have.
    """
    global _built_from, _stores
    config = get_config()
    if config is not _built_from:
        _built_from, _stores = config, {}
    store = _stores.get(alias)
    if store is None:
        # Two threads may both build one; all use the one that came first.
        store = _build(config.stores[alias], config)
        store = _stores.setdefault(alias, store)
    return store


async def close_stores() -> None:
    """Close what the stores hold open for the running loop."""
    for store in _stores.values():
        await store.close()


def _build(store: StoreConfig, config: Config) -> Store:
    limits: dict[str, Any] = {
        "min_messages": store.min_messages,
        "max_messages": store.max_messages,
        "message_timeout": store.message_timeout,
        "channel_timeout": store.channel_timeout,
        "transient_timeout": 2 * config.resync,
    }
    if store.type == "memory":
        return MemoryStore(**limits)
    if store.type == "redis":
        options = {**store.options, "hosts": decode_hosts(store.options["hosts"])}
        return RedisStore(**options, redis_timeout=config.redis_timeout, **limits)
    built: Store = import_string(store.type)(**limits, **store.options)
    return built
