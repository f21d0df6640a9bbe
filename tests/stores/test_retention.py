"""The suite fails on a store that keeps too much, too little, or hides a loss."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Head, History, Store
from pushserver.stores.memory import MemoryStore
from pushserver.stores.retention import RetentionContract


class Hoarding(MemoryStore):
    """Has no limits."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            **options
            | {"max_messages": 0, "message_timeout": 0, "channel_timeout": 1e9}
        )


class Hasty(MemoryStore):
    """Drops by age whatever the minimum, and forgets early."""

    def __init__(self, **options: Any) -> None:
        early = {"min_messages": 0, "message_timeout": 60, "channel_timeout": 0}
        super().__init__(**options | early)


class Unlinked(MemoryStore):
    """Hides that something was lost."""

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        history = await super().read(channel_id, after=after, limit=limit)
        linked = tuple(replace(message, previous=after) for message in history.messages)
        return replace(history, messages=linked)


class Headless(MemoryStore):
    """Does not know the newest id once its message is gone."""

    def _head(self, channel: Any) -> Head:
        head = super()._head(channel)
        return head if head.messages else replace(head, newest=START)


class Forgetful(MemoryStore):
    """Takes the others that it forgets for a loss of its memory."""

    def _head(self, channel: Any) -> Head:
        return replace(super()._head(channel), since=self._floor)


class Crowded(MemoryStore):
    """Lets what is over take the place of what is kept."""

    def _trim(self, channel: Any, now: float) -> None:
        del channel.messages[: -self._max_messages]
        super()._trim(channel, now)


class Keeping(MemoryStore):
    """Keeps what shall not be kept."""

    async def append(self, channel_id: str, **message: Any) -> Message:
        return await super().append(channel_id, **message | {"keep": True})


@pytest.mark.parametrize(
    ("store", "test"),
    [
        (Hoarding, RetentionContract.test_only_so_many_messages_are_kept),
        (Hoarding, RetentionContract.test_old_messages_are_dropped),
        (Hoarding, RetentionContract.test_an_idle_channel_is_forgotten),
        (Hoarding, RetentionContract.test_the_newest_few_have_no_age),
        (Hasty, RetentionContract.test_the_newest_few_have_no_age),
        (Hasty, RetentionContract.test_without_an_age_limit_messages_stay),
        (Hasty, RetentionContract.test_an_idle_channel_is_forgotten),
        (Unlinked, RetentionContract.test_a_lost_message_leaves_a_gap_in_the_links),
        (Headless, RetentionContract.test_the_newest_id_outlives_its_message),
        (Headless, RetentionContract.test_what_was_forgotten_is_below_every_head),
        (Forgetful, RetentionContract.test_where_memory_begins),
        (
            Keeping,
            RetentionContract.test_a_waived_message_is_for_the_cursor_just_before_it,
        ),
        (Keeping, RetentionContract.test_a_waived_message_has_its_time),
        (Crowded, RetentionContract.test_a_waived_message_that_is_over_takes_no_place),
        (
            Keeping,
            RetentionContract.test_a_first_message_waived_is_for_whoever_was_there,
        ),
    ],
)
def test_a_store_that_breaks_the_contract_fails(
    store: Callable[..., Store], test: Callable[[RetentionContract], None]
):
    """Each broken store is caught by the test that is meant for it."""

    class Broken(RetentionContract):
        def make_store(self, **options: Any) -> Store:
            return store(clock=self.clock, **options)

    with pytest.raises(AssertionError):
        test(Broken())
