"""The body of every 2xx of a publisher location: information about the channel."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from tests.e2e.protocol.target import JSON, Target

NAMES = {"messages", "requested", "subscribers", "last_message_id"}
JSON_TYPES = ("application/json", "text/json")


@pytest.mark.nchan
async def test_numbers_in_json(target: Target, channel: str) -> None:
    """Messages kept, seconds since the last request, held readers, last id."""
    await target.publish(channel, b"one")
    await target.publish(channel, b"two")
    information = await target.info(channel)
    assert information is not None
    assert information.keys() >= NAMES
    assert information["messages"] == 2


@pytest.mark.nchan
async def test_held_readers_are_counted(target: Target, channel: str) -> None:
    """`subscribers` is the number of requests held right now."""
    async with target.holding("long", channel, 3) as readers:
        information = await target.info(channel)
        assert information is not None
        assert information["subscribers"] == 3
        assert information["messages"] == 0
        await target.publish(channel)
        for reader in readers:
            await reader.answer()
    await target.until_held(channel, 0)


async def test_the_last_id_is_the_tag(target: Target, channel: str) -> None:
    """`last_message_id` is what a reader of the last message has as ETag."""
    _, last = await target.stored(channel, b"one", b"two")
    information = await target.info(channel)
    assert information is not None
    assert information["last_message_id"] == last.message_id


@pytest.mark.nchan
async def test_requested_is_an_age(target: Target, channel: str) -> None:
    """`requested` counts seconds since the last poll."""
    await target.publish(channel)
    await target.poll("interval", channel)
    information = await target.info(channel)
    assert information is not None
    requested = information["requested"]
    assert isinstance(requested, int)
    assert 0 <= requested <= 5


@pytest.mark.nchan(differs="Nchan publishes what is PUT")
async def test_a_put_channel_has_nothing(target: Target, channel: str) -> None:
    """A channel that was only created has no messages and no readers."""
    await target.request("PUT", target.path("publish", channel))
    information = await target.info(channel)
    assert information is not None
    assert (information["messages"], information["subscribers"]) == (0, 0)


@pytest.mark.nchan
@pytest.mark.parametrize("method", ["POST", "PUT", "GET", "DELETE"])
async def test_every_method_tells(target: Target, channel: str, method: str) -> None:
    """The same information comes with each 2xx."""
    await target.publish(channel)
    path = target.path("publish", channel)
    body = b"x" if method == "POST" else None
    answer = await target.request(method, path, [JSON], body)
    assert answer.status in (200, 201, 202)
    assert answer["Content-Type"] in JSON_TYPES
    assert json.loads(answer.body).keys() >= NAMES


@pytest.mark.nchan
@pytest.mark.parametrize("accepted", ["application/json", "text/json"])
async def test_json(target: Target, channel: str, accepted: str) -> None:
    """JSON under the newer name and the one that Nchan knows."""
    await target.publish(channel)
    path = target.path("publish", channel)
    answer = await target.request("GET", path, [("Accept", accepted)])
    assert answer["Content-Type"] in JSON_TYPES
    assert json.loads(answer.body)["messages"] == 1


@pytest.mark.nchan
@pytest.mark.parametrize("accepted", ["application/xml", "text/xml"])
async def test_xml(target: Target, channel: str, accepted: str) -> None:
    """XML carries the same names as elements."""
    await target.publish(channel)
    path = target.path("publish", channel)
    answer = await target.request("GET", path, [("Accept", accepted)])
    assert answer["Content-Type"].split(";")[0] in ("application/xml", "text/xml")
    # Our own server wrote it a moment ago; nothing foreign is parsed here.
    root = ElementTree.fromstring(answer.body)
    assert {element.tag for element in root} >= {"messages", "subscribers"}
    assert root.findtext("messages") == "1"


@pytest.mark.nchan
@pytest.mark.parametrize("accepted", [None, "*/*", "text/plain", "image/png"])
async def test_plain_text(target: Target, channel: str, accepted: str | None) -> None:
    """Who asks for nothing we know gets plain text."""
    await target.publish(channel)
    path = target.path("publish", channel)
    headers = [("Accept", accepted)] if accepted else []
    answer = await target.request("GET", path, headers)
    assert answer.status == 200
    assert answer["Content-Type"].startswith("text/plain")
    assert b"messages: 1" in answer.body


@pytest.mark.nchan
async def test_a_browsers_accept_header(target: Target, channel: str) -> None:
    """A list with weights is read for what it prefers."""
    await target.publish(channel)
    path = target.path("publish", channel)
    accepted = "text/html;q=0.3, application/json, */*;q=0.1"
    answer = await target.request("GET", path, [("Accept", accepted)])
    assert json.loads(answer.body)["messages"] == 1
