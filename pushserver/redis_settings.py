"""The keys of a store of type ``redis``, and what it borrows of the channel layer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from pushserver import values
from pushserver.problems import Id, Refused, Section, key

__all__ = ["layer_is_redis", "read_redis"]


_URL = re.compile(r"(?:rediss?|unix)://\S+")
_KEY_PREFIX = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def _url(value: object) -> str:
    if isinstance(value, str) and _URL.fullmatch(value):
        return value
    raise Refused(Id.REDIS_URL, "a URL with redis://, rediss:// or unix://")


def _key_prefix(value: object) -> str:
    if isinstance(value, str) and _KEY_PREFIX.fullmatch(value):
        return value
    raise Refused(
        Id.KEY_PREFIX, "up to 64 ASCII letters, digits, '_', '.', ':' and '-'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisSettings:
    """Where the server is; nothing of it: where the channel layer's is."""

    url: str | None = key(_url, None)
    host: str | None = key(values.address, None)
    port: int = key(values.port, 6379)
    database: int = key(values.count, 0)
    # Two projects may share one Redis under different prefixes.
    key_prefix: str = key(_key_prefix, "pushserver")
    # Redis Cluster: the hosts are where its nodes are asked for.
    cluster: bool = key(values.boolean, False)


def layer_is_redis(alias: str) -> bool:
    """Say whether that channel layer is one of channels-redis."""
    return str(_layer(alias).get("BACKEND", "")).startswith("channels_redis.")


def read_redis(section: Section, layer: str) -> dict[str, Any]:
    """Return the arguments of the Redis store that stand in its settings.

    ``hosts`` are as channels-redis takes them: keyword arguments each.
    """
    fields = section.take_fields(RedisSettings)
    placed = {"host", "port", "database"} & set(section.values)
    if fields["url"] is not None and placed:
        accepted = "either 'url' or 'host', 'port' and 'database'"
        section.refuse("url", Refused(Id.URL_AND_HOST, accepted))
    if fields["url"] is not None:
        hosts: list[Any] = [fields["url"]]
    elif placed:
        hosts = [{
            "host": fields["host"] or "127.0.0.1",
            "port": fields["port"],
            "db": fields["database"],
        }]  # fmt: skip
    else:
        hosts = _borrow(section, layer)
    return {
        "hosts": hosts,
        "key_prefix": fields["key_prefix"],
        "cluster": fields["cluster"],
    }


def _borrow(section: Section, layer: str) -> list[Any]:
    config = _layer(layer).get("CONFIG", {}) if layer_is_redis(layer) else {}
    if config.get("symmetric_encryption_keys"):
        # The layer's messages are encrypted there; ours would lie open beside them.
        section.report(
            Id.ENCRYPTED_LAYER,
            " would lie unencrypted in the Redis of a channel layer that encrypts; "
            "accepted: a 'url', or 'host' and 'port', of its own.",
        )
    return list(config.get("hosts") or [])


def _layer(alias: str) -> Mapping[str, Any]:
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    return layers.get(alias, {}) if isinstance(layers, Mapping) else {}
