"""Parsers of single values: what each accepts and refuses."""

from collections.abc import Callable
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest

from pushserver.conf import values
from pushserver.problems import MISSING, Id, Refused

ORIGIN = "http://a.example"

ACCEPTED: list[tuple[Callable[[Any], Any], Any, Any]] = [
    (values.boolean, True, True),
    (values.boolean, False, False),
    (values.choice("a", "b"), "b", "b"),
    (values.first_message, "oldest", "oldest"),
    (values.first_message, "newest", "newest"),
    (values.first_message, 1, 1),
    (values.count, 0, 0),
    (values.positive_count, 1, 1),
    (values.seconds, 0, 0.0),
    (values.seconds, 2.5, 2.5),
    (values.positive_seconds, 0.1, 0.1),
    (values.port, 1, 1),
    (values.port, 65535, 65535),
    (values.address, "0.0.0.0", "0.0.0.0"),
    (values.address, "::1", "::1"),
    (values.address, "[::1]", "::1"),
    (values.address, "fe80::1%eth0", "fe80::1%eth0"),
    (values.address, "localhost", "localhost"),
    (values.servername, "push/1.0 (ours)", "push/1.0 (ours)"),
    (values.passthrough, "", ""),
    (values.host_and_port, "push.example.com", "push.example.com"),
    (values.host_and_port, "my_service:8001", "my_service:8001"),
    (values.host_and_port, "127.0.0.1:65535", "127.0.0.1:65535"),
    (values.host_and_port, "[::1]:80", "[::1]:80"),
    (values.networks, [], ()),
    (values.networks, ("::1",), (ip_network("::1/128"),)),
    (values.networks, ["10.0.0.0/8"], (ip_network("10.0.0.0/8"),)),
    (values.networks, [ip_network("10.0.0.0/8")], (ip_network("10.0.0.0/8"),)),
    (values.origins, None, ()),
    (values.origins, [], ()),
    (values.origins, "*", ("*",)),
    (values.origins, ["*"], ("*",)),
    (values.origins, ("*",), ("*",)),
    (values.origins, ORIGIN, (ORIGIN,)),
    (values.origins, [ORIGIN, "https://b:1"], (ORIGIN, "https://b:1")),
    # As browsers write them.
    (values.origins, "HTTPS://A.Example:443", ("https://a.example",)),
    (values.origins, "http://[::1]:80", ("http://[::1]",)),
    (values.origins, "http://a:8080", ("http://a:8080",)),
    (values.origins, "https://a:80", ("https://a:80",)),
    (values.origins, "chrome-extension://abc", ("chrome-extension://abc",)),
    (values.store_alias, "x", "x"),
    (values.store_type, "memory", "memory"),
    (values.store_type, "collections.OrderedDict", "collections.OrderedDict"),
]

REFUSED: list[tuple[Callable[[Any], Any], list[Any]]] = [
    (values.boolean, [0, 1, "True", None]),
    (values.choice("a", "b"), ["A", "", None, ["a"]]),
    (values.first_message, [0, -1, True, "first", 1.5]),
    (values.count, [-1, True, 1.0, "1", None]),
    (values.positive_count, [0, -1, True, 1.0, "1"]),
    (values.seconds, [-1, True, "1", float("nan"), float("inf"), 10**400, Decimal(1)]),
    (values.positive_seconds, [0, 0.0, -1, True, None]),
    (values.port, [0, 65536, -1, True, "8001", 80.0]),
    (
        values.address,
        ["", "localhost:80", "http://x", "a b", "[localhost]", "1.2.3", "x/y", 1],
    ),
    (values.servername, ["", "a\r\nb", "é", 1]),
    (values.passthrough, [1, None]),
    (
        values.host_and_port,
        [
            "",
            "http://x",
            "x/y",
            "x:0",
            "x:65536",
            "x:",
            "x:y",
            "u@x",
            "::1",
            "[x]",
            "[1.2.3.4]",
            "256.1.1.1",
            "x y",
            "\u212a.example",  # the Kelvin sign, a K when case is ignored
            8001,
        ],
    ),
    (values.networks, [None, "10.0.0.0/8", [1], ["x"], ["10.0.0.1/8"], {"::1"}]),
    (
        values.origins,
        [
            "",
            "null",
            "a.example",
            f"{ORIGIN}/",
            f"{ORIGIN}/path",
            f"{ORIGIN}?q",
            f"{ORIGIN}\n",
            "http://u@a.example",
            "http://*.example",
            "http://ü.example",
            "http://a:0",
            "http://",
            [ORIGIN, "*"],
            [None],
            {ORIGIN},
            1,
        ],
    ),
    (values.store_alias, [None, 1]),
    (values.store_type, ["disk", "Memory", "", "a.", ".a", "a b.c", None]),
]


@pytest.mark.parametrize(("parse", "value", "parsed"), ACCEPTED)
def test_accepted(parse: Callable[[Any], Any], value: Any, parsed: Any) -> None:
    """The value comes back in its typed, normal form."""
    result = parse(value)
    assert result == parsed
    assert type(result) is type(parsed)


@pytest.mark.parametrize(
    ("parse", "value"), [(parse, value) for parse, wrong in REFUSED for value in wrong]
)
def test_refused(parse: Callable[[Any], Any], value: Any) -> None:
    """The error has an id and completes the sentence "accepted: ..."."""
    with pytest.raises(Refused) as caught:
        parse(value)
    assert caught.value.code.is_error
    assert caught.value.accepted
    assert not caught.value.accepted.endswith(".")


@pytest.mark.parametrize("parse", [parse for parse, _ in REFUSED])
def test_every_parser_refuses_a_missing_value(parse: Callable[[Any], Any]) -> None:
    """So that a required key that is not there is reported like a wrong one."""
    with pytest.raises(Refused):
        parse(MISSING)


def test_a_scheme_in_a_host_gets_a_hint() -> None:
    """The predecessor's key for https is named."""
    with pytest.raises(Refused) as caught:
        values.host_and_port("https://push.example.com")
    assert caught.value.hint is not None
    assert "'secure'" in caught.value.hint


def test_the_wrong_network_is_named() -> None:
    """A list shows which entry is wrong, and why."""
    with pytest.raises(Refused, match=r"10\.0\.0\.1/8 has host bits set"):
        values.networks(["::1", "10.0.0.1/8"])


@pytest.mark.parametrize("path", ["no_such_package.Store", "json.no_such_module.Store"])
def test_a_store_whose_module_does_not_exist(path: str) -> None:
    """The module that was looked for is named."""
    with pytest.raises(Refused, match="cannot import") as caught:
        values.store_type(path)
    assert caught.value.code == Id.STORE_NOT_FOUND


@pytest.mark.parametrize("path", ["json.NoSuchStore", "json.__name__"])
def test_a_store_that_its_module_does_not_have(path: str) -> None:
    """The module is there, the class is not."""
    with pytest.raises(Refused, match="'json' has no class") as caught:
        values.store_type(path)
    assert caught.value.code == Id.STORE_NOT_FOUND


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import no_such_dependency", "No module named 'no_such_dependency'"),
        ("from json import no_such_name", "cannot import name 'no_such_name'"),
        ("1 / 0", "ZeroDivisionError"),
        ("if", "SyntaxError"),
    ],
)
def test_a_store_whose_module_is_broken(
    source: str, error: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed in it is told; it is not mistaken for a wrong path."""
    (tmp_path / "broken_store.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Refused, match=error) as caught:
        values.store_type("broken_store.Store")
    assert caught.value.code == Id.STORE_BROKEN
