"""The outages module: brief words about what is down."""

import logging
import time

import pytest

from pushserver.outages import OncePerMinute, Outage


def test_an_outage_is_said_once_and_its_end_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However often it fails in between."""
    outage = Outage("The thing")
    assert not outage.end()
    for _ in range(3):
        outage.begin(OSError("no route"))
        assert outage.down
    assert outage.end()
    assert not outage.end()
    assert not outage.down
    assert caplog.messages == ["The thing is down: no route", "The thing is back"]


def test_a_second_outage_is_said_again(caplog: pytest.LogCaptureFixture) -> None:
    """Each has its two lines; an error without words is named by its class."""
    outage = Outage("The thing")
    for _ in range(2):
        outage.begin(TimeoutError())
        outage.end()
    assert (
        caplog.messages == ["The thing is down: TimeoutError", "The thing is back"] * 2
    )


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("any", logging.ERROR, "", 0, text, args, None)


def test_a_message_passes_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its arguments; another message is not held back by it."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    once = OncePerMinute()
    assert once.filter(record("it is %s", "down"))
    assert not once.filter(record("it is %s", "gone"))
    assert once.filter(record("something else"))
    now += 59.9
    assert not once.filter(record("it is %s", "down"))
    now += 0.2
    assert once.filter(record("it is %s", "down"))
    assert not once.filter(record("it is %s", "down"))
