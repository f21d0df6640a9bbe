"""How a reader says what it has seen, and what it gets for it."""

from __future__ import annotations

import re
from email.utils import formatdate, parsedate_to_datetime

import pytest

from tests.e2e.protocol.client import Answer
from tests.e2e.protocol.target import Target, is_one_plain_line, until

# A millisecond in the year 2255, and the second it lies in.
FUTURE = "9000000000000-0"
FUTURE_DATE = formatdate(9_000_000_000, usegmt=True)
EPOCH = "Thu, 01 Jan 1970 00:00:00 GMT"


def seconds(answer: Answer) -> int:
    return int(parsedate_to_datetime(answer["Last-Modified"]).timestamp())


@pytest.mark.nchan(differs="tags count within the second of the date")
async def test_the_cursor_is_the_message_id(target: Target, channel: str) -> None:
    """ETag is the quoted id, Last-Modified the same instant in whole seconds."""
    [answer] = await target.stored(channel, b"hello")
    match = re.fullmatch(r'"([0-9]+)-[0-9]+"', answer["ETag"])
    assert match
    assert seconds(answer) == int(match[1]) // 1000
    assert answer["Last-Modified"] == formatdate(seconds(answer), usegmt=True)


@pytest.mark.nchan
async def test_positions_never_decrease(target: Target, channel: str) -> None:
    """Dates of one channel never go back, and no two messages share a position."""
    bodies = [b"%d" % number for number in range(20)]
    answers = await target.stored(channel, *bodies)
    dates = [seconds(answer) for answer in answers]
    assert dates == sorted(dates)
    assert (
        len(
            {
                (answer["ETag"], date)
                for answer, date in zip(answers, dates, strict=True)
            }
        )
        == 20
    )


async def test_ids_strictly_increase(target: Target, channel: str) -> None:
    """Ids of one channel increase as pairs of numbers."""
    answers = await target.stored(channel, *(b"%d" % n for n in range(20)))
    pairs = [tuple(map(int, answer.message_id.split("-"))) for answer in answers]
    assert pairs == sorted(set(pairs))


@pytest.mark.nchan
async def test_both_headers_walk_through_the_channel(
    target: Target, channel: str
) -> None:
    """ETag and Last-Modified, sent back, give the next message."""
    first, second, _ = await target.stored(channel, b"one", b"two", b"three")
    assert (await target.poll("interval", channel, first.cursor)).body == b"two"
    assert (await target.poll("interval", channel, second.cursor)).body == b"three"


@pytest.mark.parametrize(
    "form", ['"{}"', "{}", 'W/"{}"', '"{}-gzip"', 'W/"{}-gzip"', "{}-gzip"]
)
async def test_spellings_of_if_none_match(
    target: Target, channel: str, form: str
) -> None:
    """Quoted, unquoted, weak, or with what a compressing proxy adds."""
    first, _ = await target.stored(channel, b"one", b"two")
    tag = form.format(first.message_id)
    answer = await target.poll("interval", channel, [("If-None-Match", tag)])
    assert (answer.status, answer.body) == (200, b"two")


@pytest.mark.parametrize(
    "query", ["since={}", "last_event_id={}", "lastEventId={}", "x=1&since={}&y=2"]
)
async def test_a_cursor_in_the_query(target: Target, channel: str, query: str) -> None:
    """What clients without headers of their own can send."""
    first, _ = await target.stored(channel, b"one", b"two")
    query = query.format(first.message_id)
    assert (await target.poll("interval", channel, query=query)).body == b"two"


async def test_last_event_id(target: Target, channel: str) -> None:
    """The header of EventSource is a cursor on every transport."""
    first, _ = await target.stored(channel, b"one", b"two")
    headers = [("Last-Event-ID", first.message_id)]
    assert (await target.poll("interval", channel, headers)).body == b"two"


async def test_which_cursor_counts(target: Target, channel: str) -> None:
    """If-None-Match, then a date alone, then Last-Event-ID, then the query."""
    first, second, third = await target.stored(channel, b"1", b"2", b"3")
    query = f"since={third.message_id}"
    event_id = ("Last-Event-ID", second.message_id)
    tag = ("If-None-Match", first["ETag"])
    past = ("If-Modified-Since", EPOCH)

    async def read(*headers: tuple[str, str]) -> Answer:
        return await target.poll("interval", channel, headers, query)

    assert (await read()).status == 304
    assert (await read(event_id)).body == b"3"
    assert (await read(past, event_id)).body == b"1"
    assert (await read(event_id, past, tag)).body == b"2"
    assert (await read(("If-Modified-Since", FUTURE_DATE), tag)).body == b"2"


@pytest.mark.nchan(differs="Nchan wants a tag beside the date")
async def test_a_date_alone_never_skips(target: Target, channel: str) -> None:
    """If-Modified-Since alone gives the first message of that second or later."""
    answers = await target.stored(channel, b"first")

    async def a_later_second() -> bool:
        body = b"%d" % len(answers)
        await target.publish(channel, body)
        answers.append(await target.poll("interval", channel, answers[-1].cursor))
        return seconds(answers[-1]) > seconds(answers[0])

    await until(a_later_second)
    first, last = answers[0], answers[-1]
    for date, expected in [
        (EPOCH, first),
        (formatdate(seconds(first) - 1, usegmt=True), first),
        (first["Last-Modified"], first),
        (last["Last-Modified"], last),
    ]:
        headers = [("If-Modified-Since", date)]
        answer = await target.poll("interval", channel, headers)
        assert (answer.status, answer.body) == (200, expected.body), date


