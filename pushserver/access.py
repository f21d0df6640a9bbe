"""May this request read or publish here?

An answer is a value or an exception, never a reply: `endpoints` knows the wire.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.http import HttpRequest

from pushserver.conf import Config
from pushserver.conf.locations import Location
from pushserver.conf.values import Network
from pushserver.tokens import verify_publish

__all__ = [
    "check_host",
    "check_origin",
    "check_publisher_address",
    "check_publisher_token",
]

Address = IPv4Address | IPv6Address

_HOST_HEADERS = ("HTTP_HOST", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")
_FOR = re.compile(r"(?:^|;)\s*for\s*=([^;]*)", re.IGNORECASE)
_LONGEST = 64  # characters of an address that is worth remembering
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def check_host(scope: Mapping[str, Any], headers: Mapping[bytes, bytes]) -> str:
    """Return the host that was asked for, as Django sees it.

    Raises DisallowedHost where Django would: ALLOWED_HOSTS hold on push URLs.
    """
    host, port = scope.get("server") or ("unknown", 0)
    get = headers.get
    return _check_host(
        host,
        port,
        get(b"host"),
        get(b"x-forwarded-host"),
        get(b"x-forwarded-port"),
    )


# A page's polls repeat themselves, and Django's rules take 37 us. What is refused is
# not remembered: names that somebody makes up would push out the good ones.
@lru_cache(maxsize=1024)
def _check_host(server: str, port: int | None, *values: bytes | None) -> str:
    request = HttpRequest()
    request.META = {"SERVER_NAME": server, "SERVER_PORT": str(port)}
    for key, value in zip(_HOST_HEADERS, values, strict=True):
        if value:  # granian adds an empty Host where there is none
            request.META[key] = value.decode("latin-1")
    return request.get_host()


@receiver(setting_changed, dispatch_uid="pushserver.access")
def _forget_hosts(**kwargs: Any) -> None:
    _check_host.cache_clear()


def check_origin(
    scope: Mapping[str, Any], headers: Mapping[bytes, bytes], location: Location
) -> None:
    """Raise PermissionDenied for a page that may not open a WebSocket here.

    Browsers ask nobody first, as they do for other requests across sites. A page of
    the same host may, one that ``allow_origin`` has, and what is no page.
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    host = check_host(scope, headers)
    if not origin or origin in location.allow_origin or "*" in location.allow_origin:
        return
    if origin.partition("://")[2].lower() != host.lower():
        raise PermissionDenied("Pages of this origin may not listen here.")


def check_publisher_token(
    headers: Mapping[bytes, bytes], method: str, channel_id: str, body: bytes
) -> None:
    """Raise PermissionDenied unless the project signed just this request."""
    token = headers[b"authorization"].removeprefix(b"Bearer ").decode("latin-1")
    if not verify_publish(token, method, channel_id, body):
        raise PermissionDenied(
            "The signature is wrong or older than a minute: do both sides have the "
            "same SECRET_KEY and time?"
        )


def check_publisher_address(
    scope: Mapping[str, Any],
    headers: Mapping[bytes, bytes],
    location: Location,
    config: Config,
) -> None:
    """Raise PermissionDenied unless the sender's address alone is enough.

    It never is for what a web page sent: any page open on the developer's machine
    could send it.
    """
    if b"origin" in headers or headers.get(b"sec-fetch-site", b"none") != b"none":
        raise PermissionDenied("A page may not publish here.")
    allow = location.allow
    if allow is None:
        allow = _LOOPBACK if settings.DEBUG else ()
    client = scope.get("client")
    address = _parse(client[0]) if client else None
    # Where proxies say it in two ways both count: a client may have said the other.
    senders = [
        _sender(address, chain, config.trusted_proxies) for chain in _chains(headers)
    ]
    for sender in senders or [address]:
        if not _within(sender, allow):
            raise PermissionDenied(
                "This address may not publish here: sign the request, or name the "
                "address in the location's 'allow'."
            )


def _chains(headers: Mapping[bytes, bytes]) -> list[list[str]]:
    """Return for whom the request was passed on, in each way that proxies say it."""
    chains = []
    if (value := headers.get(b"x-forwarded-for")) is not None:
        chains.append(value.decode("latin-1").split(","))
    if (value := headers.get(b"forwarded")) is not None:
        elements = value.decode("latin-1").split(",")
        found = [_FOR.search(element) for element in elements]
        chains.append([match[1] if match else "" for match in found])
    return chains


def _sender(
    address: Address | None, chain: Sequence[str], trusted: tuple[Network, ...]
) -> Address | None:
    """Return whom the proxy at this address stands for, None where nobody knows.

    It is the last address that no trusted proxy has: what stands before it in the
    chain is the client's own claim.
    """
    for hop in reversed(chain):
        if not _within(address, trusted):
            return None
        address = _parse(hop)
        if address is not None and not _within(address, trusted):
            return address
    return address


def _parse(text: str) -> Address | None:
    read = _read_address if len(text) <= _LONGEST else _read_address.__wrapped__
    return read(text)


# Those who publish are few, and reading an address takes 7 us.
@lru_cache(maxsize=1024)
def _read_address(text: str) -> Address | None:
    # 192.0.2.1:4711 and "[2001:db8::1]:4711" are ways to write a hop, too.
    text = text.strip(' \t"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A dual-stack socket shows an IPv4 client as ::ffff:127.0.0.1.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _within(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)
