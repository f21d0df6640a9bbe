"""Tokens that prove that the project itself sent a request."""

import time
from typing import Any

import pytest
from django.core import signing
from django.test import override_settings

from pushserver.tokens import PUBLISH_MAX_AGE, sign_publish, verify_publish

REQUEST = ("POST", "röm/1", b"\x00body\xff")


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock, as it is read from now on."""
    there = time.time() + seconds
    monkeypatch.setattr(time, "time", lambda: there)


def test_a_token_is_good_for_its_request() -> None:
    """What was signed is recognised, whatever its id and body are made of."""
    assert verify_publish(sign_publish(*REQUEST), *REQUEST)


def test_a_token_fits_into_a_header() -> None:
    """It is printable ASCII without spaces, and short for the longest id."""
    token = sign_publish("POST", "\N{OCTOPUS}" * 255, b"x" * 1_000_000)
    assert token.isascii()
    assert token.isprintable()
    assert " " not in token
    assert len(token) < 6000


@pytest.mark.parametrize(
    "other",
    [
        ("PUT", *REQUEST[1:]),
        ("post", *REQUEST[1:]),
        ("POST", "röm/2", REQUEST[2]),
        ("POST", "ro\u0308m/1", REQUEST[2]),
        ("POST", "röm/1", b""),
        ("POST", "röm/1", REQUEST[2] + b"x"),
    ],
)
def test_a_token_is_good_for_nothing_else(other: tuple[str, str, bytes]) -> None:
    """Method, channel and body are all bound."""
    assert not verify_publish(sign_publish(*REQUEST), *other)


@pytest.mark.parametrize(
    ("seconds", "good"),
    [(0, True), (PUBLISH_MAX_AGE - 1, True), (PUBLISH_MAX_AGE + 1, False)],
)
def test_a_token_ages(
    monkeypatch: pytest.MonkeyPatch, seconds: float, good: bool
) -> None:
    """It is good for a minute."""
    token = sign_publish(*REQUEST)
    later(monkeypatch, seconds)
    assert verify_publish(token, *REQUEST) is good


def test_a_clock_that_goes_ahead_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines of one project may differ by some seconds in both directions."""
    token = sign_publish(*REQUEST)
    later(monkeypatch, -30)
    assert verify_publish(token, *REQUEST)


def test_keys_may_be_changed_while_sends_go_on() -> None:
    """A sender with the old key is believed while it is among the fallbacks."""
    with override_settings(SECRET_KEY="old"):
        token = sign_publish(*REQUEST)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert verify_publish(token, *REQUEST)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[]):
        assert not verify_publish(token, *REQUEST)


def forged() -> list[Any]:
    token = sign_publish(*REQUEST)
    value, timestamp, signature = token.split(":")
    return [
        "",
        ":",
        "::",
        "x",
        token[:-1],
        token + "x",
        f"{value}:{timestamp}",
        f"{value}::{signature}",
        f"{value}:zzzzzz:{signature}",
        f"x{value}:{timestamp}:{signature}",
        token.replace(":", "."),
        "\xff\x00:\r\n:☃",
        "a" * 100_000,
    ]


@pytest.mark.parametrize("index", range(len(forged())))
def test_nothing_else_is_a_token(index: int) -> None:
    """Whatever somebody makes up is refused, and raises nothing."""
    assert not verify_publish(forged()[index], *REQUEST)


def test_another_signature_of_the_project_is_none() -> None:
    """What the project signs for other ends does not let anybody publish."""
    signed = [REQUEST[0], REQUEST[1], "digest"]
    assert not verify_publish(signing.dumps(signed), *REQUEST)
    assert not verify_publish(signing.TimestampSigner().sign("x"), *REQUEST)
