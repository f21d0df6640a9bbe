"""Locations: patterns in both directions."""

from dataclasses import replace

import pytest

from pushserver.conf import get_config
from pushserver.conf.locations import Location, prefix_pattern, url_pattern
from pushserver.problems import Refused


def location(url: str = "", *, prefix: str = "") -> Location:
    pattern = url_pattern(url) if url else prefix_pattern(prefix)
    return replace(get_config().locations[0], pattern=pattern)


@pytest.mark.parametrize("url", [r"/updates/([^/]+)", r"^/updates/([^/]+)$"])
def test_a_url_is_matched_as_a_whole(url: str) -> None:
    """Only the full path is a match, with and without anchors."""
    here = location(url)
    assert here.channel_id("/updates/a b") == "a b"
    for path in [
        "/x/updates/a",
        "/updates/a/b",
        "/updates/",
        "updates/a",
        "/Updates/a",
    ]:
        assert here.channel_id(path) is None


def test_a_prefix_takes_all_that_follows() -> None:
    """Slashes and line breaks belong to the id; nothing is no id."""
    here = location(prefix="/up.dates/")
    assert here.channel_id("/up.dates/a/b\n") == "a/b\n"
    assert here.channel_id("/up.dates/") is None
    assert here.channel_id("/upXdates/a") is None


def test_a_group_that_took_no_part_is_no_match() -> None:
    """A pattern with an optional group matches only with an id."""
    here = location(r"/updates(?:/([^/]+))?")
    assert here.channel_id("/updates") is None
    assert here.channel_id("/updates/a") == "a"
    assert here.reverse("a") == "/updates/a"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (r"/updates/([^/]+)", "/updates/{}"),
        (r"^/updates/(?P<channel>[^/]+)/?$", "/updates/{}"),
        (r"/v\d/(?:push/)?(.+)\.json", "/v0/{}.json"),
        (r"/ü d/([^/]+)", "/%C3%BC%20d/{}"),
        (r"/50%/(.+)", "/50%25/{}"),
        (r".*/u/(.+)", "/u/{}"),
        (r"/(?P<id>[^/]+)/again/(?P=id)", "/{0}/again/{0}"),
    ],
)
@pytest.mark.parametrize(
    ("channel_id", "quoted"),
    [("a", "a"), ("a b%ü", "a%20b%25%C3%BC"), ("%(_0)s", "%25%28_0%29s")],
)
def test_reversal_finds_the_path(
    url: str, path: str, channel_id: str, quoted: str
) -> None:
    """The path of an id is the pattern's text around the percent-encoded id."""
    assert location(url).reverse(channel_id) == path.format(quoted)


def test_the_reversed_prefix_encodes_the_slash() -> None:
    """An id with a slash gives one segment, which decodes to the same id."""
    assert location(prefix="/a-b/").reverse("x/y") == "/a-b/x%2Fy"


@pytest.mark.parametrize(
    ("url", "channel_id"),
    [(r"/u/([^/]+)", "a/b"), (r"/u/(\d+)", "x"), (r"/u/(x|y)", "z"), (r"/(a)\1", "a")],
)
def test_an_id_that_the_pattern_cannot_match(url: str, channel_id: str) -> None:
    """Reversing it raises an error that names the id and the pattern."""
    with pytest.raises(ValueError, match="cannot match the channel id") as caught:
        location(url).reverse(channel_id)
    assert repr(channel_id) in str(caught.value)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        r"/a|/b/(x)",  # a choice outside the group
        r"(?i)/u/(x)",  # flags
        r"/u/([^)]+)",  # Django's normalize miscounts the parenthesis
        r"/u/([a-z]){2}",  # the group twice
        r"u/(x)",
        r"//u/(x)",
    ],
)
def test_patterns_that_cannot_be_reversed(url: str) -> None:
    """They are refused when the settings are read, not when a link is made."""
    with pytest.raises(Refused, match="can be reversed"):
        url_pattern(url)


@pytest.mark.parametrize("groups", [0, 2])
def test_a_url_has_exactly_one_group(groups: int) -> None:
    """The error tells how many groups there are."""
    with pytest.raises(Refused, match=f"this one has {groups}"):
        url_pattern("/u/" + "(x)" * groups)


@pytest.mark.parametrize("prefix", ["", "updates/", "//evil.example/", None])
def test_a_prefix_begins_with_one_slash(prefix: object) -> None:
    """A prefix that no path can have, or that makes a URL of another host."""
    with pytest.raises(Refused, match="begins with one '/'"):
        prefix_pattern(prefix)
