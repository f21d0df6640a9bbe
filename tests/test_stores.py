import asyncio
import sys
import threading
from typing import Any

import pytest
from django.test import override_settings

from pushserver.stores import get_store
from pushserver.stores.memory import MemoryStore


class RecordingStore(MemoryStore):
    """A user's store with an option of its own."""

    def __init__(self, *, colour: str, **options: Any) -> None:
        super().__init__(**options)
        self.colour = colour
        self.options = options


CUSTOM = {
    "default": {},
    "other": {
        "type": "tests.test_stores.RecordingStore",
        "colour": "blue",
        "min_messages": 1,
        "max_messages": 2,
        "message_timeout": 3,
        "channel_timeout": 4,
    },
}


def test_one_store_an_alias():
    """All of a process use the same object, so that they see the same messages."""
    assert isinstance(get_store(), MemoryStore)
    assert get_store() is get_store("default")


def test_threads_that_begin_together_get_the_same_store():
    """None of them appends to a store that nobody reads, now or a moment later."""
    barrier = threading.Barrier(8)
    stores: set[int] = set()

    def ask() -> None:
        barrier.wait()
        stores.update(id(get_store()) for _ in range(20))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(1, 30):
            stores.clear()
            with override_settings(PUSH_SERVER={"store": {"max_messages": number}}):
                threads = [threading.Thread(target=ask) for _ in range(barrier.parties)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert stores == {id(get_store())}
    finally:
        sys.setswitchinterval(interval)


def test_a_store_of_the_users_gets_the_settings():
    """Every limit and its own options, as keyword arguments."""
    with override_settings(PUSH_SERVER={"store": CUSTOM, "resync": 7}):
        store = get_store("other")
        assert isinstance(store, RecordingStore)
        assert store.colour == "blue"
        assert store.options == {
            "min_messages": 1,
            "max_messages": 2,
            "message_timeout": 3,
            "channel_timeout": 4,
            "transient_timeout": 14,
        }
        assert get_store("default") is not store


def test_an_unknown_alias_is_an_error():
    """It is not taken for the default."""
    with pytest.raises(KeyError):
        get_store("unknown")


def test_changed_settings_give_new_stores():
    """So that tests with override_settings do not see each other's messages."""
    before = get_store()
    asyncio.run(before.append("a", body=b"x"))
    with override_settings(PUSH_SERVER={}):
        assert get_store() is not before
    history = asyncio.run(get_store().heads(["a"]))["a"]
    assert history.messages == 0
