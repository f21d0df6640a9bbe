"""The old import path: what a project of the predecessor imports and calls."""

from inspect import signature

import pytest
from django.test import override_settings

import pushserver
from pushserver import exceptions
from pushserver.utils import updates


def test_the_old_names_are_the_new_functions() -> None:
    """Nothing behaves differently for being imported from the old place."""
    assert updates.__all__ == ["publisher_url", "send_update", "subscriber_url"]
    assert updates.send_update is pushserver.send_update
    assert updates.subscriber_url is pushserver.channel_url
    assert updates.publisher_url is pushserver.publisher_url


def test_send_update_takes_its_arguments_by_position() -> None:
    """Old code passes channel_id, data, already_serialized, ignore_errors in a row."""
    parameters = list(signature(updates.send_update).parameters.values())[:4]
    assert [each.name for each in parameters] == [
        *("channel_id", "data", "already_serialized", "ignore_errors")
    ]
    assert {each.kind for each in parameters} == {parameters[0].POSITIONAL_OR_KEYWORD}


@override_settings(PUSH_SERVER={"locations": []})
def test_ignore_errors_by_position_is_respected() -> None:
    """The fourth argument decides whether an update that fails is an error."""
    assert updates.send_update("news", "{}", True, True) is None
    with pytest.raises(exceptions.NobodyListens):
        updates.send_update("news", "{}", True, False)


def test_the_urls_are_at_the_default_locations() -> None:
    """subscriber_url is for pages, publisher_url for whoever publishes."""
    assert updates.subscriber_url("news") == "/updates/news"
    assert updates.publisher_url("news") == "http://127.0.0.1:8001/send-update/news"
