"""The signals module: which signals there are."""

import pytest
from django.dispatch import Signal

from pushserver import signals


def test_the_four_signals_of_the_predecessor_exist() -> None:
    """A receiver written for the predecessor finds each signal by its old name."""
    assert signals.__all__ == [
        "channel_subscribe",
        "channel_unsubscribe",
        "post_send_update",
        "pre_send_update",
    ]
    for name in signals.__all__:
        assert isinstance(getattr(signals, name), Signal)


def test_each_signal_is_one_of_its_own() -> None:
    """A receiver of one signal hears nothing of the others."""
    heard: list[str] = []

    def receiver(**kwargs: object) -> None:
        heard.append("subscribe")

    signals.channel_subscribe.connect(receiver)
    try:
        others = set(signals.__all__) - {"channel_subscribe"}
        for name in others:
            getattr(signals, name).send(sender=None)
    finally:
        signals.channel_subscribe.disconnect(receiver)
    assert heard == []


class Broken:
    """A receiver without the name that functions have."""

    def __call__(self, **kwargs: object) -> None:
        raise ValueError("broken receiver")


def test_a_receiver_that_raises_is_logged_and_the_others_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A robust send logs the traceback once, for receivers without a name as well."""
    heard: list[str] = []
    broken = Broken()

    def receiver(**kwargs: object) -> None:
        heard.append("update")

    signals.pre_send_update.connect(broken)
    signals.pre_send_update.connect(receiver)
    try:
        [(_, error), (_, nothing)] = signals.pre_send_update.send_robust(sender=None)
    finally:
        signals.pre_send_update.disconnect(broken)
        signals.pre_send_update.disconnect(receiver)
    assert (type(error), nothing) == (ValueError, None)
    assert heard == ["update"]
    [record] = caplog.records
    assert record.name == "pushserver.signals"
    assert record.exc_info is not None
    assert record.exc_info[1] is error
