"""The site with receivers connected, DEBUG on and code that breaks."""

from __future__ import annotations

from tests.e2e.protocol import starting
from tests.e2e.protocol.target import is_one_plain_line, until
from tests.e2e.servers import Server


async def test_a_receiver_that_raises(listening: Server, channel: str) -> None:
    """It is logged and changes nothing: the reader is held and gets the message."""
    target = starting.target(listening)
    channel = "broken-receiver-" + channel
    async with target.holding("long", channel) as [reader]:
        assert (await target.publish(channel, b"hello")).status == 201
        answer = await reader.answer()
    assert (answer.status, answer.body) == (200, b"hello")

    async def logged() -> bool:
        return f"a bug in a receiver, on {channel}" in listening.output

    await until(logged)


async def test_a_middleware_that_raises(listening: Server, channel: str) -> None:
    """500 with one plain line, in DEBUG too, and a line in `django.request`."""
    target = starting.target(listening)
    channel = "broken-middleware-" + channel
    answer = await target.poll("long", channel)
    assert answer.status == 500
    assert is_one_plain_line(answer)
    assert b"a bug in a middleware" not in answer.body

    async def logged() -> bool:
        log = listening.output
        return "ERROR django.request" in log and "a bug in a middleware" in log

    await until(logged)


async def test_a_500_is_readable_by_the_page(listening: Server, channel: str) -> None:
    """CORS goes with a 500 as with everything else."""
    target = starting.target(listening)
    channel = "broken-middleware-" + channel
    headers = [("Origin", "https://one.example")]
    answer = await target.poll("origins", channel, headers)
    assert answer.status == 500
    assert answer.all("Access-Control-Allow-Origin") == ["https://one.example"]
    assert answer["Access-Control-Allow-Credentials"] == "true"


async def test_what_a_middleware_answers(listening: Server, channel: str) -> None:
    """A redirect by the project's own middleware is what the client gets."""
    target = starting.target(listening)
    answer = await target.poll("long", "members-only-" + channel)
    assert answer.status == 302
    assert answer["Location"] == "/login/"


async def test_polls_work_with_receivers(listening: Server, channel: str) -> None:
    """Listening changes no answer: a kept message, a held one, nothing new."""
    target = starting.target(listening)
    first, second = await target.stored(channel, b"one", b"two")
    assert (await target.poll("quick", channel, second.cursor)).status == 304
    assert (await target.poll("long", channel, first.cursor)).body == b"two"
    async with target.holding("long", channel, 3, second.cursor) as readers:
        await target.publish(channel, b"three")
        assert [(await each.answer()).body for each in readers] == [b"three"] * 3


async def test_clients_that_vanish(listening: Server, channel: str) -> None:
    """With receivers, too, they count no longer after a second."""
    target = starting.target(listening)
    async with target.holding("long", channel, 3) as readers:
        for reader in readers:
            reader.vanish()

        async def nobody() -> bool:
            return await target.subscribers(channel) == 0

        await until(nobody, within=1.0)
        assert (await target.publish(channel)).status == 202


async def test_waived_storage_ends(listening: Server, channel: str) -> None:
    """After twice `resync` (0.5 s here) a passing message is not even bridged."""
    target = starting.target(listening)
    [kept] = await target.stored(channel, b"kept")
    await target.publish(channel, b"passing", location="publish-passing")
    assert (await target.poll("interval", channel, kept.cursor)).body == b"passing"

    async def over() -> bool:
        return (await target.poll("interval", channel, kept.cursor)).status == 304

    await until(over, within=3.0)
