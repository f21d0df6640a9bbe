"""Sends from this process to a runpushserver of its own, and what can go wrong."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import override_settings

from pushserver import (
    DaemonUnreachable,
    MessageTooBig,
    PublishRefused,
    channel_info,
    delete_channel,
    send_message,
    send_update,
)
from tests.e2e.servers import Server, start_runpushserver
from tests.ids import ANY_CHARACTERS
from tests.projects import SITE, build
from tests.settings import SECRET_KEY

pytestmark = pytest.mark.usefixtures("process")

LIMIT = 1000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    project = build(
        tmp_path_factory.mktemp("daemon"),
        SECRET_KEY=SECRET_KEY,
        PUSH_SERVER={"max_body": LIMIT},
    )
    with start_runpushserver(project, settings=SITE) as server:
        yield server


def daemon_at(server: Server, **options: Any) -> Any:
    host = {"location": f"{server.host}:{server.port}", **options}
    return override_settings(PUSH_SERVER={"publisher_host": host})


def test_any_channel_is_reached(server: Server):
    """Channels of all names are published to, told of and deleted over the wire."""
    with daemon_at(server):
        for channel_id in ANY_CHARACTERS:
            sent = send_message(channel_id, b"body")
            info = channel_info(channel_id)
            assert sent is not None
            assert info is not None
            assert (info.messages, info.last_message_id) == (1, sent.id)
            assert delete_channel(channel_id) is True
            assert channel_info(channel_id) is None


@pytest.mark.parametrize("size", [LIMIT + 1, 1_000_000])
def test_what_the_daemon_finds_too_big_is_said(server: Server, size: int):
    """The daemon refuses before it has read all, and its reason arrives."""
    with daemon_at(server), pytest.raises(MessageTooBig, match="at most 1000 bytes"):
        send_message("news", b"x" * size)


def test_another_secret_key_is_refused(server: Server):
    """Who is not of the project is told what to compare."""
    with (
        daemon_at(server),
        override_settings(SECRET_KEY="another"),
        pytest.raises(PublishRefused, match="SECRET_KEY"),
    ):
        send_update("news", {})


def test_https_is_named_where_the_daemon_speaks_http(server: Server):
    """The daemon keeps silent to a TLS greeting; the error says why that may be."""
    with (
        daemon_at(server, secure=True),
        pytest.raises(DaemonUnreachable, match=r"https is spoken") as caught,
    ):
        send_update("news", {})
    assert "'secure': True" in str(caught.value)


def test_a_page_that_is_no_push_server_is_refused(server: Server):
    """A send to an address with other locations says what may be missing there."""
    locations = [{"type": "publisher", "prefix": "/elsewhere/"}]
    host = {"location": f"{server.host}:{server.port}"}
    settings = {"publisher_host": host, "locations": locations}
    with (
        override_settings(PUSH_SERVER=settings),
        pytest.raises(PublishRefused, match="no publisher location") as caught,
    ):
        send_update("news", {})
    assert caught.value.status == 404
