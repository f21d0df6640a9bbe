"""The continuing form of a subscription: the same algorithm, over and over.

The theory. A follower is parked once, after its first read, and stays so until it
ends: it counts as held, and a delivery passes by it in the middle of the fan-out.
Beside what it was told it has a position, the last message that its client was
given. A reader that is busy ignores what it is told, and later reads on from there:
it holds a cursor, never a backlog. Nothing is missed, because whoever looks and finds
nothing after its position is parked at the newest id of the tail already.

Readers that all stand at the newest message share one position: they are an audience.
One that cannot take a message has its own again, before that message.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any

from pushserver.engine.subscription import Subscription
from pushserver.engine.waiters import Delivery, Follower, Outcome, Write
from pushserver.exceptions import StoreUnavailable
from pushserver.messages import Cursor, Message

__all__ = ["Following"]


class Following(Subscription, ABC):
    """One reader's stream of messages that goes on. Use it in a ``with``.

    ``hear`` is called in the event loop with what comes: a Delivery that follows on
    all that ``next`` had found, an Ending, or None where the reader has to look. It is
    called in the middle of a fan-out, and must neither raise nor wait.
    """

    def __exit__(self, *exc_info: object) -> None:
        super().__exit__(*exc_info)
        if isinstance(self.waiter, Follower):
            self.waiter.let_go()

    @property
    def begun(self) -> bool:
        """Whether the first ``next`` has found out where the reader stands."""
        return self.waiter is not None

    async def next(self) -> Outcome | None:
        """Return what comes after the position, None when that is all for now.

        ``advance`` says how much of it was given to the client. Once there is an
        Ending, it is returned for ever. Raises StoreUnavailable.
        """
        if self.waiter is None:
            return await self.begin()
        messages = self._in_tail()
        if messages is not None:
            messages = self._connect(messages)
        else:
            try:
                async with asyncio.timeout(self._subscriptions.config.redis_timeout):
                    messages = await self._after_seen()
            except TimeoutError as error:
                raise StoreUnavailable("The store did not answer in time.") from error
        if self.waiter.outcome is not None:
            return self.waiter.outcome
        return Delivery(messages, self.gap) if messages else None

    def advance(self, message: Message) -> None:
        """Go on after this message: the client was given it, and told of a loss."""
        assert self.waiter is not None  # noqa: S101 (it is parked when there is one)
        self._seen = self._position = message.id
        self._gap = self.waiter.gap = False

    def admit(self) -> None:
        """Take note that the client was told its position, and of a loss."""
        assert self.waiter is not None  # noqa: S101 (it is parked when there is one)
        self._position = self.position
        self._gap = self.waiter.gap = False

    def join(self, writer: Any, kind: Hashable, write: Write) -> None:
        """Be told with those of its kind from now on, by a write, if it stands there.

        To be called when ``next`` has found nothing.
        """
        newest = self._live.tail.newest
        follower = self.waiter
        assert isinstance(follower, Follower)  # noqa: S101 (as `next` has returned)
        if (
            follower.outcome is None
            and not self.gap
            and (self._position == self._seen == follower.seen == newest)
        ):
            self._live.membership.waiters.join(follower, writer, kind, write)

    def stand_at(self, given: Cursor) -> None:
        self._seen = self._position = given

    @abstractmethod
    def hear(self, outcome: Outcome | None) -> None: ...

    def _conclude(self, messages: Sequence[Message], *, wait: bool) -> Outcome | None:
        if messages and self._position >= messages[0].id:
            # So many from the end: the reader stands before them.
            self._seen = self._position = messages[0].previous
        if (ending := self._park()) is not None:
            return ending
        return Delivery(messages, self._gap) if messages else None

    def _new_waiter(self, seen: Cursor) -> Follower:
        return Follower(seen, self._live.membership.waiters, self)
