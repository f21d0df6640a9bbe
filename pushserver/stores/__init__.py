"""The stores of the settings, one object an alias and process."""

from django.utils.module_loading import import_string

from pushserver.conf import Config, StoreConfig, get_config
from pushserver.stores.base import Store
from pushserver.stores.memory import MemoryStore

__all__ = ["get_store"]

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
    try:
        return _stores[alias]
    except KeyError:
        # Two threads may both build one; all use the one that came first.
        store = _build(config.stores[alias], transient_timeout=2 * config.resync)
        return _stores.setdefault(alias, store)


def _build(config: StoreConfig, *, transient_timeout: float) -> Store:
    backend = MemoryStore if config.type == "memory" else import_string(config.type)
    store: Store = backend(
        min_messages=config.min_messages,
        max_messages=config.max_messages,
        message_timeout=config.message_timeout,
        channel_timeout=config.channel_timeout,
        transient_timeout=transient_timeout,
        **config.options,
    )
    return store
