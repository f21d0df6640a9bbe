"""What a single value in ``PUSH_SERVER`` may be.

Each parser takes whatever the project wrote and returns the typed value, or
raises Refused with the id of the problem and what is accepted.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from importlib import import_module
from ipaddress import IPv4Network, IPv6Network

from pushserver.problems import Id, Refused

__all__ = [
    "TRANSPORTS",
    "Network",
    "address",
    "boolean",
    "choice",
    "count",
    "first_message",
    "host_and_port",
    "networks",
    "origins",
    "passthrough",
    "port",
    "positive_count",
    "positive_seconds",
    "seconds",
    "servername",
    "store_alias",
    "store_type",
    "transports",
]

Network = IPv4Network | IPv6Network

_HOST_NAME = re.compile(
    r"(?![0-9.]+$)[a-z0-9_]([a-z0-9_.-]{0,252}[a-z0-9_.])?", re.ASCII | re.IGNORECASE
)
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]+)(:(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>.+)", re.ASCII | re.IGNORECASE
)
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
# Browsers leave these out of an Origin.
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def boolean(value: object) -> bool:
    # Strict, because "False" from an environment variable would be true.
    if isinstance(value, bool):
        return value
    raise Refused(Id.SWITCH, "True, False")


def choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise Refused(Id.CHOICE, ", ".join(repr(word) for word in words))

    return parse


TRANSPORTS = ("long-poll", "event-stream", "websocket")


def transports(value: object) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and value and all(map(_is_transport, value)):
        return tuple(value)
    raise Refused(Id.CHOICE, f"a list of some of {', '.join(map(repr, TRANSPORTS))}")


def _is_transport(word: object) -> bool:
    return isinstance(word, str) and word in TRANSPORTS


def first_message(value: object) -> str | int:
    if value == "oldest" or value == "newest":
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise Refused(Id.CHOICE, "'oldest', 'newest' or a whole number from 1")


def count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise Refused(Id.NUMBER, "a whole number from 0")


def positive_count(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise Refused(Id.NUMBER, "a whole number from 1")


def seconds(value: object) -> float:
    if (number := _finite(value)) is not None and number >= 0:
        return number
    raise Refused(Id.NUMBER, "a number of seconds from 0")


def positive_seconds(value: object) -> float:
    if (number := _finite(value)) is not None and number > 0:
        return number
    raise Refused(Id.NUMBER, "a number of seconds above 0")


def port(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 65536:
        return value
    raise Refused(Id.PORT, "a whole number from 1 to 65535")


def address(value: object) -> str:
    """Return an address to listen on, an IPv6 one without brackets."""
    if isinstance(value, str):
        bare = value
        if value.startswith("[") and value.endswith("]"):
            bare = value[1:-1]
        if _is_ip(bare) or (bare is value and _HOST_NAME.fullmatch(bare)):
            return bare
    raise Refused(
        Id.ADDRESS,
        "an IP address or a host name without scheme and port",
        hint="'0.0.0.0' listens on all IPv4 addresses, '::' on all IPv6 ones.",
    )


def servername(value: object) -> str:
    if isinstance(value, str) and _PRINTABLE.fullmatch(value):
        return value
    raise Refused(Id.SERVERNAME, "None or a text of printable ASCII characters")


def passthrough(value: object) -> str:
    if isinstance(value, str):
        return value
    raise Refused(Id.PASSTHROUGH, "None or a URL (it is accepted and not used)")


def host_and_port(value: object) -> str:
    if isinstance(value, str) and _is_host_and_port(value):
        return value
    hint = None
    if isinstance(value, str) and "://" in value:
        hint = "Leave the scheme out; 'secure': True stands for https."
    raise Refused(
        Id.HOST, "'host' or 'host:port' without scheme, path and user", hint=hint
    )


def networks(value: object) -> tuple[Network, ...]:
    accepted = "a list of IP addresses and networks such as '10.0.0.0/8'"
    if not isinstance(value, list | tuple):
        raise Refused(Id.NETWORKS, accepted)
    parsed = []
    for item in value:
        if not isinstance(item, str | IPv4Network | IPv6Network):
            raise Refused(Id.NETWORKS, f"{accepted} ({item!r} is none)")
        try:
            parsed.append(ipaddress.ip_network(item))
        except ValueError as error:
            raise Refused(Id.NETWORKS, f"{accepted} ({error})") from None
    return tuple(parsed)


def origins(value: object) -> tuple[str, ...]:
    """Return the origins as browsers write them; ``("*",)`` is any."""
    if value is None:
        return ()
    if value == "*" or value == ["*"] or value == ("*",):
        return ("*",)
    listed = (value,) if isinstance(value, str) else value
    if not isinstance(listed, list | tuple):
        raise Refused(Id.ORIGIN, _ORIGINS)
    return tuple(_origin(item) for item in listed)


def store_alias(value: object) -> str:
    # That there is such a store is checked where all of them are known.
    if isinstance(value, str):
        return value
    raise Refused(Id.UNKNOWN_STORE, "the name of a store")


def store_type(value: object) -> str:
    """Return the type, after importing it when it is a dotted path."""
    accepted = "'memory', 'redis' or the dotted path of a store class"
    if value == "memory" or value == "redis":
        return str(value)
    if not isinstance(value, str) or not _is_dotted_path(value):
        raise Refused(Id.STORE_TYPE, accepted)
    module_name, _, name = value.rpartition(".")
    try:
        module = import_module(module_name)
    except Exception as error:
        # Whatever a module raises while it is imported, a check reports it.
        if isinstance(error, ModuleNotFoundError) and _is_part(error.name, module_name):
            raise Refused(
                Id.STORE_NOT_FOUND, f"{accepted} (cannot import {module_name!r})"
            ) from None
        raise Refused(
            Id.STORE_BROKEN,
            f"{accepted} (importing {module_name!r} failed with "
            f"{type(error).__name__}: {error})",
        ) from error
    if not callable(getattr(module, name, None)):
        raise Refused(
            Id.STORE_NOT_FOUND, f"{accepted} ({module_name!r} has no class {name!r})"
        )
    return value


_ORIGINS = (
    "'*', one origin or a list of origins, each as 'scheme://host' or "
    "'scheme://host:port' without a path"
)


def _origin(value: object) -> str:
    match = _ORIGIN.fullmatch(value) if isinstance(value, str) else None
    if match is None or not _is_host_and_port(match["rest"]):
        raise Refused(Id.ORIGIN, f"{_ORIGINS} ({value!r} is none)")
    scheme, rest = match["scheme"].lower(), match["rest"].lower()
    return f"{scheme}://{rest.removesuffix(_DEFAULT_PORTS.get(scheme, ''))}"


def _is_host_and_port(value: str) -> bool:
    match = _HOST_AND_PORT.fullmatch(value)
    if match is None or not (match["port"] is None or 0 < int(match["port"]) < 65536):
        return False
    host = match["host"]
    if host.startswith("["):
        return ":" in host and _is_ip(host[1:-1])
    return _is_ip(host) or _HOST_NAME.fullmatch(host) is not None


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_dotted_path(value: str) -> bool:
    parts = value.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def _is_part(missing: str | None, module_name: str) -> bool:
    """Whether the module that was not found is the wanted one or its package."""
    return missing is not None and f"{module_name}.".startswith(f"{missing}.")


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
