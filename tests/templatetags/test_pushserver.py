"""``{% load pushserver %}``: the URL of a channel in a template."""

import json
from typing import Any

import pytest
from django.template import Context, Template
from django.test import override_settings
from django.urls import set_script_prefix
from django.utils.safestring import mark_safe

from pushserver import send_update
from pushserver.asgi import push_application
from pushserver.exceptions import InvalidChannelId


@pytest.fixture(autouse=True)
def serving_process() -> None:
    """Cursors are those of a process that serves push."""
    push_application()


def render(template: str, **context: Any) -> str:
    return Template("{% load pushserver %}" + template).render(Context(context))


def test_a_channel_has_a_url() -> None:
    """By default on the same site, at the first subscriber location."""
    assert render('{% channel_url "room" %}') == "/updates/room"


def test_the_id_may_be_a_variable() -> None:
    """And the result, too."""
    url = render("{% channel_url name as url %}[{{ url }}]", name="room")
    assert url == "[/updates/room]"


@override_settings(
    PUSH_SERVER={"subscriber_host": {"location": "push.example", "secure": True}}
)
def test_push_may_have_a_host_of_its_own() -> None:
    """subscriber_host stands before it."""
    assert render('{% channel_url "room" %}') == "https://push.example/updates/room"


def test_a_site_below_a_prefix() -> None:
    """The script prefix stands before it."""
    set_script_prefix("/app/")
    try:
        assert render('{% channel_url "room" %}') == "/app/updates/room"
    finally:
        set_script_prefix("/")


@pytest.mark.parametrize(
    "channel",
    [
        "<script>",
        "\"'><b>",
        "a b&c=d?e#f",
        "ä/\N{OCTOPUS}",
        "{{ x }}",
        "%",
        "javascript:",
    ],
)
@pytest.mark.parametrize("mark", [str, mark_safe])
def test_an_id_cannot_leave_the_attribute(channel: str, mark: Any) -> None:
    """Every character that means something in HTML or a URL is encoded."""
    html = render('<a href="{% channel_url name %}">', name=mark(channel))
    url = html.removeprefix('<a href="').removesuffix('">')
    assert url.startswith("/updates/")
    assert not set("<>\"'& ?#{}") & set(url)
    assert url.isascii()


@override_settings(
    PUSH_SERVER={"locations": [{"type": "subscriber", "url": r"/a&b'/([^/]+)"}]}
)
def test_the_pattern_is_escaped() -> None:
    """What the location's own pattern has is escaped as every variable is."""
    assert render('{% channel_url "room" %}') == "/a&amp;b&#x27;/room"


@pytest.mark.parametrize("channel", ["", "..", "a\nb", "x" * 256, None, 5])
def test_what_is_no_channel_is_an_error(channel: Any) -> None:
    """A page that would subscribe to nothing is not rendered."""
    with pytest.raises(InvalidChannelId):
        render("{% channel_url name %}", name=channel)


def test_a_url_may_have_the_cursor_of_the_moment() -> None:
    """What is rendered later is not lost; a cursor taken earlier is better still."""
    sent = send_update("tag-url", 1)
    assert sent is not None
    assert render('{% channel_url "tag-url" since=True %}').endswith(
        f"?since={sent.id}"
    )
    url = render('{% channel_url "tag-url" since=early %}', early="5-0")
    assert url == "/updates/tag-url?since=5-0"


@pytest.mark.parametrize(("option", "element"), [("", "push-config"), (' id="p"', "p")])
def test_what_push_js_starts_from(option: str, element: str) -> None:
    """JSON in an element that no script policy minds, whatever is in the names."""
    name = "</script><b>"
    html = render("{% push_config name 'tag-b'" + option + " %}", name=name)
    begin = f'<script id="{element}" type="application/json">'
    assert html.startswith(begin)
    text = html.removeprefix(begin).removesuffix("</script>")
    assert "<" not in text
    config = json.loads(text)
    assert list(config["channels"]) == [name, "tag-b"]
    assert config["multiplex"] == "/updates"


def test_a_page_may_keep_its_position_itself() -> None:
    """The cursor alone, for scripts that add it to the URL."""
    sent = send_update("tag-cursor", 1)
    assert sent is not None
    assert render('{% channel_cursor "tag-cursor" %}') == sent.id
