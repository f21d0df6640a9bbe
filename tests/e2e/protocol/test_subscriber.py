"""The subscriber location's table, row by row."""

from __future__ import annotations

import asyncio

import pytest

from tests.e2e.protocol.target import Target, is_one_plain_line

# A wake-up has to arrive by itself, well before the resync that would repair it.
AT_ONCE = 2.0


@pytest.mark.nchan
async def test_a_kept_message_is_answered_at_once(target: Target, channel: str) -> None:
    """A GET for which a message is there gets it, with type, ETag and date."""
    await target.publish(channel, b"hello", content_type="text/x-greeting")
    async with asyncio.timeout(AT_ONCE):
        answer = await target.poll("long", channel)
    assert answer.status == 200
    assert answer.body == b"hello"
    assert answer["Content-Type"] == "text/x-greeting"
    assert answer["ETag"]
    assert answer["Last-Modified"].endswith(" GMT")


@pytest.mark.nchan
async def test_a_poll_is_held_until_a_message(target: Target, channel: str) -> None:
    """With nothing to say the request waits, and a publish ends the wait at once."""
    async with target.holding("long", channel) as [reader]:
        assert await reader.silent(0.1)
        await target.publish(channel, b"hello")
        answer = await reader.answer(within=AT_ONCE)
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.nchan
async def test_a_poll_is_held_after_its_cursor(target: Target, channel: str) -> None:
    """A reader that has seen everything waits for the next message."""
    [first] = await target.stored(channel, b"first")
    async with target.holding("long", channel, headers=first.cursor) as [reader]:
        await target.publish(channel, b"second")
        assert (await reader.answer(within=AT_ONCE)).body == b"second"


@pytest.mark.nchan
async def test_waiting_makes_no_difference(target: Target, channel: str) -> None:
    """Held readers, late readers: the same bytes, Date apart."""
    async with target.holding("long", channel, 2) as readers:
        await target.publish(channel, b"\x00\xffbytes", content_type="image/x-test")
        answers = [await reader.answer() for reader in readers]
    async with target.connect() as connection:
        answers.append(await connection.request("GET", target.path("long", channel)))
    assert len({answer.without_date() for answer in answers}) == 1


@pytest.mark.nchan
async def test_deletion_ends_the_wait(target: Target, channel: str) -> None:
    """A held reader gets 410 when the channel is deleted."""
    async with target.holding("long", channel) as [reader]:
        deleted = await target.request("DELETE", target.path("publish", channel))
        assert deleted.status == 200
        assert (await reader.answer(within=AT_ONCE)).status == 410


@pytest.mark.nchan
async def test_deletion_reaches_every_held_reader(target: Target, channel: str) -> None:
    """DELETE gives 410 to all of them, whatever their cursors."""
    [first] = await target.stored(channel, b"first")
    async with (
        target.holding("long", channel, 10, first.cursor) as readers,
        asyncio.timeout(AT_ONCE),
    ):
        await target.request("DELETE", target.path("publish", channel))
        statuses = [(await reader.answer()).status for reader in readers]
    assert statuses == [410] * 10


@pytest.mark.nchan
async def test_after_a_deletion_the_channel_is_empty(
    target: Target, channel: str
) -> None:
    """Polls that come after a DELETE are no 410: they find an empty channel."""
    await target.publish(channel)
    await target.request("DELETE", target.path("publish", channel))
    answer = await target.poll("interval", channel)
    assert answer.status == 304


@pytest.mark.nchan(differs="Nchan answers 408")
async def test_the_deadline_ends_the_wait(target: Target, channel: str) -> None:
    """Nothing came for the location's longest hold: 304."""
    started = asyncio.get_running_loop().time()
    answer = await target.poll("quick", channel)
    waited = asyncio.get_running_loop().time() - started
    assert answer.status == 304
    assert answer.body == b""
    assert waited > 0.35


@pytest.mark.nchan
async def test_interval_polling_never_waits(target: Target, channel: str) -> None:
    """An interval location says 304 at once when there is nothing new."""
    [message] = await target.stored(channel, b"seen")
    async with asyncio.timeout(AT_ONCE):
        assert (await target.poll("interval", "not-" + channel)).status == 304
        answer = await target.poll("interval", channel, message.cursor)
    assert answer.status == 304
    assert answer.body == b""


