"""CORS: pages of other origins read the channel, on every status."""

from __future__ import annotations

import pytest

from tests.e2e.protocol.client import Answer
from tests.e2e.protocol.target import Target

ONE, TWO = "https://one.example", "https://two.example"
EXPOSED = {"etag", "last-modified", "cache-control", "x-push-gap"}
ALLOWED = {"if-modified-since", "if-none-match", "last-event-id", "x-cookie"}


def origin(value: str) -> list[tuple[str, str]]:
    return [("Origin", value)]


def is_open_to(answer: Answer, value: str) -> bool:
    """Whether a page of that origin may read the answer and its headers."""
    return (
        answer.all("Access-Control-Allow-Origin") == [value]
        and answer.tokens("Access-Control-Expose-Headers") >= EXPOSED
    )


def is_closed(answer: Answer) -> bool:
    """Whether no page may read it: methods and headers alone permit nothing."""
    return not (
        answer.all("Access-Control-Allow-Origin")
        or answer.all("Access-Control-Allow-Credentials")
    )


async def test_one_origin(target: Target, channel: str) -> None:
    """The configured origin may read, another may not, and caches know it."""
    await target.publish(channel)
    allowed = await target.poll("origin", channel, origin(ONE))
    other = await target.poll("origin", channel, origin(TWO))
    assert (allowed.status, other.status) == (200, 200)
    assert is_open_to(allowed, ONE)
    assert is_closed(other) or other.all("Access-Control-Allow-Origin") == [ONE]


async def test_a_list_of_origins(target: Target, channel: str) -> None:
    """Each origin of the list is answered with its own name, others with none."""
    await target.publish(channel)
    for value in (ONE, TWO):
        answer = await target.poll("origins", channel, origin(value))
        assert is_open_to(answer, value)
        assert "origin" in answer.tokens("Vary")
    for stranger in ("https://evil.example", "null", ONE + ".evil.example"):
        answer = await target.poll("origins", channel, origin(stranger))
        assert answer.status == 200
        assert is_closed(answer)
        assert "origin" in answer.tokens("Vary")


async def test_vary_without_an_origin(target: Target, channel: str) -> None:
    """An answer to a request without Origin says that Origin matters, too."""
    await target.publish(channel)
    answer = await target.poll("origins", channel)
    assert "origin" in answer.tokens("Vary")


@pytest.mark.nchan(differs="Nchan only adds the headers that it needs itself")
async def test_every_origin(target: Target, channel: str) -> None:
    """`*` is sent as it is, never with credentials."""
    await target.publish(channel)
    answer = await target.poll("anywhere", channel, origin(TWO))
    assert is_open_to(answer, "*")
    assert answer.get("Access-Control-Allow-Credentials") is None


async def test_credentials(target: Target, channel: str) -> None:
    """`allow_credentials` lets cookies through, only where it is set."""
    await target.publish(channel)
    with_them = await target.poll("origins", channel, origin(ONE))
    without = await target.poll("origin", channel, origin(ONE))
    assert with_them["Access-Control-Allow-Credentials"] == "true"
    assert without.get("Access-Control-Allow-Credentials") is None


async def test_no_cors_unless_configured(target: Target, channel: str) -> None:
    """A location without `allow_origin` opens nothing."""
    await target.publish(channel)
    assert is_closed(await target.poll("long", channel, origin(ONE)))


async def test_the_preflight(target: Target, channel: str) -> None:
    """OPTIONS allows what polls send, and may be remembered."""
    answer = await target.request(
        "OPTIONS",
        target.path("origins", channel),
        [
            *origin(TWO),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "if-none-match,if-modified-since"),
        ],
    )
    assert answer.status == 204
    assert answer.all("Access-Control-Allow-Origin") == [TWO]
    assert answer["Access-Control-Allow-Credentials"] == "true"
    assert answer.tokens("Access-Control-Allow-Headers") >= ALLOWED
    assert "get" in answer.tokens("Access-Control-Allow-Methods")
    assert int(answer["Access-Control-Max-Age"]) > 0


async def test_the_preflight_of_a_stranger(target: Target, channel: str) -> None:
    """An origin that is not on the list gets its 204 and no permission."""
    answer = await target.request(
        "OPTIONS",
        target.path("origins", channel),
        [*origin("https://evil.example"), ("Access-Control-Request-Method", "GET")],
    )
    assert answer.status == 204
    assert is_closed(answer)
    assert "origin" in answer.tokens("Vary")


async def test_on_a_304(target: Target, channel: str) -> None:
    """A poll that timed out is readable, or the page would see an error."""
    answer = await target.poll("anywhere", channel, origin(ONE))
    assert answer.status == 304
    assert is_open_to(answer, "*")


async def test_on_a_400(target: Target, channel: str) -> None:
    """So is a malformed cursor."""
    headers = [*origin(ONE), ("If-None-Match", "abc")]
    answer = await target.poll("origin", channel, headers)
    assert answer.status == 400
    assert is_open_to(answer, ONE)


async def test_on_a_400_of_the_path(target: Target) -> None:
    """And a channel id that is refused."""
    path = target.path("origin", "x") + "%00"
    answer = await target.request("GET", path, origin(ONE))
    assert answer.status == 400
    assert is_open_to(answer, ONE)


async def test_on_a_404(target: Target, channel: str) -> None:
    """An unknown channel, where channels are not created by looking."""
    answer = await target.poll("origin", channel, origin(ONE))
    assert answer.status == 404
    assert is_open_to(answer, ONE)


async def test_on_a_405(target: Target, channel: str) -> None:
    """A method that is not allowed."""
    answer = await target.request("DELETE", target.path("origin", channel), origin(ONE))
    assert answer.status == 405
    assert is_open_to(answer, ONE)


async def test_on_409_and_410(target: Target, channel: str) -> None:
    """A conflict and a deletion."""
    headers = origin(TWO)
    async with target.holding("origins", channel, headers=headers) as [reader]:
        conflict = await target.poll("origins", channel, headers)
        await target.request("DELETE", target.path("publish", channel))
        gone = await reader.answer()
    assert (conflict.status, gone.status) == (409, 410)
    assert is_open_to(conflict, TWO)
    assert is_open_to(gone, TWO)
