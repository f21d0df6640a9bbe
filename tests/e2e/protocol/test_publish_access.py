"""Who may publish over HTTP by address, and who may not although it could."""

from __future__ import annotations

import pytest

from tests.e2e.protocol import starting
from tests.e2e.protocol.target import Target, is_one_plain_line
from tests.e2e.servers import Server

METHODS = ["POST", "PUT", "GET", "DELETE"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("location", ["publish-elsewhere", "publish-default"])
async def test_an_address_that_is_not_allowed(
    target: Target, channel: str, location: str, method: str
) -> None:
    """Outside of `allow` (by default: everybody, DEBUG being off) all is 403."""
    await target.publish(channel, b"mine")
    path = target.path(location, channel)
    answer = await target.request(method, path, body=b"x")
    assert answer.status == 403
    assert is_one_plain_line(answer)
    [kept] = [await target.poll("interval", channel)]
    assert kept.body == b"mine"
    assert (await target.poll("interval", channel, kept.cursor)).status == 304


@pytest.mark.parametrize(
    "header",
    [
        ("Origin", "http://127.0.0.1"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Sec-Fetch-Site", "same-origin"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("method", METHODS)
async def test_a_web_page_is_not_its_address(
    target: Target, channel: str, header: tuple[str, str], method: str
) -> None:
    """What a page in the developer's own browser sends is 403 from any address."""
    path = target.path("publish", channel)
    answer = await target.request(method, path, [header], b"x")
    assert answer.status == 403
    assert is_one_plain_line(answer)
    assert await target.info(channel) is None


async def test_an_address_typed_into_the_browser(target: Target, channel: str) -> None:
    """`Sec-Fetch-Site: none` is no page's doing."""
    sent = await target.publish(channel, headers=[("Sec-Fetch-Site", "none")])
    assert sent.status == 202


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-For", "127.0.0.1, 127.0.0.1"),
        ("X-Forwarded-For", "nonsense"),
        ("X-Forwarded-For", ""),
        ("Forwarded", "for=127.0.0.1"),
        ("Forwarded", "for=203.0.113.7;proto=https"),
    ],
    ids=" ".join,
)
async def test_a_forwarded_request_is_not_loopback(
    target: Target, channel: str, header: tuple[str, str]
) -> None:
    """Behind a proxy that nobody trusts, its own address counts for nothing."""
    answer = await target.publish(channel, headers=[header])
    assert answer.status == 403
    assert await target.info(channel) is None


@pytest.mark.parametrize(
    "token", ["", "nonsense", "a:b:c", "eyJhIjoxfQ:1tT8vF:" + "x" * 43, "\xff"]
)
async def test_a_forged_signature(target: Target, channel: str, token: str) -> None:
    """A token that the project did not sign opens nothing."""
    headers = [("Authorization", f"Bearer {token}")]
    answer = await target.publish(
        channel, location="publish-elsewhere", headers=headers
    )
    assert answer.status == 403
    assert is_one_plain_line(answer)


async def test_a_trusted_proxy_is_believed(listening: Server, channel: str) -> None:
    """Behind a trusted proxy the address it names is judged, wherever it is from."""
    target = starting.target(listening)

    async def forwarded(location: str, address: str) -> int:
        headers = [("X-Forwarded-For", address)]
        answer = await target.publish(channel, location=location, headers=headers)
        return answer.status

    assert await forwarded("publish-elsewhere", "192.0.2.9") == 202
    assert await forwarded("publish-elsewhere", "203.0.113.7") == 403
    assert await forwarded("publish", "203.0.113.7") == 403
    assert await forwarded("publish", "nonsense") == 403
    # Who connected to the proxy stands last; what stands before, anybody may claim.
    assert await forwarded("publish-elsewhere", "192.0.2.9, 203.0.113.7") == 403
    assert await forwarded("publish-elsewhere", "203.0.113.7, 192.0.2.9") == 202


async def test_loopback_publishes_while_debugging(
    listening: Server, channel: str
) -> None:
    """With DEBUG on, and nothing said about `allow`, curl on this machine works."""
    sent = await starting.target(listening).publish(channel, location="publish-default")
    assert sent.status == 202
