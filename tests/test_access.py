"""Who may publish by token or address, and which Host is ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost, PermissionDenied
from django.test import override_settings

from pushserver.access import (
    check_host,
    check_publisher_address,
    check_publisher_token,
)
from pushserver.conf import get_config
from pushserver.tokens import sign_publish


def encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    return {k.encode(): v.encode("latin-1") for k, v in headers.items()}


# Host


def host_is_ours(server: Any = ("127.0.0.1", 8001), /, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        check_host({"server": server}, encoded(named))
    except DisallowedHost:
        return False
    return True


@override_settings(ALLOWED_HOSTS=["push.example", ".wild.example", "[::1]"])
@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("push.example", True),
        ("PUSH.example:8001", True),
        ("push.example.", True),
        ("a.wild.example", True),
        ("[::1]:8001", True),
        ("push.example.evil", False),
        ("127.0.0.1:8001", False),
        ("push.example,evil", False),
        ("push.example@evil", False),
        ("push.example/", False),
        ("", False),
        ("\xff", False),
    ],
)
def test_hosts_are_judged_as_django_does(host: str, ours: bool) -> None:
    """ALLOWED_HOSTS decide, on what Django takes for a host."""
    assert host_is_ours(host=host) is ours


@override_settings(ALLOWED_HOSTS=["127.0.0.1"])
@pytest.mark.parametrize(
    ("server", "ours"),
    [
        (("127.0.0.1", 8001), True),
        (("10.0.0.1", 8001), False),
        (None, False),
        (("/run/push.sock", None), False),
    ],
)
def test_a_client_that_names_no_host(server: Any, ours: bool) -> None:
    """No Host, as in HTTP/1.0 (granian: an empty one): the server's address counts."""
    assert host_is_ours(server) is ours
    assert host_is_ours(server, host="") is ours


@override_settings(ALLOWED_HOSTS=["push.example"])
def test_a_proxy_may_name_the_host() -> None:
    """X-Forwarded-Host and -Port count where Django's settings say so, only there."""
    forwarded = {"x_forwarded_host": "push.example", "x_forwarded_port": "443"}
    assert not host_is_ours(host="inner", **forwarded)
    assert host_is_ours(host="push.example", x_forwarded_host="evil")
    with override_settings(USE_X_FORWARDED_HOST=True, USE_X_FORWARDED_PORT=True):
        assert host_is_ours(host="inner", **forwarded)
        assert not host_is_ours(host="push.example", x_forwarded_host="evil")


# Token


def token_is_good(header: str, body: bytes = b"x") -> bool:
    try:
        check_publisher_token(encoded({"authorization": header}), "POST", "room", body)
    except PermissionDenied:
        return False
    return True


def test_a_refusal_says_what_to_compare() -> None:
    """The usual reasons are another SECRET_KEY and another time."""
    with pytest.raises(PermissionDenied, match="same SECRET_KEY and time"):
        check_publisher_token({b"authorization": b"Bearer x"}, "POST", "room", b"")


def test_a_signed_request_is_let_in() -> None:
    """The token in the header was made for this method, channel and body."""
    token = sign_publish("POST", "room", b"x")
    assert token_is_good(f"Bearer {token}")
    assert not token_is_good(f"Bearer {token}", b"y")


@pytest.mark.parametrize("header", ["Bearer ", "Bearer a:b:c", "Bearer \xff\xfe:\x80"])
def test_what_is_no_token_is_refused(header: str) -> None:
    """Whatever stands there instead, it is refused and nothing fails."""
    assert not token_is_good(header)


# Address


@contextmanager
def push_settings(
    allow: Any = None, trusted: Any = (), *, debug: bool = False
) -> Iterator[None]:
    location = {"type": "publisher", "prefix": "/send-update/"}
    if allow is not None:
        location["allow"] = allow
    push_server = {"locations": [location], "trusted_proxies": trusted}
    with override_settings(DEBUG=debug, PUSH_SERVER=push_server):
        yield


