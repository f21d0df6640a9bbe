"""The demo site inside the test process, on the test database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment

import demo.settings
from pushserver.signals import channel_subscribe, channel_unsubscribe, post_send_update

SETTINGS = {
    name: getattr(demo.settings, name)
    for name in dir(demo.settings)
    if name.isupper() and name not in {"BASE_DIR", "DATABASES"}
} | {
    # Daphne's own app only changes runserver, and installs an event loop for it.
    "INSTALLED_APPS": [app for app in demo.settings.INSTALLED_APPS if app != "daphne"],
    "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
}


@pytest.fixture
def site(database: None) -> Iterator[None]:
    """The demo site after `manage.py demo_setup`."""
    with override_settings(**SETTINGS):
        setup_test_environment()
        try:
            call_command("demo_setup")
            yield
            call_command("flush", verbosity=0, interactive=False)
        finally:
            teardown_test_environment()
            disconnect_receivers()


def disconnect_receivers() -> None:
    """Take back what the demo's AppConfig did, for the tests of others."""
    from demo import receivers

    channel_subscribe.disconnect(receivers.poll_began)
    channel_unsubscribe.disconnect(receivers.poll_ended)


@pytest.fixture
def client(site: None) -> Client:
    return Client()


@pytest.fixture
def sent(site: None) -> Iterator[list[tuple[str, Any]]]:
    """What the site has sent: channels and updates."""
    updates: list[tuple[str, Any]] = []

    def receiver(channel_id: str, data: Any, **kwargs: Any) -> None:
        updates.append((channel_id, data))

    post_send_update.connect(receiver)
    yield updates
    post_send_update.disconnect(receiver)
