"""``settings.PUSH_SERVER`` as one frozen, typed Config.

Every key is a field declared with ``key``: its type, its parser, its default and
the reason for the default stand in one place (those of a location in
``locations``). Settings are read at first use and again after they changed, so
``override_settings`` works.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from pushserver.conf import values
from pushserver.conf.locations import Location, read_locations
from pushserver.conf.redis_settings import layer_is_redis, read_redis
from pushserver.problems import Id, Problem, Refused, Section, key

__all__ = ["SETTINGS", "Config", "Host", "StoreConfig", "get_config", "problems"]

SETTINGS = {"PUSH_SERVER", "PUSH_SERVER_IGNORE_ERRORS", "CHANNEL_LAYERS"}
"""What a Config is read from."""

DEFAULT_ADDRESS = "127.0.0.1"
DEFAULT_PORT = 8001

# Who listens everywhere is reached, from this machine, over the loopback.
_ALL_INTERFACES = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A server as others reach it."""

    location: str = key(values.host_and_port)
    secure: bool = key(values.boolean, False)

    @property
    def url(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.location}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """One store: where messages are kept, how many and how long.

    ``options`` are what only this type of store knows.
    """

    alias: str
    type: str = key(values.store_type, "memory")
    # These are kept even when they are older than message_timeout.
    min_messages: int = key(values.count, 0)
    # Bounded, so that a channel nobody reads cannot eat the memory. 0: no limit.
    max_messages: int = key(values.count, 100)
    # An hour covers a laptop that was closed for a meeting. 0: no age limit.
    message_timeout: float = key(values.seconds, 3600.0)
    # Unset, the value of the whole server.
    channel_timeout: float = key(values.positive_seconds)
    options: Mapping[str, Any]


