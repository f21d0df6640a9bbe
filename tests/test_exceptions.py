"""Tests of pushserver.exceptions."""

import inspect

import pytest

from pushserver import exceptions


def leaves() -> list[type[exceptions.PushError]]:
    classes = [getattr(exceptions, name) for name in exceptions.__all__]
    return [each for each in classes if each is not exceptions.PushError]


@pytest.mark.parametrize("leaf", leaves())
def test_every_error_is_a_push_error_and_in_the_tree(leaf):
    """One except clause catches all of them, and the module's page names each."""
    assert issubclass(leaf, exceptions.PushError)
    assert leaf.__name__ in (inspect.getdoc(exceptions) or "")


@pytest.mark.parametrize(
    ("leaf", "builtin"),
    [
        (exceptions.InvalidChannelId, ValueError),
        (exceptions.InvalidCursor, ValueError),
        (exceptions.NotSerializable, TypeError),
    ],
)
def test_a_callers_mistake_is_the_builtin_error_too(leaf, builtin):
    """Code that knows nothing of us catches what it expects."""
    assert issubclass(leaf, builtin)


@pytest.mark.parametrize(
    "leaf", [exceptions.DaemonUnreachable, exceptions.StoreUnavailable]
)
def test_an_outage_says_whether_the_message_may_be_stored(leaf):
    """maybe_sent is False unless the message had left."""
    assert leaf("gone").maybe_sent is False
    assert leaf("gone", maybe_sent=True).maybe_sent is True


def test_a_refusal_has_its_status():
    """What publisher_host answered can be told apart by number."""
    error = exceptions.PublishRefused("no", status=403)
    assert (str(error), error.status) == ("no", 403)
