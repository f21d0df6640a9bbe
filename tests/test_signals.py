"""The signals module: which signals there are."""

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
        assert type(getattr(signals, name)) is Signal


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
