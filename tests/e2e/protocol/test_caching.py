"""What keeps caches and proxies from answering in our place."""

from __future__ import annotations

from tests.e2e.protocol.target import Target


async def test_a_message_is_not_stored_on_the_way(target: Target, channel: str) -> None:
    """`no-store`, and the tag again for clients that cannot read the header."""
    [answer] = await target.stored(channel, b"hello")
    assert answer["Cache-Control"] == f'no-store, etag="{answer.message_id}"'


async def test_a_304_is_not_stored_either(target: Target, channel: str) -> None:
    """A 304 carries the same headers as the 200 would."""
    [message] = await target.stored(channel, b"hello")
    answer = await target.poll("interval", channel, message.cursor)
    assert answer["Cache-Control"] == f'no-store, etag="{answer.message_id}"'
    assert answer.tokens("Vary") >= {"if-none-match", "if-modified-since"}


async def test_held_or_not_the_answer_varies_by_cursor(
    target: Target, channel: str
) -> None:
    """Vary names both request headers of the cursor."""
    await target.publish(channel)
    answer = await target.poll("long", channel)
    assert answer.tokens("Vary") >= {"if-none-match", "if-modified-since"}


async def test_without_cors_nothing_varies_by_origin(
    target: Target, channel: str
) -> None:
    """Where no origin is configured, Origin makes no difference."""
    await target.publish(channel)
    plain = await target.poll("long", channel)
    asked = await target.poll("long", channel, [("Origin", "https://one.example")])
    assert "origin" not in plain.tokens("Vary")
    assert plain.without_date() == asked.without_date()


async def test_errors_are_not_stored(target: Target, channel: str) -> None:
    """404 and 400 come and go: no cache may keep them."""
    missing = await target.poll("known", channel)
    malformed = await target.poll("long", channel, [("If-None-Match", "abc")])
    assert (missing.status, malformed.status) == (404, 400)
    for answer in (missing, malformed):
        assert "no-store" in answer.tokens("Cache-Control")


async def test_ends_of_a_wait_are_not_stored(target: Target, channel: str) -> None:
    """Nor 409 and 410."""
    async with target.holding("firstcomer", channel) as [reader]:
        conflict = await target.poll("firstcomer", channel)
        await target.request("DELETE", target.path("publish", channel))
        gone = await reader.answer()
    assert (conflict.status, gone.status) == (409, 410)
    for answer in (conflict, gone):
        assert "no-store" in answer.tokens("Cache-Control")


async def test_channel_information_is_not_stored(target: Target, channel: str) -> None:
    """What a publisher location says is true for a moment only."""
    await target.publish(channel)
    answer = await target.request("GET", target.path("publish", channel))
    assert "no-store" in answer.tokens("Cache-Control")
