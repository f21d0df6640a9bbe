"""A page starts where its view stood, whatever is published until it listens."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.test import override_settings
from django.urls import set_script_prefix

from pushserver import pages, send_update
from pushserver.asgi import push_application
from pushserver.exceptions import InvalidChannelId
from tests.asgi_client import Client
from tests.daemon import unreachable

HOST = {"location": "push.example", "secure": True}
EVERYTHING = ["long-poll", "event-stream", "websocket"]


@pytest.fixture(autouse=True)
def serving_process() -> None:
    """Sends stay in a process that serves push."""
    push_application()


@pytest.fixture
def mounted() -> Iterator[None]:
    set_script_prefix("/site/")
    yield
    set_script_prefix("/")


def test_a_cursor_is_where_the_channel_stands():
    """The id of its last message; the start of one that nobody has heard of."""
    assert pages.channel_cursor("page-unknown") == "0-0"
    sent = send_update("page-known", 1)
    assert sent is not None
    assert pages.channel_cursor("page-known") == sent.id


async def test_async_code_has_functions_of_its_own():
    """The others would block its loop."""
    with pytest.raises(SynchronousOnlyOperation):
        pages.channel_cursor("page-async")
    assert await pages.achannel_cursor("page-async") == "0-0"
    config = await pages.apush_config("page-async", "b", since={"b": "5-0"})
    since = {name: each["since"] for name, each in config["channels"].items()}
    assert since == {"page-async": "0-0", "b": "5-0"}


def test_a_url_may_say_where_its_reader_starts():
    """At a cursor that was taken earlier, or that of this moment."""
    sent = send_update("page-url", 1)
    assert sent is not None
    assert pages.channel_url("page-url") == "/updates/page-url"
    assert pages.channel_url("page-url", since="5-0") == "/updates/page-url?since=5-0"
    now = pages.channel_url("page-url", since=True)
    assert now == f"/updates/page-url?since={sent.id}"


async def test_nothing_is_lost_and_nothing_comes_twice():
    """What is published after the cursor was taken is all that comes."""
    client = Client(push_application())
    with override_settings(DEBUG=True):
        await client.ask("POST", "/send-update/page-gap", b"shown by the page")
        since = await pages.achannel_cursor("page-gap")
        await client.ask("POST", "/send-update/page-gap", b"while it was rendered")
        url = pages.channel_url("page-gap", since=since)
        answer = await client.ask("GET", url)
        assert answer.body == b"while it was rendered"
        asked = {"channels": {"page-gap": {"since": since}}}
        many = await client.ask("POST", "/updates", json.dumps(asked).encode())
        assert [entry["text"] for entry in json.loads(many.body)] == [
            "while it was rendered"
        ]


def test_the_configuration_of_a_page():
    """All that the client starts from."""
    sent = send_update("page-config", 1)
    assert sent is not None
    assert pages.push_config("page-config", "b", since={"b": "5-0"}) == {
        "multiplex": "/updates",
        "channels": {
            "page-config": {"url": "/updates/page-config", "since": sent.id},
            "b": {"url": "/updates/b", "since": "5-0"},
        },
        "transports": EVERYTHING,
    }


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize(
    ("host", "url"), [(None, "/site/updates"), (HOST, "https://push.example/updates")]
)
def test_the_configuration_knows_where_push_is(host: Any, url: str):
    """Below the site's prefix, or on a host of its own."""
    settings = {} if host is None else {"subscriber_host": host}
    with override_settings(PUSH_SERVER=settings):
        assert pages.push_config()["multiplex"] == url


@pytest.mark.parametrize(
    ("locations", "transports"),
    [
        ([{"type": "subscriber", "prefix": "/a/", "transports": ["long-poll"]}], 1),
        ([{"type": "publisher", "prefix": "/a/"}], 0),
    ],
)
def test_a_server_may_have_less(locations: Any, transports: int):
    """No address for many channels, then, and the ways of a single one."""
    with override_settings(PUSH_SERVER={"locations": locations}):
        config = pages.push_config()
    assert config["multiplex"] is None
    assert len(config["transports"]) == transports


@pytest.mark.parametrize("channel_id", ["", "..", 5])
def test_what_is_no_channel_is_an_error(channel_id: Any):
    """As everywhere."""
    for wrong in (
        lambda: pages.channel_cursor(channel_id),
        lambda: pages.push_config(channel_id),
        lambda: pages.channel_url(channel_id, since=True),
    ):
        with pytest.raises(InvalidChannelId):
            wrong()


async def test_a_page_without_a_daemon_is_a_page(caplog: pytest.LogCaptureFixture):
    """The cursor is left out, and that is logged."""
    with unreachable(), caplog.at_level(logging.ERROR, "pushserver.pages"):
        config = await pages.apush_config("room")
    assert config["channels"]["room"]["since"] is None
    assert "room" in caplog.text


def test_a_page_of_a_sync_view_neither(caplog: pytest.LogCaptureFixture):
    """Nor by its URL."""
    with unreachable(), caplog.at_level(logging.ERROR, "pushserver.pages"):
        assert pages.push_config("room")["channels"]["room"]["since"] is None
        assert pages.channel_url("room", since=True) == "/updates/room"
    assert caplog.text.count("No cursor") == 2