def _layer_alias(value: object) -> str:
    # Without a "default" in CHANNEL_LAYERS the hub has a layer of its own.
    aliases = {"default", *(getattr(settings, "CHANNEL_LAYERS", None) or {})}
    if isinstance(value, str) and value in aliases:
        return value
    raise Refused(
        Id.LAYER,
        f"an alias in CHANNEL_LAYERS ({', '.join(map(repr, sorted(aliases)))})",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of the push server."""

    # None leaves them to runpushserver, where the command line wins over both.
    port: int | None = key(values.port, None)
    address: str | None = key(values.address, None)
    servername: str | None = key(values.servername, None)

    publisher_host: Host
    publisher_host_explicit: bool
    subscriber_host: Host | None
    stores: Mapping[str, StoreConfig]
    locations: tuple[Location, ...]

    # Below the 60 seconds after which nginx gives up on a silent upstream.
    poll_timeout: float = key(values.positive_seconds, 25.0)
    # So that streams spread over new processes; long enough to cost nothing.
    max_stream_seconds: float = key(values.positive_seconds, 600.0)
    # What a server that never waits for its client may have to hold.
    max_stream_bytes: int = key(values.positive_count, 1_048_576)
    # Proxies give up on 60 silent seconds, mobile networks on fewer.
    heartbeat: float = key(values.positive_seconds, 15.0)
    # How late an update may be when its wake-up was lost.
    resync: float = key(values.positive_seconds, 5.0)
    # A long poll leaves and comes back between two messages.
    linger: float = key(values.seconds, 30.0)
    # Process managers send SIGKILL after 10 seconds (Docker) to 90 (systemd).
    drain_timeout: float = key(values.seconds, 10.0)
    # A request that waits longer is better answered with 503.
    redis_timeout: float = key(values.positive_seconds, 2.0)
    # 1 MiB: an update is news, not a file.
    max_body: int = key(values.positive_count, 1_048_576)
    # A day: longer than any message lives by default, so a gap can be told.
    channel_timeout: float = key(values.positive_seconds, 86_400.0)
    # Whoever may set X-Forwarded-For may publish.
    trusted_proxies: tuple[values.Network, ...] = key(values.networks, ())
    layer: str = key(_layer_alias, "default")
    ignore_errors: bool = False

    def match(self, path: str) -> tuple[Location, str] | None:
        """Return the first location that matches a decoded path, and the id."""
        for location in self.locations:
            channel_id = location.channel_id(path)
            if channel_id is not None:
                return location, channel_id
        return None


_Result = tuple[Config | None, tuple[Problem, ...]]
_read_already: dict[str, _Result] = {}


def get_config() -> Config:
    """Return the settings, the same object until they change.

    Raises ImproperlyConfigured with everything that is wrong with them.
    """
    config, found = _read()
    if config is None:
        errors = [problem.message for problem in found if problem.id.is_error]
        raise ImproperlyConfigured("\n".join(errors))
    return config


def problems() -> list[Problem]:
    """Return what is wrong or doubtful in the settings; errors and warnings."""
    return list(_read()[1])


def _read() -> _Result:
    # Threads that begin together must not have one each: who holds something for a
    # Config knows it by its identity.
    return _read_already.get("") or _read_already.setdefault("", _read_settings())


def _read_settings() -> _Result:
    value = getattr(settings, "PUSH_SERVER", {})
    if not isinstance(value, Mapping):
        refused = Refused(Id.NOT_A_DICT, "a dictionary")
        return None, (refused.problem("PUSH_SERVER", value),)
    section = Section("PUSH_SERVER", value, [])
    simple = section.take_fields(Config)
    publisher_host = _read_host(section, "publisher_host")
    subscriber_host = _read_host(section, "subscriber_host")
    stores = _read_stores(section, simple["channel_timeout"], simple["layer"])
    config = Config(
        **simple,
        publisher_host=publisher_host or _own_host(simple["address"], simple["port"]),
        publisher_host_explicit=publisher_host is not None,
        subscriber_host=subscriber_host,
        stores=MappingProxyType(stores),
        locations=read_locations(section, inherited=simple, stores=stores),
        ignore_errors=_read_ignore_errors(section),
    )
    section.refuse_unknown()
    return (config if section.is_valid else None), tuple(section.found)


def _read_host(section: Section, key: str) -> Host | None:
    host = section.open(key, default=None)
    if host is None:
        return None
    fields = host.take_fields(Host)
    host.refuse_unknown()
    return Host(**fields)


def _own_host(address: str | None, port: int | None) -> Host:
    """Return where runpushserver listens when its command line says nothing."""
    host = address or DEFAULT_ADDRESS
    host = _ALL_INTERFACES.get(host, host)
    host = f"[{host}]" if ":" in host else host
    return Host(location=f"{host}:{port or DEFAULT_PORT}")


def _read_stores(
    section: Section, channel_timeout: float, layer: str
) -> dict[str, StoreConfig]:
    opened = section.open("store", default={}) or section.empty("store")
    read = partial(_read_store, channel_timeout=channel_timeout, layer=layer)
    if not _is_named(opened.values):
        return {"default": read("default", opened)}
    stores = {}
    for alias in opened.values:
        if isinstance(alias, str):
            one = opened.open(alias, default={}) or opened.empty(alias)
            stores[alias] = read(alias, one)
        else:
            accepted = "a dictionary of stores whose keys are their names"
            section.refuse("store", Refused(Id.STORE_NAMES, accepted))
    if "default" not in stores:
        accepted = "one store, or a dictionary of stores of which one is 'default'"
        section.refuse("store", Refused(Id.STORE_NAMES, accepted))
        # So that the locations do not complain about it, too.
        stores["default"] = read("default", opened.empty("default"))
    return stores


def _is_named(store: Mapping[Any, Any]) -> bool:
    """Whether this is a dictionary of stores; options may be dictionaries, too."""
    if "default" in store or not store:
        return bool(store)
    return "type" not in store and all(isinstance(v, Mapping) for v in store.values())


def _read_store(
    alias: str, section: Section, *, channel_timeout: float, layer: str
) -> StoreConfig:
    inherited: dict[str, object] = {"channel_timeout": channel_timeout}
    if layer_is_redis(layer):
        # With a layer that processes share, a store of each process would be a trap.
        inherited["type"] = "redis"
    fields = section.take_fields(StoreConfig, inherited=inherited)
    most = fields["max_messages"]
    if section.is_valid and 0 < most < fields["min_messages"]:
        accepted = f"at most 'max_messages', which is {most}"
        section.refuse("min_messages", Refused(Id.MIN_OVER_MAX, accepted))
    if most == 0:
        section.report(
            Id.UNBOUNDED_STORE,
            "['max_messages'] is 0: nothing bounds how many messages a channel keeps.",
            hint="Set a number, unless every publisher is trusted and few.",
        )
    if fields["type"] == "redis":
        options = read_redis(section, layer)
    else:
        options = section.rest()
    # The keys of a type that was refused may be right.
    if section.values.get("type", fields["type"]) in ("memory", "redis"):
        section.refuse_unknown()
    return StoreConfig(alias=alias, options=MappingProxyType(options), **fields)


def _read_ignore_errors(section: Section) -> bool:
    value = getattr(settings, "PUSH_SERVER_IGNORE_ERRORS", False)
    try:
        return values.boolean(value)
    except Refused as refused:
        section.found.append(refused.problem("PUSH_SERVER_IGNORE_ERRORS", value))
        return False


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in SETTINGS:
        _read_already.clear()


setting_changed.connect(_forget, dispatch_uid="pushserver.conf")
