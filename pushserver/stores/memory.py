"""Messages in this process's memory, bounded by default. Safe from any thread."""

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from threading import Lock
from typing import ClassVar, Unpack

from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import Appended, Head, History, NewMessage, Store, reachable

__all__ = ["MemoryStore", "StoreStatistics"]

# How many due channels one append cleans up: more than one, so that the clean-up
# outruns the growth, and few, so that no single append pays for 100,000.
_SWEEP = 32
_id_of = attrgetter("id")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatistics:
    """Channels remembered, messages kept, and the bytes of their bodies."""

    channels: int
    messages: int
    bytes: int


class _Channel:
    """The messages of one channel and what outlives them."""

    __slots__ = ("born", "created", "deleted", "high", "known", "messages", "newest",
                 "requested", "touched", "waived")  # fmt: skip

    def __init__(self, floor: Cursor) -> None:
        self.messages: list[Message] = []
        self.born = floor  # what its first message names as the one before it
        self.newest = floor  # id of the last message
        self.high = floor  # highest id given to a message or a deletion
        self.deleted = START
        self.known = False  # a message was appended
        self.created = False
        self.touched = 0.0  # when it was last appended to or created
        self.requested: float | None = None
        self.waived = False  # some messages may be of waived storage


class MemoryStore(Store):
    """A store for one process; a restart begins with nothing.

    ``clock`` gives seconds since 1970. Options as in the settings: limits of 0
    mean none, times are in seconds.
    """

    local: ClassVar[bool] = True

    def __init__(
        self,
        *,
        min_messages: int = 0,
        max_messages: int = 100,
        message_timeout: float = 3600,
        channel_timeout: float = 86_400,
        transient_timeout: float = 10,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._min_messages = min_messages
        self._max_messages = max_messages
        self._message_timeout = message_timeout
        self._forget_after = message_timeout + channel_timeout
        self._transient_timeout = transient_timeout
        self._clock = clock
        self._lock = Lock()
        # Both in the order in which they were last touched, so that what is due
        # stands at the front. `_aging` names the channels that have messages.
        self._channels: OrderedDict[str, _Channel] = OrderedDict()
        self._aging: OrderedDict[str, None] = OrderedDict()
        # Above every id of a process before this one, and of what was forgotten.
        self._floor = self._since = Cursor(int(clock() * 1000), 0)

    async def append(
        self,
        channel_id: str,
        *,
        body: bytes,
        content_type: str | None = None,
        event: str | None = None,
        keep: bool = True,
    ) -> Message:
        with self._lock:
            now = self._clock()
            self._sweep(now, _SWEEP)
            known = self._channels.get(channel_id)
            channel = known or _Channel(self._floor)
            message = Message(
                id=self._next_id(channel, now),
                previous=channel.newest,
                body=body,
                content_type=content_type,
                event=event,
                kept=keep,
            )
            channel.messages.append(message)
            channel.newest = channel.high = message.id
            channel.known = True
            channel.waived = channel.waived or not keep
            self._touch(channel_id, channel, now)
            self._aging[channel_id] = None
            self._trim(channel, now)
            return message

    async def append_and_head(
        self, channel_id: str, **message: Unpack[NewMessage]
    ) -> Appended:
        appended = await self.append(channel_id, **message)
        with self._lock:
            head = self._head(self._channels.get(channel_id))
        return Appended(appended, head)

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        with self._lock:
            channel = self._channels.get(channel_id)
            if channel is None:
                head = self._head(None)
                return History(messages=(), head=head, complete=True)
            self._trim(channel, self._clock())
            messages = channel.messages
            found = messages[bisect_right(messages, after, key=_id_of) :]
            if channel.waived:
                found = reachable(found, after, born=channel.born)
            return History(
                messages=tuple(found[:limit]),
                head=self._head(channel),
                complete=limit is None or len(found) <= limit,
            )

    async def heads(self, channel_ids: Sequence[str]) -> Mapping[str, Head]:
        with self._lock:
            now = self._clock()
            heads = {}
            for channel_id in channel_ids:
                channel = self._channels.get(channel_id)
                if channel is not None:
                    self._trim(channel, now)
                heads[channel_id] = self._head(channel)
            return heads

    async def create(self, channel_id: str) -> None:
        with self._lock:
            now = self._clock()
            self._sweep(now, _SWEEP)
            channel = self._channels.get(channel_id) or _Channel(self._floor)
            channel.created = True
            self._touch(channel_id, channel, now)

    async def delete(self, channel_id: str) -> bool:
        with self._lock:
            now = self._clock()
            channel = self._channels.get(channel_id) or _Channel(self._floor)
            self._trim(channel, now)
            existed = channel.created or bool(channel.messages)
            channel.deleted = channel.high = self._next_id(channel, now)
            channel.created = False
            channel.messages.clear()
            self._aging.pop(channel_id, None)
            self._touch(channel_id, channel, now)
            return existed

    async def note_requested(self, channel_id: str, seconds_ago: float) -> None:
        with self._lock:
            if channel := self._channels.get(channel_id):
                channel.requested = self._clock() - seconds_ago

    async def close(self) -> None:
        pass  # nothing is held open

    def statistics(self) -> StoreStatistics:
        with self._lock:
            self._sweep(self._clock(), None)
            bodies = [
                len(message.body)
                for channel in self._channels.values()
                for message in channel.messages
            ]
            return StoreStatistics(
                channels=len(self._channels), messages=len(bodies), bytes=sum(bodies)
            )

    def _next_id(self, channel: _Channel, now: float) -> Cursor:
        milliseconds = int(now * 1000)
        if milliseconds > channel.high.milliseconds:
            return Cursor(milliseconds, 0)
        return channel.high._replace(sequence=channel.high.sequence + 1)

    def _touch(self, channel_id: str, channel: _Channel, now: float) -> None:
        channel.touched = now
        self._channels[channel_id] = channel
        self._channels.move_to_end(channel_id)
        if channel_id in self._aging:
            self._aging.move_to_end(channel_id)

    def _head(self, channel: _Channel | None) -> Head:
        if channel is None:
            return Head(newest=self._floor, deleted=START, known=False, exists=False,
                        messages=0, since=self._since)  # fmt: skip
        requested = channel.requested
        return Head(
            newest=channel.newest,
            deleted=channel.deleted,
            known=channel.known,
            exists=channel.created or bool(channel.messages),
            messages=len(channel.messages),
            requested=None if requested is None else self._clock() - requested,
            since=self._since,
        )

    def _trim(self, channel: _Channel, now: float) -> None:
        """Drop what is over the limits from the front of the channel."""
        messages = channel.messages
        if channel.waived:  # first: what is over does not take the place of others
            oldest = (now - self._transient_timeout) * 1000
            messages[:] = [m for m in messages if m.kept or m.id.milliseconds > oldest]
            channel.waived = not all(message.kept for message in messages)
        count = len(messages)
        drop = max(0, count - self._max_messages) if self._max_messages else 0
        if self._message_timeout:
            oldest = (now - self._message_timeout) * 1000
            while (
                count - drop > self._min_messages
                and messages[drop].id.milliseconds <= oldest
            ):
                drop += 1
        if drop:
            del messages[:drop]

    def _sweep(self, now: float, most: int | None) -> None:
        """Clean up channels that nobody touched for long, at most so many."""
        while self._aging and most != 0:
            channel_id = next(iter(self._aging))
            channel = self._channels[channel_id]
            if not _is_due(channel, self._message_timeout, now):
                break
            self._trim(channel, now)
            del self._aging[channel_id]
            most = most and most - 1
        while self._channels and most != 0:
            channel_id, channel = next(iter(self._channels.items()))
            if not _is_due(channel, self._forget_after, now):
                break
            self._floor = max(self._floor, channel.high)
            del self._channels[channel_id]
            self._aging.pop(channel_id, None)
            most = most and most - 1
        if not self._channels:
            # An emptied dictionary keeps its table, which may have been a large one.
            self._channels.clear()
            self._aging.clear()


def _is_due(channel: _Channel, timeout: float, now: float) -> bool:
    # Touched in the future: the clock went back. Time counts from now on, or one
    # such channel would keep all those behind it.
    channel.touched = min(channel.touched, now)
    return channel.touched + timeout <= now