def may_publish(client: Any, **headers: str) -> bool:
    """Whether a request from there may; a text is the address of the client."""
    scope = {} if client is None else {"client": client}
    if isinstance(client, str):
        scope = {"client": (client, 4711)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    config = get_config()
    try:
        check_publisher_address(scope, encoded(named), config.locations[0], config)
    except PermissionDenied:
        return False
    return True


LOOPBACK = ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"]


@pytest.mark.parametrize("client", LOOPBACK)
def test_this_machine_may_publish_while_debugging(client: str) -> None:
    """With DEBUG and nothing said, loopback may, in whatever form a socket shows it."""
    with push_settings(debug=True):
        assert may_publish(client)
    with push_settings(debug=False):
        assert not may_publish(client)


@pytest.mark.parametrize("client", ["192.0.2.7", "10.0.0.1", "2001:db8::1", "::", "0"])
def test_nobody_else_may_while_debugging(client: str) -> None:
    """DEBUG opens nothing but loopback."""
    with push_settings(debug=True):
        assert not may_publish(client)


@pytest.mark.parametrize("debug", [True, False])
def test_allow_says_who_may(debug: bool) -> None:
    """The networks alone decide where they are named: loopback is not added."""
    networks = ["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"]
    with push_settings(networks, debug=debug):
        for client in ("10.1.2.3", "192.0.2.7", "2001:db8::5", "::ffff:10.1.0.9"):
            assert may_publish(client)
        for client in ("10.2.0.1", "192.0.2.8", "2001:db9::5", "127.0.0.1", "::1"):
            assert not may_publish(client)


def test_an_empty_allow_is_nobody() -> None:
    """[] is not the same as nothing said."""
    with push_settings([], debug=True):
        assert not may_publish("127.0.0.1")


@pytest.mark.parametrize(
    "client",
    [None, ("", 0), ("unix:", None), ("/run/push.sock", 0), ("fe80::1%eth0", 1)],
)
def test_an_address_that_cannot_be_known(client: Any) -> None:
    """Behind a unix socket nobody has an address: nobody may, trusted or not."""
    with push_settings(["0.0.0.0/0", "::1"], ["0.0.0.0/0"], debug=True):
        assert not may_publish(client)
        assert not may_publish(client, x_forwarded_for="127.0.0.1")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8001", "null", "", "x"])
def test_what_a_page_sent_is_refused(origin: str) -> None:
    """Any Origin at all: even our own page cannot prove that it is ours."""
    with push_settings(["127.0.0.1"], debug=True):
        assert not may_publish("127.0.0.1", origin=origin)


@pytest.mark.parametrize(
    ("site", "allowed"),
    [("none", True), ("same-origin", False), ("same-site", False),
     ("cross-site", False), ("", False), ("None", False), ("none,none", False)],
)  # fmt: skip
def test_what_the_browser_says_of_a_request(site: str, allowed: bool) -> None:
    """Only what the user typed into the address bar is let through."""
    with push_settings(["127.0.0.1"]):
        assert may_publish("127.0.0.1", sec_fetch_site=site) is allowed


FORWARDED = [
    {"x_forwarded_for": "127.0.0.1"},
    {"x_forwarded_for": ""},
    {"forwarded": "for=127.0.0.1"},
    {"forwarded": ""},
    {"x_forwarded_for": "127.0.0.1", "forwarded": "for=127.0.0.1"},
]


@pytest.mark.parametrize("headers", FORWARDED)
def test_a_proxy_that_is_not_trusted(headers: dict[str, str]) -> None:
    """A proxy on the same machine does not make the whole world local."""
    with push_settings(debug=True):
        assert not may_publish("127.0.0.1", **headers)
    with push_settings(["127.0.0.1"], ["10.0.0.1"]):
        assert not may_publish("127.0.0.1", **headers)


def both_ways(chain: str) -> list[dict[str, str]]:
    """A chain of addresses as either header says it."""
    elements = [
        f'for="[{hop}]"' if ":" in hop else f"for={hop}" for hop in chain.split(", ")
    ]
    return [{"x_forwarded_for": chain}, {"forwarded": ", ".join(elements)}]


@pytest.mark.parametrize(
    ("chain", "allowed"),
    [
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        # The client's own claim stands before what the proxy saw.
        ("192.0.2.7, 198.51.100.1", False),
        ("198.51.100.1, 192.0.2.7", True),
        ("garbage, 192.0.2.7", True),
        # Through a second proxy of ours, and a third.
        ("192.0.2.7, 10.0.0.2", True),
        ("198.51.100.1, 192.0.2.7, 10.0.0.3, 10.0.0.2", True),
        ("192.0.2.7, 198.51.100.1, 10.0.0.2", False),
        # What nobody can read is nobody.
        ("192.0.2.7, garbage", False),
        ("192.0.2.7, unknown, 10.0.0.2", False),
        ("192.0.2.7, _hidden", False),
        ("", False),
        # A machine of ours asks by itself: trusted is not allowed.
        ("10.0.0.2", False),
        ("::ffff:192.0.2.7", True),
        ("2001:db8::7", True),
    ],
)
def test_a_trusted_proxy_says_for_whom_it_asks(chain: str, allowed: bool) -> None:
    """The last address that is no trusted proxy decides, in either header."""
    with push_settings(["192.0.2.7", "2001:db8::7"], ["10.0.0.0/24"]):
        for headers in both_ways(chain):
            assert may_publish("10.0.0.1", **headers) is allowed, headers


def test_a_trusted_proxy_may_be_allowed() -> None:
    """What asks by itself, through a proxy or not, is judged by its own address."""
    with push_settings(["10.0.0.0/24"], ["10.0.0.0/24"]):
        assert may_publish("10.0.0.1")
        assert may_publish("10.0.0.1", x_forwarded_for="10.0.0.9")
        assert not may_publish("10.0.0.1", x_forwarded_for="192.0.2.7")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_forwarded_for": "192.0.2.7:4711"},
        {"x_forwarded_for": "[2001:db8::7]:4711"},
        {"x_forwarded_for": " \t192.0.2.7 "},
        {"forwarded": 'for="192.0.2.7:4711"'},
        {"forwarded": 'For="[2001:DB8::7]:4711"'},
        {"forwarded": "proto=http; FOR = 192.0.2.7 ;by=10.0.0.1"},
        {"forwarded": "for=_x;by=for, by=10.0.0.1;for=192.0.2.7"},
    ],
)
def test_ways_to_write_an_address(headers: dict[str, str]) -> None:
    """With a port, in brackets, quoted, among other parameters."""
    with push_settings(["192.0.2.7", "2001:db8::7"], ["10.0.0.1"]):
        assert may_publish("10.0.0.1", **headers)


@pytest.mark.parametrize(
    "forwarded", ["192.0.2.7", "by=192.0.2.7", "xfor=192.0.2.7", 'for="', "for=", "for"]
)
def test_ways_to_write_none(forwarded: str) -> None:
    """A header that names nobody lets nobody in."""
    with push_settings(["192.0.2.7"], ["10.0.0.1"]):
        assert not may_publish("10.0.0.1", forwarded=forwarded)


def test_a_client_cannot_speak_in_the_other_header() -> None:
    """The proxy writes one header and passes the client's other: both must be fit."""
    with push_settings(["192.0.2.7"], ["10.0.0.1"]):
        ours, forged = "198.51.100.1", "192.0.2.7"
        for headers in (
            {"x_forwarded_for": forged, "forwarded": f"for={ours}"},
            {"x_forwarded_for": ours, "forwarded": f"for={forged}"},
        ):
            assert not may_publish("10.0.0.1", **headers)
        same = {"x_forwarded_for": forged, "forwarded": f"for={forged}"}
        assert may_publish("10.0.0.1", **same)
