"""What clients of a multiplex location may ask for, and what they are told."""

import json
from typing import Any

import pytest
from django.core.exceptions import BadRequest
from django.test import override_settings

from pushserver.conf import get_config
from pushserver.consumers import subscribing
from pushserver.consumers.subscribing import Asked, Refused, Wanted
from pushserver.messages import Cursor

LOCATIONS = [
    {"type": "subscriber", "url": r"/news/([^/]+)", "first_message": "newest"},
    {"type": "subscriber", "url": r"/other/(.+)", "store": "other"},
    {"type": "publisher", "prefix": "/put/"},
    {"type": "multiplex"},
]
ELEVEN = "abcdefghijk"
STORES: dict[str, Any] = {"default": {}, "other": {}}


def find(
    kind: Any, name: str, options: Any = None, prefix: str = "/"
) -> Wanted | Refused:
    with override_settings(PUSH_SERVER={"locations": LOCATIONS, "store": STORES}):
        asked = Asked(kind, name, options)
        return subscribing.find(asked, get_config(), prefix=prefix)


def read(body: Any, most: int = 10) -> list[tuple[str, str, Any]]:
    asked = subscribing.read_body(json.dumps(body).encode(), most=most)
    return [(each.kind, each.name, each.options) for each in asked]


def test_channels_are_named_by_id_and_by_url():
    """In the order in which they stand, each with what is said of it."""
    body = {"channels": {"b": {"since": "1-0"}, "a": {}}, "urls": {"/news/x": {}}}
    assert read(body) == [
        ("channel", "b", {"since": "1-0"}),
        ("channel", "a", {}),
        ("url", "/news/x", {}),
    ]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("", "no JSON"),
        ("nonsense", "no JSON"),
        (b"\xff", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[]", "no JSON object"),
        ("{}", "missing or empty"),
        ('{"channels": {}}', "missing or empty"),
        ('{"channels": ["a"]}', "'channels' is not an object"),
        ('{"urls": 1}', "'urls' is not an object"),
        ('{"channels": {"a": {}, "a": {}}}', "twice"),
        (json.dumps({"channels": {name: {} for name in ELEVEN}}), "11 channels"),
    ],
)
def test_a_request_that_is_wrong_as_a_whole(body: str | bytes, why: str):
    """Is refused with one line that says what is wrong."""
    data = body.encode() if isinstance(body, str) else body
    with pytest.raises(BadRequest, match=why):
        subscribing.read_body(data, most=10)


def test_a_frame_subscribes_and_unsubscribes():
    """Both at once, too."""
    frame = subscribing.read_frame(
        '{"subscribe": {"channels": {"a": {}}}, "unsubscribe": {"urls": ["/news/b"]}}'
    )
    assert [each.head for each in frame.subscribe] == ['"channel":"a",']
    assert [each.head for each in frame.unsubscribe] == ['"url":"/news/b",']


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "{}",
        '{"subscribe": []}',
        '{"subscribe": {"channels": ["a"]}}',
        '{"unsubscribe": {"channels": {"a": {}}}}',
        '{"unsubscribe": {"channels": [1]}}',
    ],
)
def test_a_bad_frame_is_refused(text: str):
    """With one line."""
    with pytest.raises(BadRequest):
        subscribing.read_frame(text)


def test_an_id_has_the_terms_of_the_first_subscriber_location():
    """Its store, and where readers start."""
    found = find("channel", "a", {"since": "5-1", "token": "unused"})
    assert isinstance(found, Wanted)
    assert (found.key, found.cursor) == (("default", "a"), Cursor(5, 1))
    assert found.location.first_message == "newest"


def test_a_url_has_the_terms_of_its_own_location():
    """As the page has it: percent-encoded, below the script prefix or not."""
    for path in ("/other/a%2F%C3%BC", "/mounted/other/a/%C3%BC"):
        found = find("url", path, prefix="/mounted/")
        assert isinstance(found, Wanted)
        assert (found.key, found.cursor) == (("other", "a/ü"), None)


@pytest.mark.parametrize(
    ("kind", "name", "options", "status"),
    [
        ("channel", "", {}, 400),
        ("channel", "x" * 256, {}, 400),
        ("channel", "..", {}, 400),
        ("channel", "a\n", {}, 400),
        ("channel", "a/b", {}, 404),  # the pattern has no such URL
        ("channel", "a", {"since": "garbage"}, 400),
        ("channel", "a", {"since": 5}, 400),
        ("channel", "a", "garbage", 400),
        ("url", "news/a", {}, 400),
        ("url", "/news/a?since=1-0", {}, 400),
        ("url", "/news/a#b", {}, 400),
        ("url", "/news/%FF", {}, 400),
        ("url", "/news/..", {}, 400),
        ("url", "/put/a", {}, 404),
        ("url", "/updates", {}, 404),
        ("url", "/nowhere/a", {}, 404),
    ],
)
def test_what_is_wrong_with_a_channel_is_told_of_it_alone(
    kind: Any, name: str, options: Any, status: int
):
    """As a status and one line."""
    found = find(kind, name, options)
    assert isinstance(found, Refused)
    assert found.status == status
    assert "\n" not in found.reason


def test_ids_need_a_subscriber_location():
    """Where there is none, no id can be read."""
    with override_settings(PUSH_SERVER={"locations": [{"type": "multiplex"}]}):
        found = subscribing.find(Asked("channel", "a", {}), get_config(), prefix="/")
    assert found == Refused('"channel":"a",', 404, "There is no subscriber location.")


def test_a_channel_is_where_the_settings_have_it_now():
    """Where it is is remembered for as long, but not of a long URL."""
    path = "/news/" + "%61" * 255
    for _ in range(2):
        found = find("url", path, {"since": ""})
        assert isinstance(found, Wanted)
        assert (found.head, found.key) == (f'"url":"{path}",', ("default", "a" * 255))
    locations = [{"type": "subscriber", "prefix": "/news/", "store": "other"}]
    longer = "/news/" + "%C3%BC" * 255
    with override_settings(PUSH_SERVER={"locations": locations, "store": STORES}):
        for url, channel_id in ((path, "a" * 255), (longer, "ü" * 255)):
            asked = Asked("url", url, None)
            found = subscribing.find(asked, get_config(), prefix="/")
            assert isinstance(found, Wanted)
            assert found.key == ("other", channel_id)
