import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

from tests.virtual_time import VirtualTimeLoop

if TYPE_CHECKING:
    from tests.daemon import Daemon

E2E = Path(__file__).parent / "e2e"


def pytest_configure() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    # Ignored where a shell has started us in the background, and then by every
    # server that a test wants to interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker(pytest.mark.e2e)


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Give unit tests virtual time; sockets and browsers live in the real one."""
    if item.path.is_relative_to(E2E) or item.get_closest_marker("real_time"):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualTimeLoop}


@pytest.fixture(scope="session")
def _tables() -> Iterator[None]:
    from django.db import connection

    # Django's in-memory test database is shared by all threads of the process.
    connection.creation.create_test_db(verbosity=0)
    yield
    connection.creation.destroy_test_db(":memory:", verbosity=0)


@pytest.fixture
def database(_tables: None) -> Iterator[None]:
    """An empty database with all tables, for tests that need users or sessions."""
    from django.core.management import call_command

    yield
    call_command("flush", verbosity=0, interactive=False)


@pytest.fixture
def login(database: None) -> str:
    """The Cookie header of a user called ada."""
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.create_user("ada"))
    return f"sessionid={client.cookies['sessionid'].value}"


@pytest.fixture
def process() -> Iterator[pytest.MonkeyPatch]:
    """This process begins anew, as far as sends are concerned."""
    from tests.daemon import new_process

    with new_process() as process:
        yield process


@pytest.fixture
def remote_daemon(process: pytest.MonkeyPatch) -> "Iterator[Daemon]":
    """A server that the sends of this process reach over HTTP."""
    from tests.daemon import start_daemon_by

    with start_daemon_by("over HTTP") as daemon:
        yield daemon
