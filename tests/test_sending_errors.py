"""Errors of a send: one exception each, and what ignoring them means."""

import asyncio
import logging
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.test import override_settings

from pushserver import reach, remote
from pushserver.exceptions import (
    InvalidChannelId,
    MessageTooBig,
    NotSerializable,
    PublishRefused,
    PushError,
    StoreUnavailable,
)
from pushserver.sending import (
    Sent,
    asend_message,
    asend_update,
    send_message,
    send_update,
)
from pushserver.signals import pre_send_update
from pushserver.stores.memory import MemoryStore
from tests.daemon import (
    ROADS,
    Daemon,
    connected,
    each_twin,
    send,
    start_daemon,
    unreachable,
)

pytestmark = pytest.mark.usefixtures("process")


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> Iterator[None]:
    """Both ways to send; nothing of these tests comes as far as to a server."""
    if request.param == "over HTTP":
        with unreachable():
            yield
    else:
        reach.serve_here()
        yield


circle: list[Any] = []
circle.append(circle)
deep: list[Any] = []
for _ in range(100_000):
    deep = [deep]


@each_twin
@pytest.mark.parametrize(
    "data",
    [object(), {object(): 1}, {1, 2}, b"bytes", circle, deep, float("nan"), [1e999]],
    ids=["object", "key", "set", "bytes", "circle", "deep", "nan", "infinity"],
)
def test_what_is_no_json_is_refused(data: Any, asynchronous: bool) -> None:
    """Objects, bytes, circles, NaN: an error of ours that is a TypeError too."""
    with pytest.raises(NotSerializable, match="no JSON") as caught:
        send("news", data, asynchronous)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("data", [{"a": 1}, None, 5, "\ud800"])
def test_serialized_data_is_text_or_bytes(data: Any) -> None:
    """Data that was not serialized, and text that UTF-8 cannot encode, are named."""
    with pytest.raises(NotSerializable, match="already_serialized"):
        send_update("news", data, already_serialized=True)


@pytest.mark.parametrize("body", [5, None, {"a": 1}, ["a"]])
def test_a_message_is_text_or_bytes(body: Any) -> None:
    """Anything else is the caller's mistake, and no run of zero bytes."""
    with pytest.raises(TypeError):
        send_message("news", body)


@each_twin
@pytest.mark.parametrize("channel_id", ["", "..", "a\nb", "x" * 256, None, 5])
@pytest.mark.usefixtures("road")
def test_an_invalid_channel_id_is_refused(channel_id: Any, asynchronous: bool) -> None:
    """Before anything is sent, and wherever it would go."""
    with pytest.raises(InvalidChannelId):
        send(channel_id, {}, asynchronous)


@pytest.mark.parametrize("content_type", ["a\r\nX-Evil: 1", "é", "x" * 256])
@pytest.mark.usefixtures("road")
def test_a_content_type_that_no_header_carries_is_refused(content_type: str) -> None:
    """A ValueError here, not a refusal over there."""
    with pytest.raises(ValueError, match="content type"):
        send_message("news", b"", content_type=content_type)


@each_twin
@pytest.mark.usefixtures("road")
def test_what_is_too_big_is_not_sent(asynchronous: bool) -> None:
    """The limit of the settings holds on each road, and the error names it."""
    with pytest.raises(MessageTooBig, match=r"1048576 \(PUSH_SERVER\['max_body'\]\)"):
        send("news", "x" * 1_048_576, asynchronous)


def test_the_daemon_may_have_a_lower_limit(remote_daemon: Daemon) -> None:
    """What the daemon finds too big is the same exception, with its words."""
    request = remote.prepare("POST", "news", b"x" * 100)
    settings = remote_daemon.settings(max_body=50)
    with settings, pytest.raises(MessageTooBig, match=r"answered 413: .*50"):
        remote.publish(request)


def test_a_wrong_key_is_refused_with_the_reason(remote_daemon: Daemon) -> None:
    """A token of another SECRET_KEY gets 403, and the error says what to compare."""

    def sabotage(request: urllib.request.Request, **kwargs: Any) -> None:
        request.headers["Authorization"] = "Bearer nonsense"

    with (
        connected(pre_send_update, sabotage),
        pytest.raises(PublishRefused, match="SECRET_KEY") as caught,
    ):
        send_update("news", {})
    assert caught.value.status == 403