async def test_a_date_alone_in_the_future(target: Target, channel: str) -> None:
    """A clock that is ahead shows nothing old, and misses nothing new."""
    await target.publish(channel, b"old")
    date = [("If-Modified-Since", FUTURE_DATE)]
    async with target.holding("long", channel, headers=date) as [reader]:
        await target.publish(channel, b"new")
        assert (await reader.answer()).body == b"new"


@pytest.mark.nchan
async def test_how_old_clients_start(target: Target, channel: str) -> None:
    """Tag `0` with the first second of 1970 is the beginning."""
    await target.publish(channel, b"one")
    start = [("If-None-Match", "0"), ("If-Modified-Since", EPOCH)]
    assert (await target.poll("interval", channel, start)).body == b"one"


async def test_a_bare_number_counts_within_its_second(
    target: Target, channel: str
) -> None:
    """A tag without milliseconds belongs to the date's second and skips nothing."""
    first, _ = await target.stored(channel, b"one", b"two")
    before = formatdate(seconds(first) - 1, usegmt=True)
    headers = [("If-None-Match", "0"), ("If-Modified-Since", before)]
    assert (await target.poll("interval", channel, headers)).body == b"one"
    after = [("If-None-Match", '"0"'), ("If-Modified-Since", FUTURE_DATE)]
    assert (await target.poll("interval", channel, after)).status == 304


@pytest.mark.parametrize(
    "headers",
    [
        [("If-None-Match", f'"{FUTURE}"')],
        [("If-None-Match", f'"{FUTURE}"'), ("If-Modified-Since", FUTURE_DATE)],
        [("Last-Event-ID", FUTURE)],
    ],
    ids=["tag", "tag and date", "event id"],
)
async def test_a_cursor_from_the_future(
    target: Target, channel: str, headers: list[tuple[str, str]]
) -> None:
    """It counts as the newest id: no old message, and the next one arrives."""
    [old] = await target.stored(channel, b"old")
    clamped = await target.poll("interval", channel, headers)
    assert clamped.status == 304
    assert clamped["ETag"] == old["ETag"]
    async with target.holding("long", channel, headers=headers) as [reader]:
        assert (await target.publish(channel, b"new")).status == 201
        answer = await reader.answer()
    assert answer.body == b"new"
    assert answer.get("X-Push-Gap") is None


@pytest.mark.nchan(differs="positions start over within a second")
async def test_an_old_cursor_after_a_deletion(target: Target, channel: str) -> None:
    """Whatever is published after the DELETE arrives, in the same second too."""
    _, last = await target.stored(channel, b"one", b"two")
    for number in range(5):
        await target.request("DELETE", target.path("publish", channel))
        body = b"after deletion %d" % number
        await target.publish(channel, body)
        assert (await target.poll("interval", channel, last.cursor)).body == body


async def test_ids_grow_over_deletions(target: Target, channel: str) -> None:
    """A channel that comes back goes on where it was, it does not start over."""
    pairs = []
    for number in range(5):
        [answer] = await target.stored(channel, b"%d" % number)
        pairs.append(tuple(map(int, answer.message_id.split("-"))))
        await target.request("DELETE", target.path("publish", channel))
    assert pairs == sorted(set(pairs))


@pytest.mark.nchan
async def test_held_over_a_deletion(target: Target, channel: str) -> None:
    """The cursor from before a DELETE is held and gets what comes next."""
    [old] = await target.stored(channel, b"old")
    await target.request("DELETE", target.path("publish", channel))
    async with target.holding("long", channel, headers=old.cursor) as [reader]:
        await target.publish(channel, b"new")
        assert (await reader.answer()).body == b"new"


MALFORMED = [
    "abc",
    '"abc"',
    '""',
    '"',
    '"1-',
    '"-1"',
    '"1-"',
    '"--"',
    '"1-2-3"',
    '"1-x"',
    '"0x10-0"',
    '"1_0-0"',
    '" 1-0 "',
    '"+1-0"',
    '"1.5-0"',
    '"\xb2-0"',
    '"' + "9" * 400 + '-0"',
    '"1-' + "9" * 400 + '"',
]


@pytest.mark.parametrize("dated", [False, True], ids=["alone", "with date"])
@pytest.mark.parametrize("tag", MALFORMED, ids=range(len(MALFORMED)))
async def test_a_malformed_tag(
    target: Target, channel: str, tag: str, dated: bool
) -> None:
    """A tag that is no position is 400 in one line, with or without a date."""
    await target.publish(channel)
    headers = [("If-None-Match", tag)]
    if dated:
        headers.append(("If-Modified-Since", EPOCH))
    answer = await target.poll("interval", channel, headers)
    assert answer.status == 400
    assert is_one_plain_line(answer)


@pytest.mark.parametrize(
    "date", ["yesterday", "0", "Thu, 41 Jan 2026 00:00:00 GMT", "\xff", "99999999999"]
)
async def test_a_malformed_date(target: Target, channel: str, date: str) -> None:
    """A date alone that is no date is a malformed cursor."""
    await target.publish(channel)
    answer = await target.poll("interval", channel, [("If-Modified-Since", date)])
    assert answer.status == 400
    assert is_one_plain_line(answer)


@pytest.mark.parametrize("name", ["since", "last_event_id", "lastEventId"])
@pytest.mark.parametrize("value", ["abc", "1-2-3", "%00", "1-0%0d%0aX:1", "%ff"])
async def test_a_malformed_query(
    target: Target, channel: str, name: str, value: str
) -> None:
    """A cursor in the query is held to the same rules."""
    answer = await target.poll("interval", channel, query=f"{name}={value}")
    assert answer.status == 400
    assert is_one_plain_line(answer)


async def test_a_malformed_event_id(target: Target, channel: str) -> None:
    """So is Last-Event-ID."""
    answer = await target.poll("interval", channel, [("Last-Event-ID", "abc")])
    assert answer.status == 400
    assert is_one_plain_line(answer)
