"""The contract of a store.

A store keeps the messages of channels for a while and is the truth: a wake-up
only hints that there is something to read. What every store owes its callers:

* **Ids.** ``append`` allots them. Within a channel they strictly increase: over
  processes, over the clock going back, over ``delete`` and re-creation, over the
  channel being forgotten. Each message carries the id of the one before it.
* **Order.** ``read`` returns messages in id order; a message whose ``append`` has
  returned is in every later ``read`` until it is dropped.
* **Dropping.** At most ``max_messages`` are kept (0: no limit), none older than
  ``message_timeout`` seconds (0: no age limit) except the newest ``min_messages``.
  A channel without ``append`` or ``create`` for ``message_timeout`` plus
  ``channel_timeout`` seconds is forgotten, with all that it had.
* **Loss can be told.** The newest id outlives its message, and the first message
  of a channel that was forgotten names, as the one before it, an id at or above
  all that was forgotten. So a cursor below ``previous`` means that there was more.
  A store that has lost its memory, as a server does that saved nothing, says since
  when it remembers.
* **Deletion.** ``delete`` drops the messages and leaves a mark that only grows, so
  a reader that was held can tell, however late it looks.
* **Waived storage.** A message appended with ``keep=False`` may be read for
  ``transient_timeout`` seconds, and only after the message just before it; where
  there is none, after any cursor but the start (see ``reachable``).
* **Failure.** A store that cannot answer raises StoreUnavailable, in time.

The coroutines of one store object may run on several event loops when ``local``
is true (its state is in this process), else on the loop it was made for.
``pushserver.stores.contract`` holds this page as a test suite.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Required, TypedDict, Unpack

from pushserver.messages import START, Cursor, Message

__all__ = [
    "Appended",
    "Head",
    "History",
    "NewMessage",
    "Position",
    "SharedStore",
    "Store",
    "reachable",
]


class Position(NamedTuple):
    """What changes when there is something new about a channel.

    ``level`` is the oldest cursor that has lost nothing although no message comes
    after it, ``deleted`` the mark of the last deletion.
    """

    level: Cursor
    deleted: Cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Where a channel stands.

    ``newest`` is the id of its last message, kept or dropped; where the store
    knows of none (``known`` is False), an id at or above everything forgotten.
    ``deleted`` is the mark of its last deletion. ``exists`` says that it was
    created or has messages; ``messages`` counts those kept. ``since`` is where the
    store's memory begins: what was published before, it cannot know.
    """

    newest: Cursor
    deleted: Cursor
    known: bool
    exists: bool
    messages: int
    requested: float | None = None
    since: Cursor = START

    @property
    def position(self) -> Position:
        """What to ask ``Store.changed`` with, later on."""
        return Position(self.newest if self.known else self.since, self.deleted)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a read found: messages after the cursor, oldest first, and the head.

    ``complete`` is False when a limit cut the messages.
    """

    messages: tuple[Message, ...]
    head: Head
    complete: bool


class Appended(NamedTuple):
    """A message as it was stored, and where its channel stood with it, or later."""

    message: Message
    head: Head | None


class NewMessage(TypedDict, total=False):
    """What ``append`` takes beside the channel, for who only hands it on."""

    body: Required[bytes]
    content_type: str | None
    event: str | None
    keep: bool


class Store(ABC):
    """Keeps the messages of channels; the module's page is the contract."""

    local: ClassVar[bool] = False
    """True when the messages live in this process and nowhere else."""

    @abstractmethod
    async def append(
        self,
        channel_id: str,
        *,
        body: bytes,
        content_type: str | None = None,
        event: str | None = None,
        keep: bool = True,
    ) -> Message:
        """Add a message to the channel, creating it, and return it with its id."""

    async def append_and_head(
        self, channel_id: str, **message: Unpack[NewMessage]
    ) -> Appended:
        """Append, and say where the channel stands then, if that costs nothing more.

        Whoever wants a head that was not told asks for it. With one, readers of this
        process are given the message without a read.
        """
        return Appended(await self.append(channel_id, **message), None)

    @abstractmethod
    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        """Return the messages after the cursor, the oldest ``limit`` of them."""

    @abstractmethod
    async def heads(self, channel_ids: Sequence[str]) -> Mapping[str, Head]:
        """Return the head of each channel, in one go."""

    async def changed(self, known: Mapping[str, Position]) -> Mapping[str, Head]:
        """Return the heads of the channels that have left these positions, in one go.

        Asked every few seconds about every channel that has readers. A store that has
        to fetch its heads from elsewhere should compare them there.
        """
        heads = await self.heads(list(known))
        return {
            channel_id: head
            for channel_id, head in heads.items()
            if head.position != known[channel_id]
        }

    @abstractmethod
    async def create(self, channel_id: str) -> None:
        """Make the channel exist; nothing changes when it does."""

    @abstractmethod
    async def delete(self, channel_id: str) -> bool:
        """Drop the messages, leave a mark; return whether the channel existed.

        The mark is left in either case: somebody may be held on the channel.
        """

    @abstractmethod
    async def note_requested(self, channel_id: str, seconds_ago: float) -> None:
        """Remember when a reader last asked for the channel, if it is known."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what is held open for the running loop; messages stay."""


class SharedStore(Store):
    """A store that several processes share, and that knows who holds readers.

    A process that stops reporting is forgotten within 3 seconds.
    """

    @abstractmethod
    async def report_held(self, held: Mapping[str, int]) -> None:
        """Report how many readers this process holds on each channel it has any on.

        To be called every second; a channel that is left out has none.
        """

    @abstractmethod
    async def held_elsewhere(self, channel_id: str) -> int:
        """Return how many readers other processes hold, as they last reported."""


def reachable(messages: list[Message], after: Cursor, *, born: Cursor) -> list[Message]:
    """Leave out messages of waived storage that do not follow on what was read.

    ``born`` is the id that the channel's first message names as the one before it.
    Whoever is held on a channel from before then may have been given a smaller one,
    because forgetting other channels raises it.
    """
    found = []
    for message in messages:
        is_first = message.previous == born and START < after < born
        if message.kept or message.previous == after or is_first:
            found.append(message)
            after = message.id
    return found