LOCATIONS = [
    {"type": "subscriber", "prefix": "/updates/"},
    {"type": "publisher", "prefix": "/send-update/", "create_on_post": False},
]


@pytest.mark.parametrize("over_http", [False, True])
def test_a_channel_that_may_not_be_created_is_refused(over_http: bool) -> None:
    """create_on_post: False holds on each road, until somebody reads the channel."""
    settings: dict[str, Any] = {"locations": LOCATIONS}
    with start_daemon() as daemon:
        if over_http:
            settings["publisher_host"] = {"location": daemon.location}
        with override_settings(PUSH_SERVER=settings):
            with pytest.raises(PublishRefused, match="create_on_post") as caught:
                send_update("news", {})
            assert caught.value.status == 404
            reader = daemon.reader("news").held()
            send_update("news", {})
            assert reader.next() == "{}"


def test_an_id_outside_of_the_pattern_is_refused_over_http(
    remote_daemon: Daemon,
) -> None:
    """No URL leads to such a channel; the error is a PushError."""
    locations = [{"type": "publisher", "url": r"/send-update/([^/]+)"}]
    settings = remote_daemon.settings(locations=locations)
    with settings, pytest.raises(InvalidChannelId):
        send_update("a/b", {})


def test_a_site_without_publisher_location_sends_to_its_readers() -> None:
    """Who takes nothing over HTTP still sends from its own views."""
    only = {"locations": [{"type": "subscriber", "prefix": "/updates/"}]}
    with override_settings(PUSH_SERVER=only), start_daemon() as daemon:
        reader = daemon.reader("news").held()
        send_update("news", {})
        assert reader.next() == "{}"


class BrokenStore(MemoryStore):
    """A store that is down."""

    async def append(self, *args: Any, **kwargs: Any) -> Any:
        raise StoreUnavailable("The store is down.")


@each_twin
@override_settings(PUSH_SERVER={"store": {"type": f"{__name__}.BrokenStore"}})
def test_a_store_that_is_down_is_an_error(asynchronous: bool) -> None:
    """What could not be kept raises."""
    reach.serve_here()
    with pytest.raises(StoreUnavailable):
        send("news", {}, asynchronous)


# Errors that are ignored

FAILURES: dict[str, Callable[..., Sent | None]] = {
    "no JSON": partial(send_update, "news", object()),
    "no channel id": partial(send_update, "..", {}),
    "too big": partial(send_update, "news", "x" * 2_000_000),
    "no daemon": partial(send_update, "news", {}),
    "no daemon for a message": partial(send_message, "news", b""),
    "no daemon, async": lambda **options: asyncio.run(
        asend_update("news", {}, **options)
    ),
    "no daemon for a message, async": lambda **options: asyncio.run(
        asend_message("news", b"", **options)
    ),
}
each_failure = pytest.mark.parametrize("call", FAILURES.values(), ids=FAILURES)


@each_failure
def test_errors_are_ignored_on_demand(
    call: Callable[..., Sent | None], caplog: pytest.LogCaptureFixture
) -> None:
    """With ignore_errors a send that fails returns None and leaves a traceback."""
    with unreachable():
        assert call(ignore_errors=True) is None
        [record] = caplog.records
        assert (record.name, record.levelno) == ("pushserver.sending", logging.ERROR)
        assert record.exc_info
        with pytest.raises(PushError):
            call()
        with pytest.raises(PushError):
            call(ignore_errors=False)


@each_failure
@override_settings(PUSH_SERVER_IGNORE_ERRORS=True)
def test_errors_can_be_ignored_everywhere(
    call: Callable[..., Sent | None], caplog: pytest.LogCaptureFixture
) -> None:
    """PUSH_SERVER_IGNORE_ERRORS is the default; the argument wins over it."""
    with unreachable():
        assert call() is None
        assert len(caplog.records) == 1
        with pytest.raises(PushError):
            call(ignore_errors=False)


def test_only_errors_of_ours_are_ignored() -> None:
    """A mistake of the caller's is no failed send."""
    with pytest.raises(TypeError):
        send_message("news", None, ignore_errors=True)  # type: ignore[arg-type]
