"""The sending module: what is sent, what arrives, and what is told of it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.utils.translation import gettext_lazy

from pushserver.messages import START
from pushserver.sending import (
    ChannelInfo,
    Sent,
    achannel_info,
    adelete_channel,
    asend_message,
    asend_update,
    channel_info,
    delete_channel,
    send_message,
    send_update,
)
from pushserver.stores import get_store
from tests.daemon import ROADS, Daemon, new_process, start_daemon_by
from tests.e2e.servers import wait_until
from tests.ids import ANY_CHARACTERS


@pytest.fixture(scope="module", params=ROADS)
def daemon(request: pytest.FixtureRequest) -> Iterator[Daemon]:
    """One server for all tests of a road; each has a channel of its own."""
    with new_process(), start_daemon_by(request.param) as daemon:
        yield daemon


@pytest.fixture
def channel() -> str:
    return f"channel {uuid4()}"


# In a running loop


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (partial(send_update, "news", {}), "asend_update"),
        (partial(send_update, "news", {}, ignore_errors=True), "asend_update"),
        (partial(send_message, "news", b""), "asend_message"),
        (partial(delete_channel, "news"), "adelete_channel"),
        (partial(channel_info, "news"), "achannel_info"),
    ],
    ids=["update", "ignored", "message", "delete", "info"],
)
@pytest.mark.asyncio
async def test_blocking_calls_in_a_loop_name_their_twin(
    call: Callable[[], Any], name: str
) -> None:
    """A call that would block the loop raises, also when errors are ignored."""
    with pytest.raises(SynchronousOnlyOperation, match=f"await {name} instead"):
        call()


# What is sent


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"type": "answer", "value": 42}, '{"type": "answer", "value": 42}'),
        (["ä", None, True], '["\\u00e4", null, true]'),
        ("text", '"text"'),
        (None, "null"),
        (
            [date(2026, 1, 2), Decimal("1.10"), UUID(int=1), gettext_lazy("x")],
            '["2026-01-02", "1.10", "00000000-0000-0000-0000-000000000001", "x"]',
        ),
        ({1: "\ud800"}, '{"1": "\\ud800"}'),
    ],
)
def test_an_update_is_json(data: Any, text: str, channel: str, daemon: Daemon) -> None:
    """What DjangoJSONEncoder knows arrives as JSON, and says so."""
    send_update(channel, data)
    reader = daemon.reader(channel)
    assert reader.next() == text
    assert reader.content_type == "application/json"


@pytest.mark.parametrize("kind", [str, bytes, bytearray, memoryview])
def test_serialized_data_is_sent_as_it_is(
    kind: type[Any], channel: str, daemon: Daemon
) -> None:
    """Text and bytes that are JSON already are not touched."""
    data = b'{"a":  1}'
    send_update(channel, data.decode() if kind is str else kind(data), True)
    reader = daemon.reader(channel)
    assert reader.next() == '{"a":  1}'
    assert reader.content_type == "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "arrives"),
    [
        (b"bytes", None, None),
        (b"", None, None),
        (b"GIF89a", "image/gif", "image/gif"),
        (memoryview(b"view"), "text/x", "text/x"),
        ("Grüße", None, "text/plain; charset=utf-8"),
        ("<p>", "text/html", "text/html"),
    ],
)
def test_a_message_is_sent_as_it_is(
    body: Any,
    content_type: str | None,
    arrives: str | None,
    channel: str,
    daemon: Daemon,
) -> None:
    """Any body with any type; bytes without a type have none, text is plain text."""
    sent = send_message(channel, body, content_type=content_type)
    assert sent is not None
    reader = daemon.reader(channel)
    expected = body if isinstance(body, str) else bytes(body).decode()
    assert reader.next() == expected
    assert reader.content_type == arrives


def test_a_message_may_have_an_event_name(channel: str, daemon: Daemon) -> None:
    """Updates and messages, sync and async."""

    async def main() -> None:
        await asend_update(channel, {}, event="third")
        await asend_message(channel, b"", event="fourth")

    send_update(channel, {}, event="first")
    send_message(channel, b"", event="second")
    asyncio.run(main())
    history = asyncio.run(get_store().read(channel, after=START))
    names = [message.event for message in history.messages]
    assert names == ["first", "second", "third", "fourth"]


def test_a_body_cannot_change_once_it_was_sent(channel: str, daemon: Daemon) -> None:
    """What is kept is a copy of a bytearray."""
    body = bytearray(b"before")
    send_message(channel, body)
    body[:] = b"after!"
    assert daemon.reader(channel).next() == "before"


def test_any_channel_id_is_reached(channel: str, daemon: Daemon) -> None:
    """Ids are told apart by every character, over HTTP too."""
    for channel_id in ANY_CHARACTERS:
        send_update(channel_id, {"type": channel_id})
    for channel_id in ANY_CHARACTERS:
        message = json.loads(daemon.reader(channel_id).next())
        assert message == {"type": channel_id}


def test_what_happened_is_returned(channel: str, daemon: Daemon) -> None:
    """The message's id, which is the channel's last one, and who was held."""
    readers = [daemon.reader(channel).held() for _ in range(3)]
    wait_until(lambda: subscribers(channel) == 3)
    sent = send_update(channel, {})
    assert isinstance(sent, Sent)
    assert sent.held == 3
    again = send_message(channel, b"")
    assert again is not None
    info = channel_info(channel)
    assert info is not None
    assert (info.messages, info.last_message_id) == (2, again.id)
    assert [reader.next() for reader in readers] == ["{}"] * 3


def subscribers(channel_id: str) -> int:
    info = channel_info(channel_id)
    return 0 if info is None else info.subscribers


def test_channels_are_told_of_and_deleted(channel: str, daemon: Daemon) -> None:
    """A channel that does not exist is None; deleting it says that it was not there."""
    assert channel_info(channel) is None
    assert delete_channel(channel) is False
    sent = send_message(channel, b"x")
    assert sent is not None
    assert channel_info(channel) == ChannelInfo(
        messages=1, requested=-1, subscribers=0, last_message_id=sent.id or ""
    )
    assert delete_channel(channel) is True
    assert channel_info(channel) is None


def test_the_async_functions_do_the_same(channel: str, daemon: Daemon) -> None:
    """Each has its twin, in any loop."""

    async def main() -> list[Any]:
        nothing = [await achannel_info(channel), await adelete_channel(channel)]
        sent = await asend_message(channel, "text")
        info = await achannel_info(channel)
        assert sent is not None
        assert info is not None
        assert info.last_message_id == sent.id
        return [*nothing, await adelete_channel(channel), await achannel_info(channel)]

    assert asyncio.run(main()) == [None, False, True, None]
