"""Tests of pushserver.consumers.cors."""

from dataclasses import replace

import pytest

from pushserver.conf import get_config
from pushserver.conf.locations import Location
from pushserver.consumers import cors


def location(**options: object) -> Location:
    return replace(get_config().locations[0], **options)  # type: ignore[arg-type]


def names(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    return dict(headers)


def test_nobody_may_read_unless_told_so():
    """Without allow_origin no page of another origin gets a permission."""
    assert cors.permission(location(), b"https://a.example") == []
    assert cors.vary(location()) == b""


def test_a_listed_origin_may_read():
    """An origin of the list is named, another one gets nothing."""
    two = location(allow_origin=("https://a.example", "https://b.example"))
    headers = names(cors.permission(two, b"https://b.example"))
    assert headers[b"access-control-allow-origin"] == b"https://b.example"
    assert b"Retry-After" in headers[b"access-control-expose-headers"]
    assert b"access-control-allow-credentials" not in headers
    assert cors.permission(two, b"https://c.example") == []
    assert cors.permission(two, b"") == []
    assert cors.vary(two) == b", Origin"


def test_any_origin_is_one_answer_for_all():
    """With * the answer does not depend on who asks."""
    anyone = location(allow_origin=("*",))
    headers = names(cors.permission(anyone, b"https://a.example"))
    assert headers[b"access-control-allow-origin"] == b"*"
    assert cors.permission(anyone, b"") == cors.permission(anyone, b"null")
    assert cors.vary(anyone) == b""


def test_credentials_are_allowed_where_the_location_says_so():
    """allow_credentials adds its header to the permission."""
    trusted = location(allow_origin=("https://a.example",), allow_credentials=True)
    headers = names(cors.permission(trusted, b"https://a.example"))
    assert headers[b"access-control-allow-credentials"] == b"true"


@pytest.mark.parametrize("name", [b"If-None-Match", b"If-Modified-Since"])
def test_the_preflight_allows_the_cursor(name):
    """A page may send its cursor in a header, by the methods that there are."""
    headers = names(cors.preflight(("POST", "OPTIONS")))
    assert name in headers[b"access-control-allow-headers"]
    assert headers[b"access-control-allow-methods"] == b"POST, OPTIONS"
