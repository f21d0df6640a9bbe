"""The recent tail of a channel: what answers a poll without asking the store. Pure."""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from pushserver.messages import Cursor, Message

__all__ = ["Tail"]

# A channel of large messages must not pin a hundred of them in every process; a
# reader further behind reads the store.
_MAX_BYTES = 1024 * 1024
_id_of = attrgetter("id")


class Tail:
    """The last messages read of one channel, contiguous by previous id.

    Begins at ``newest`` with no message. At most ``max_messages`` and 1 MiB are
    held, whatever the newest one's size. A message is served for
    ``message_timeout`` seconds by its id (0: no limit), of waived storage for
    ``transient_timeout``; beyond that only the store knows.
    """

    __slots__ = ("_bytes", "_max", "_messages", "_timeout", "_transient", "newest")

    def __init__(
        self,
        newest: Cursor,
        *,
        max_messages: int,
        message_timeout: float,
        transient_timeout: float,
    ) -> None:
        self.newest = newest
        self._messages: list[Message] = []
        self._bytes = 0
        self._max = max_messages
        self._timeout = message_timeout or float("inf")
        self._transient = transient_timeout

    @property
    def start(self) -> Cursor:
        """The oldest cursor that the tail can answer for."""
        return self._messages[0].previous if self._messages else self.newest

    def extend(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Append what was read after ``newest`` and return what is new of it.

        Where a message does not follow on the one before it history was lost, and
        the tail begins anew.
        """
        fresh = [message for message in messages if message.id > self.newest]
        for message in fresh:
            if message.previous != self.newest:
                self.clear(message.previous)
            self._messages.append(message)
            self._bytes += len(message.body)
            self.newest = message.id
        self._shrink()
        return fresh

    def clear(self, newest: Cursor) -> None:
        """Hold nothing, and begin anew after ``newest``."""
        self._messages.clear()
        self._bytes = 0
        self.newest = newest

    def after(self, cursor: Cursor, now: float) -> Sequence[Message] | None:
        """Return the messages after the cursor, None where the tail cannot tell.

        ``now`` is in seconds since 1970, for the age of messages.
        """
        if cursor == self.newest:
            return ()
        if not self.start <= cursor <= self.newest:
            return None
        found = self._messages[bisect_right(self._messages, cursor, key=_id_of) :]
        if any(self._is_old(message, now) for message in found):
            return None
        # Of waived storage only for the cursor just before it; a date is none.
        if found and not found[0].kept and found[0].previous != cursor:
            return None
        return found

    def _is_old(self, message: Message, now: float) -> bool:
        timeout = self._timeout if message.kept else self._transient
        return message.id.milliseconds / 1000 + timeout <= now

    def _shrink(self) -> None:
        drop = max(0, len(self._messages) - self._max)
        size = self._bytes - sum(len(m.body) for m in self._messages[:drop])
        while size > _MAX_BYTES and drop < len(self._messages) - 1:
            size -= len(self._messages[drop].body)
            drop += 1
        del self._messages[:drop]
        self._bytes = size
