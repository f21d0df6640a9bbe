"""The links module: URLs of channels, and on whose terms the project sends."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest
from django.test import override_settings
from django.urls import get_script_prefix, set_script_prefix

from pushserver.conf import get_config
from pushserver.exceptions import InvalidChannelId, NobodyListens
from pushserver.links import channel_url, publisher_url, publishing_terms
from tests.ids import ANY_CHARACTERS

SUBSCRIBER = {"type": "subscriber", "prefix": "/updates/"}
PUBLISHER = {"type": "publisher", "prefix": "/send-update/"}


@pytest.fixture
def mounted() -> Iterator[None]:
    """The site stands below /site/."""
    before = get_script_prefix()
    set_script_prefix("/site/")
    yield
    set_script_prefix(before)


def test_a_channel_url_is_a_path_of_the_own_site() -> None:
    """Without subscriber_host a page subscribes where it comes from."""
    assert channel_url("news") == "/updates/news"


@pytest.mark.usefixtures("mounted")
def test_a_channel_url_stands_below_the_script_prefix() -> None:
    """A site that is mounted below a path has its channels there."""
    assert channel_url("news") == "/site/updates/news"


@pytest.mark.usefixtures("mounted")
@pytest.mark.parametrize(("secure", "scheme"), [(False, "http"), (True, "https")])
def test_a_channel_url_names_the_subscriber_host(secure: bool, scheme: str) -> None:
    """With subscriber_host the URL is absolute; where the site stands is not its."""
    host = {"location": "push.example.com:8443", "secure": secure}
    with override_settings(PUSH_SERVER={"subscriber_host": host}):
        assert channel_url("news") == f"{scheme}://push.example.com:8443/updates/news"


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8001/send-update/news"),
        ({"port": 9000}, "http://127.0.0.1:9000/send-update/news"),
        (
            {"publisher_host": {"location": "push.example.com", "secure": True}},
            "https://push.example.com/send-update/news",
        ),
    ],
)
def test_a_publisher_url_names_the_daemon(settings: object, url: str) -> None:
    """The address of publisher_host, else the one runpushserver takes by itself."""
    with override_settings(PUSH_SERVER=settings):
        assert publisher_url("news") == url


@pytest.mark.parametrize("channel_id", ANY_CHARACTERS)
def test_urls_carry_any_channel_id(channel_id: str) -> None:
    """Both URLs are ASCII paths that lead back to just this id, whatever is in it."""
    for url in (channel_url(channel_id), publisher_url(channel_id)):
        assert url.isascii()
        parts = urlsplit(url)
        assert (parts.query, parts.fragment) == ("", "")
        found = get_config().match(unquote(parts.path))
        assert found is not None
        assert found[1] == channel_id


@pytest.mark.parametrize("link", [channel_url, publisher_url])
@pytest.mark.parametrize("channel_id", ["", "..", "a\nb", "x" * 256, 1, None])
def test_no_url_has_an_invalid_channel_id(link, channel_id) -> None:
    """What is no channel id gets no URL."""
    with pytest.raises(InvalidChannelId):
        link(channel_id)


@override_settings(
    PUSH_SERVER={
        "locations": [
            {"type": "subscriber", "url": r"/updates/([^/]+)"},
            {"type": "publisher", "url": r"/send-update/([^/]+)"},
        ]
    }
)
@pytest.mark.parametrize("link", [channel_url, publisher_url])
def test_an_id_that_the_pattern_cannot_match_is_invalid(link) -> None:
    """A URL that would lead nowhere raises InvalidChannelId, a PushError."""
    with pytest.raises(InvalidChannelId, match=r"\[\^/\]\+.*'a/b'"):
        link("a/b")


@override_settings(PUSH_SERVER={"locations": [PUBLISHER]})
def test_a_channel_url_needs_a_subscriber_location() -> None:
    """Without one nobody could listen, and the error says so."""
    with pytest.raises(NobodyListens, match="has no subscriber location"):
        channel_url("news")


@override_settings(PUSH_SERVER={"locations": [SUBSCRIBER]})
def test_a_publisher_url_needs_a_publisher_location() -> None:
    """Without one nobody can publish over HTTP, and the error says so."""
    with pytest.raises(NobodyListens, match="has no publisher location"):
        publisher_url("news")


@override_settings(
    PUSH_SERVER={
        "store": {"default": {}, "second": {}},
        "locations": [
            SUBSCRIBER,
            {**PUBLISHER, "store": "second", "max_body": 5},
            {"type": "publisher", "prefix": "/other/"},
        ],
    }
)
def test_the_terms_are_those_of_the_first_publisher_location() -> None:
    """Its store and limits hold for what the project itself sends."""
    terms = publishing_terms()
    assert (terms.store, terms.max_body) == ("second", 5)


@override_settings(
    PUSH_SERVER={
        "store": {"default": {}, "second": {}},
        "max_body": 7,
        "locations": [{**SUBSCRIBER, "store": "second"}],
    }
)
def test_without_a_publisher_location_the_terms_are_the_subscribers() -> None:
    """A site that takes nothing over HTTP sends to where its pages listen."""
    terms = publishing_terms()
    assert (terms.store, terms.max_body) == ("second", 7)
    assert (terms.store_messages, terms.create_on_post) == (True, True)


@override_settings(PUSH_SERVER={"locations": []})
def test_without_locations_there_are_no_terms() -> None:
    """A site without any location cannot send."""
    with pytest.raises(NobodyListens, match="no publisher or subscriber location"):
        publishing_terms()
