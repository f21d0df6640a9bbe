"""The passthrough: a front server tells who comes and goes."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import path

from pushserver.consumers import SubscriberConsumer
from pushserver.signals import channel_subscribe, channel_unsubscribe
from pushserver.views import passthrough

urlpatterns = [path("passthrough", passthrough)]

CSRF = "django.middleware.csrf.CsrfViewMiddleware"


@pytest.fixture(autouse=True)
def _site() -> Iterator[None]:
    """A site that protects itself, and a front server on this machine."""
    with override_settings(
        ROOT_URLCONF=__name__, INTERNAL_IPS=["127.0.0.1"], MIDDLEWARE=[CSRF]
    ):
        yield


@pytest.fixture
def heard() -> Iterator[list[dict[str, Any]]]:
    """What the receivers of both signals were told."""
    told: list[dict[str, Any]] = []

    def subscribed(signal: Any, **arguments: Any) -> None:
        told.append({"kind": "subscribe", **arguments})

    async def unsubscribed(signal: Any, **arguments: Any) -> None:
        told.append({"kind": "unsubscribe", **arguments})

    channel_subscribe.connect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.connect(unsubscribed, sender=SubscriberConsumer)
    yield told
    channel_subscribe.disconnect(subscribed, sender=SubscriberConsumer)
    channel_unsubscribe.disconnect(unsubscribed, sender=SubscriberConsumer)


def post(data: Any, **environment: Any) -> Any:
    strict = Client(enforce_csrf_checks=True, raise_request_exception=False)
    return strict.post("/passthrough", data, **environment)


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("value", ["1", ""])
def test_the_signal_is_sent(heard: list[dict[str, Any]], kind: str, value: str) -> None:
    """With the front server's request, to sync and async receivers; no CSRF token."""
    assert post({"channel_id": "röm/1", kind: value}).status_code == 200
    [told] = heard
    assert isinstance(told.pop("request"), HttpRequest)
    expected = {"kind": kind, "sender": SubscriberConsumer, "channel_id": "röm/1"}
    assert told == expected


def test_a_receiver_that_raises_changes_nothing() -> None:
    """The front server gets its 200."""

    def receiver(**kwargs: Any) -> None:
        raise RuntimeError("as the test asked for")

    channel_subscribe.connect(receiver)
    try:
        assert post({"channel_id": "room", "subscribe": "1"}).status_code == 200
    finally:
        channel_subscribe.disconnect(receiver)


@pytest.mark.parametrize("address", ["192.0.2.7", "127.0.0.2", "::1", "", "127.0.0.1 "])
def test_only_internal_addresses_may(heard: list[dict[str, Any]], address: str) -> None:
    """403 for everybody else, before anything of the body is looked at."""
    for data in ({"channel_id": "room", "subscribe": "1"}, {}):
        assert post(data, REMOTE_ADDR=address).status_code == 403
    forwarded = post({"channel_id": "a"}, HTTP_X_FORWARDED_FOR="127.0.0.1",
                     REMOTE_ADDR=address)  # fmt: skip
    assert forwarded.status_code == 403
    assert heard == []


@pytest.mark.parametrize("method", ["get", "head", "put", "delete", "options"])
def test_only_post(heard: list[dict[str, Any]], method: str) -> None:
    """405 with Allow for another method, whoever asks."""
    response = getattr(Client(), method)("/passthrough?channel_id=a&subscribe=1")
    assert response.status_code == 405
    assert response["Allow"] == "POST"
    assert heard == []


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"channel_id": "room"},
        {"subscribe": "1"},
        {"channel_id": "", "subscribe": "1"},
        {"channel_id": "room", "subscribe": "1", "unsubscribe": "1"},
        {"channel_id": "x" * 256, "subscribe": "1"},
        {"channel_id": "a\r\nb", "subscribe": "1"},
        {"channel_id": "a\0", "subscribe": "1"},
        {"channel_id": "..", "subscribe": "1"},
        {"channel_id": "room", "Subscribe": "1"},
    ],
)
def test_bad_input(heard: list[dict[str, Any]], data: dict[str, str]) -> None:
    """400 in one plain line, and no signal."""
    response = post(data)
    assert response.status_code == 400
    text = response.content.decode()
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    assert response["Content-Type"].startswith("text/plain")
    assert heard == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"%ZZ=%FF&&=&subscribe"),
        ("application/x-www-form-urlencoded", b"\xff\x00"),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 2000)),
        ("multipart/form-data", b"channel_id=room&subscribe=1"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/json", b'{"channel_id": "room", "subscribe": 1}'),
        ("text/plain; charset=nonsense", b"channel_id=room&subscribe=1"),
        ("", b"channel_id=room&subscribe=1"),
    ],
)
def test_bodies_that_are_no_form(
    heard: list[dict[str, Any]], content_type: str, body: bytes
) -> None:
    """400, whatever the body is made of."""
    response = Client(raise_request_exception=False).generic(
        "POST", "/passthrough", body, content_type=content_type
    )
    assert response.status_code == 400
    assert heard == []