@pytest.mark.nchan
async def test_without_cursor_the_oldest_comes_first(
    target: Target, channel: str
) -> None:
    """A reader that sends no cursor starts at the oldest message kept."""
    for body in (b"one", b"two", b"three"):
        await target.publish(channel, body)
    assert (await target.poll("interval", channel)).body == b"one"


@pytest.mark.nchan
async def test_first_message_newest_starts_at_the_end(
    target: Target, channel: str
) -> None:
    """`first_message: newest` shows nothing old, and the next message."""
    await target.publish(channel, b"old")
    async with target.holding("newest", channel) as [reader]:
        await target.publish(channel, b"new")
        assert (await reader.answer(within=AT_ONCE)).body == b"new"


@pytest.mark.nchan
async def test_first_message_number_starts_that_far_from_the_end(
    target: Target, channel: str
) -> None:
    """`first_message: 2` starts with the last but one, and goes on from there."""
    for body in (b"one", b"two", b"three"):
        await target.publish(channel, body)
    first = await target.poll("latest", channel)
    second = await target.poll("latest", channel, first.cursor)
    assert [first.body, second.body] == [b"two", b"three"]


@pytest.mark.nchan
async def test_first_message_number_beyond_the_start(
    target: Target, channel: str
) -> None:
    """`first_message: 2` with one message kept starts with that one."""
    await target.publish(channel, b"only")
    assert (await target.poll("latest", channel)).body == b"only"


@pytest.mark.nchan
async def test_an_unknown_channel_is_an_empty_one(target: Target, channel: str) -> None:
    """With `create_on_get` (the default) nobody has to create a channel first."""
    assert (await target.poll("interval", channel)).status == 304
    async with target.holding("long", channel) as [reader]:
        await target.publish(channel, b"first ever")
        assert (await reader.answer()).body == b"first ever"


@pytest.mark.nchan(differs="a look leaves a channel for a while")
async def test_looking_does_not_create(target: Target, channel: str) -> None:
    """A poll of an unknown channel leaves no channel behind."""
    await target.poll("interval", channel)
    assert await target.info(channel) is None


@pytest.mark.nchan(differs="Nchan answers 403")
async def test_create_on_get_false_wants_a_channel(
    target: Target, channel: str
) -> None:
    """Without `create_on_get` an unknown channel is 404, a known one is served."""
    answer = await target.poll("known", channel)
    assert answer.status == 404
    assert is_one_plain_line(answer)
    await target.request("PUT", target.path("publish", channel))
    assert (await target.poll("known", channel)).status == 304
    await target.publish(channel, b"hello")
    assert (await target.poll("known", channel)).body == b"hello"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_a_subscriber_location_only_reads(
    target: Target, channel: str, method: str
) -> None:
    """Any method but GET and OPTIONS is 405 and told which are allowed."""
    answer = await target.request(method, target.path("long", channel), body=b"x")
    assert answer.status == 405
    assert answer.tokens("Allow") == {"get", "options"}
    assert await target.info(channel) is None


async def test_head_is_not_a_poll(target: Target, channel: str) -> None:
    """HEAD is 405 without a body, and the connection goes on."""
    await target.publish(channel)
    async with target.connect() as connection:
        answer = await connection.request("HEAD", target.path("long", channel))
        assert answer.status == 405
        assert answer.tokens("Allow") == {"get", "options"}
        following = await connection.request("GET", target.path("long", channel))
        assert following.body == b"news"


async def test_options_says_204(target: Target, channel: str) -> None:
    """OPTIONS is answered without a body, also where no CORS is configured."""
    answer = await target.request("OPTIONS", target.path("long", channel))
    assert answer.status == 204
    assert answer.body == b""


@pytest.mark.parametrize("location", ["long", "publish"])
async def test_a_refused_host_is_400(
    target: Target, channel: str, location: str
) -> None:
    """A Host that ALLOWED_HOSTS refuses is 400, in one line."""
    path = target.path(location, channel)
    answer = await target.request("GET", path, [("Host", "evil.example")])
    assert answer.status == 400
    assert is_one_plain_line(answer)


async def test_a_path_that_is_no_location_goes_to_django(target: Target) -> None:
    """The rest of the site is served by the same process."""
    answer = await target.request("GET", "/page/")
    assert (answer.status, answer.body) == (200, b"a page of Django")
