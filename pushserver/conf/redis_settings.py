"""The keys of a store of type ``redis``, and what it borrows of the channel layer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.module_loading import import_string

from pushserver.conf import values
from pushserver.problems import Id, Refused, Section, key

__all__ = ["layer_is_redis", "read_redis"]


_URL = re.compile(r"(?:rediss?|unix)://\S+")
_CLUSTER_URL = re.compile(r"rediss?://[^/?#]*/?0?(?![^?#])")
_KEY_PREFIX = re.compile(r"[\w.:-]{1,64}", re.ASCII)


def _url(value: object) -> str:
    if isinstance(value, str) and _URL.fullmatch(value) and _has_fine_port(value):
        return value
    raise Refused(Id.REDIS_URL, "a URL with redis://, rediss:// or unix://")


def _has_fine_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


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
    """Say whether that channel layer is one of channels-redis, or derives from one."""
    path = str(_layer(alias).get("BACKEND", ""))
    try:
        classes = getattr(import_string(path), "__mro__", ())
    except ImportError:
        return False  # Channels says so itself, to whoever asks for the layer
    return any(cls.__module__.startswith("channels_redis.") for cls in classes)


def read_redis(section: Section, layer: str) -> dict[str, Any]:
    """Return the arguments of the Redis store that stand in its settings.

    ``hosts`` are as channels-redis takes them: a URL, a pair or a dictionary each.
    """
    fields = section.take_fields(RedisSettings)
    placed = {"host", "port", "database"} & set(section.values)
    hosts: list[Any]
    if fields["url"] is not None:
        hosts = [fields["url"]]
        if placed:
            accepted = "either 'url' or 'host', 'port' and 'database'"
            section.refuse("url", Refused(Id.URL_AND_HOST, accepted))
    elif placed:
        hosts = [{
            "host": fields["host"] or "127.0.0.1",
            "port": fields["port"],
            "db": fields["database"],
        }]  # fmt: skip
    else:
        hosts = _borrow(section, layer)
    if fields["cluster"] and not all(_may_be_node(host) for host in hosts):
        accepted = "False, unless all hosts are nodes reached over TCP, with database 0"
        section.refuse("cluster", Refused(Id.REDIS_CLUSTER, accepted))
    return {
        "hosts": hosts,
        "key_prefix": fields["key_prefix"],
        "cluster": fields["cluster"],
    }


def _borrow(section: Section, layer: str) -> list[Any]:
    config = _layer(layer).get("CONFIG") if layer_is_redis(layer) else None
    config = config or {}
    if config.get("symmetric_encryption_keys"):
        # The layer's messages are encrypted there; ours would lie open beside them.
        section.report(
            Id.ENCRYPTED_LAYER,
            " would lie unencrypted in the Redis of a channel layer that encrypts; "
            "accepted: a 'url', or 'host' and 'port', of its own.",
        )
    hosts = config.get("hosts") or []
    if isinstance(hosts, list | tuple) and all(_is_host(host) for host in hosts):
        return list(hosts)
    section.report(
        Id.LAYER_HOSTS,
        f" takes the hosts of the channel layer {layer!r}; accepted there: a list of "
        "URLs, of pairs of host and port, and of dictionaries.",
    )
    return []


def _is_host(value: object) -> bool:
    is_pair = isinstance(value, list | tuple) and len(value) == 2
    return is_pair or isinstance(value, str | Mapping)


def _may_be_node(host: Any) -> bool:
    if isinstance(host, Mapping):
        if "sentinels" in host or host.get("db"):
            return False
        host = host.get("address")
    return not isinstance(host, str) or bool(_CLUSTER_URL.match(host))


def _layer(alias: str) -> Mapping[str, Any]:
    layers = getattr(settings, "CHANNEL_LAYERS", None) or {}
    layer = layers.get(alias) if isinstance(layers, Mapping) else None
    return layer if isinstance(layer, Mapping) else {}
