"""Channel ids in URLs: percent-encoded UTF-8, compared exactly, within limits."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.target import Target, is_one_plain_line


@pytest.mark.nchan
@pytest.mark.parametrize(
    "name",
    ["plain", "with space", "a+b", "100%", "q?x=1&y", "semi;colon", "a:b@c", "#top"],
)
async def test_ids_travel(target: Target, channel: str, name: str) -> None:
    """What the publisher names is what the subscriber names."""
    identifier = f"{name}-{channel}"
    await target.publish(identifier, b"hello")
    assert (await target.poll("interval", identifier)).body == b"hello"


@pytest.mark.nchan
@pytest.mark.parametrize("name", ["grüße", "Привет", "日本", "🚀", "e\u0301", "é"])
async def test_ids_beyond_ascii(target: Target, channel: str, name: str) -> None:
    """Any text is an id, encoded as UTF-8."""
    identifier = name + channel
    await target.publish(identifier, b"hello")
    assert (await target.poll("interval", identifier)).body == b"hello"


@pytest.mark.nchan
async def test_ids_are_compared_exactly(target: Target, channel: str) -> None:
    """Case, accents, spaces and dots make different channels."""
    await target.publish("é" + channel, b"hello")
    for name in ("É" + channel, "e\u0301" + channel, f"é{channel} ", f"é{channel}."):
        assert (await target.poll("interval", name)).status == 304, name


@pytest.mark.nchan
async def test_encoded_or_not_is_the_same(target: Target, channel: str) -> None:
    """Matching happens on the decoded path: `%2D` and `-` are one."""
    await target.publish(channel, b"hello")
    path = target.path("interval", channel).replace("channel-", "%63hannel%2d")
    assert (await target.request("GET", path)).body == b"hello"


@pytest.mark.nchan
async def test_the_query_is_no_part_of_it(target: Target, channel: str) -> None:
    """What follows `?` does not name a channel."""
    await target.publish(channel, b"hello")
    answer = await target.poll("interval", channel, query="_=1700000000")
    assert answer.body == b"hello"


async def test_a_slash_where_the_pattern_allows_it(
    target: Target, channel: str
) -> None:
    """`/` belongs to the id under a prefix, written either way."""
    identifier = f"a/b/{channel}"
    await target.publish(identifier, b"hello", location="publish-path")
    assert (await target.poll("path", identifier)).body == b"hello"
    path = target.path("path", identifier).replace("%2F", "/")
    assert (await target.request("GET", path)).body == b"hello"


async def test_a_slash_where_it_does_not(target: Target, channel: str) -> None:
    """Elsewhere the path is no location, however the slash is written."""
    for slash in ("/", "%2F"):
        path = target.path("interval", "a") + slash + channel
        assert (await target.request("GET", path)).status == 404


@pytest.mark.parametrize("letter", ["x", "é", "🚀"])
async def test_ids_of_255_characters(target: Target, channel: str, letter: str) -> None:
    """Length is counted in characters, not in bytes: 255 work, 256 are 400."""
    longest = channel + letter * (255 - len(channel))
    await target.publish(longest, b"hello")
    assert (await target.poll("interval", longest)).body == b"hello"
    for location in ("interval", "publish"):
        answer = await target.request("GET", target.path(location, longest + letter))
        assert answer.status == 400
        assert is_one_plain_line(answer)


REFUSED = {
    "dot": ".",
    "two dots": "..",
    "encoded dots": "%2e%2e",
    "half encoded dots": ".%2e",
    "NUL": "a%00b",
    "CR LF": "a%0d%0aX-Evil:%201",
    "LF": "a%0a",
    "tab": "a%09b",
    "escape": "%1b[0m",
    "delete": "%7f",
    "C1 control": "%c2%85",
    "no UTF-8": "%ff%fe",
    "cut UTF-8": "%e2%82",
    "overlong slash": "%c0%af",
    "surrogate": "%ed%a0%80",
    "no hexadecimal": "%zz",
    "half of an escape": "a%4",
    "only a percent sign": "a%",
}


@pytest.mark.parametrize("location", ["interval", "path", "publish", "publish-path"])
@pytest.mark.parametrize("refused", REFUSED.values(), ids=REFUSED)
async def test_refused_ids(target: Target, location: str, refused: str) -> None:
    """Controls, dots and bad encoding: 400 in one line, on both kinds of location."""
    path = target.path(location, "x").removesuffix("x") + refused
    method = "POST" if location.startswith("publish") else "GET"
    body = b"x" if method == "POST" else None
    answer = await target.request(method, path, body=body)
    assert answer.status == 400
    assert is_one_plain_line(answer)
    assert answer.get("X-Evil") is None


@pytest.mark.parametrize("location", ["free", "publish-free"])
async def test_an_empty_id(target: Target, location: str) -> None:
    """Where the pattern matches nothing at all, nothing is no channel: 400."""
    answer = await target.request("GET", target.path(location, ""))
    assert answer.status == 400
    assert is_one_plain_line(answer)
