"""The stores of the settings, one object an alias and process."""

from typing import Any

from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from pushserver.conf import SETTINGS, Config, StoreConfig, get_config
from pushserver.stores.base import Store
from pushserver.stores.memory import MemoryStore
from pushserver.stores.redis import RedisStore, decode_hosts

__all__ = ["close_stores", "get_store"]

_stores: dict[str, Store] = {}


def get_store(alias: str = "default") -> Store:
    """Return the store of that alias, built at its first use.

    Raises KeyError for an alias that the settings do not have.
    """
    store = _stores.get(alias)
    if store is None:
        config = get_config()
        # Two threads may both build one; all use the one that came first.
        store = _stores.setdefault(alias, _build(config.stores[alias], config))
    return store


def _forget(*, setting: str, **kwargs: Any) -> None:
    # In tests: a store belongs to the settings that it was built from.
    if setting in SETTINGS:
        _stores.clear()


setting_changed.connect(_forget, dispatch_uid="pushserver.stores")


async def close_stores() -> None:
    """Close what the stores hold open for the running loop."""
    for store in list(_stores.values()):
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
