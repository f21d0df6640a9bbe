"""Messages in Redis streams, for any number of processes and machines."""

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from typing import Any, ClassVar, Unpack
from uuid import uuid4

from pushserver.forks import forget_in_child
from pushserver.messages import START, Cursor, Message
from pushserver.stores.base import (
    Appended,
    Head,
    History,
    NewMessage,
    Position,
    SharedStore,
    reachable,
)
from pushserver.stores.redis import scripts
from pushserver.stores.redis.cluster import ClusterConnection
from pushserver.stores.redis.connection import Connection

__all__ = ["RedisStore"]

_REPORT_TTL = 3000  # milliseconds after which a silent process holds nobody

_process = uuid4().hex  # what this process is called among those that hold readers


def _rename_process() -> None:
    global _process
    _process = uuid4().hex


os.register_at_fork(after_in_child=_rename_process)


class RedisStore(SharedStore):
    """The store that processes share. Options as in the settings, times in seconds.

    ``hosts`` are as channels-redis takes them; several share the channels by hash,
    those of a ``cluster`` by slot. Each event loop that calls has a connection of its
    own to each.
    """

    local: ClassVar[bool] = False

    def __init__(
        self,
        *,
        hosts: Sequence[Mapping[str, Any]],
        cluster: bool = False,
        key_prefix: str = "pushserver",
        redis_timeout: float = 2,
        min_messages: int = 0,
        max_messages: int = 100,
        message_timeout: float = 3600,
        channel_timeout: float = 86_400,
        transient_timeout: float = 10,
    ) -> None:
        self._hosts = hosts
        self._is_cluster = cluster
        self._prefix = key_prefix
        self._timeout = redis_timeout
        timeout_ms = round(message_timeout * 1000)
        transient_ms = round(transient_timeout * 1000)
        self._limits = (min_messages, max_messages, timeout_ms, transient_ms)
        self._forget_ms = timeout_ms + round(channel_timeout * 1000)
        self._connections: dict[
            tuple[asyncio.AbstractEventLoop, int], Connection | ClusterConnection
        ] = {}
        self._reported: dict[asyncio.AbstractEventLoop, dict[str, int]] = {}
        forget_in_child(self._connections)
        forget_in_child(self._reported)

    async def append(self, channel_id: str, **message: Unpack[NewMessage]) -> Message:
        return (await self.append_and_head(channel_id, **message)).message

    async def append_and_head(
        self,
        channel_id: str,
        *,
        body: bytes,
        content_type: str | None = None,
        event: str | None = None,
        keep: bool = True,
    ) -> Appended:
        # Validated before it is stored: the id is not known yet.
        draft = Message(
            id=START, previous=START, body=body, content_type=content_type,
            event=event, kept=keep,
        )  # fmt: skip
        given, previous, head, now = await self._call(
            scripts.APPEND, channel_id, *self._limits, self._forget_ms, *_pack(draft)
        )
        message = replace(draft, id=_cursor(given), previous=_cursor(previous))
        return Appended(message, _head(head, float(now)))

    async def read(
        self, channel_id: str, *, after: Cursor, limit: int | None = None
    ) -> History:
        # One more than the limit tells whether it cut something.
        ask = 0 if limit is None else limit + 1
        head, now, entries = await self._call(
            scripts.READ, channel_id, *self._limits, str(after), ask
        )
        born = _cursor(head[4]) if head[4] else START
        found = reachable([_unpack(entry) for entry in entries], after, born=born)
        return History(
            messages=tuple(found[:limit]),
            head=_head(head, float(now)),
            complete=limit is None or len(found) <= limit,
        )

    async def heads(self, channel_ids: Sequence[str]) -> Mapping[str, Head]:
        found = await asyncio.gather(
            *(self._heads(shard, ids) for shard, ids in self._batches(channel_ids))
        )
        return {channel_id: head for heads in found for channel_id, head in heads}

    async def changed(self, known: Mapping[str, Position]) -> Mapping[str, Head]:
        found = await asyncio.gather(
            *(self._changed(shard, ids, known) for shard, ids in self._batches(known))
        )
        # What has changed and what is only not as it was left is told by the head.
        heads = await self.heads([channel_id for ids in found for channel_id in ids])
        return {c: head for c, head in heads.items() if head.position != known[c]}

    async def create(self, channel_id: str) -> None:
        await self._call(scripts.CREATE, channel_id, self._forget_ms)

    async def delete(self, channel_id: str) -> bool:
        existed = await self._call(
            scripts.DELETE, channel_id, *self._limits, self._forget_ms
        )
        return bool(existed)

    async def note_requested(self, channel_id: str, seconds_ago: float) -> None:
        await self._call(scripts.REQUESTED, channel_id, round(seconds_ago * 1000))

    async def report_held(self, held: Mapping[str, int]) -> None:
        loop = asyncio.get_running_loop()
        counts = {_digest(channel_id): count for channel_id, count in held.items()}
        before = self._reported.pop(loop, {})
        gone = dict.fromkeys(before.keys() - counts.keys(), 0)
        changed = {d: n for d, n in counts.items() if before.get(d) != n}
        if counts or gone:
            if not before or not await self._report(changed | gone, anew=False):
                await self._report(counts, anew=True)
            self._reported[loop] = counts

    async def held_elsewhere(self, channel_id: str) -> int:
        prefix, reporters = f"{self._prefix}:{{held}}:", self._held_key("reporters")
        args = [prefix, _process, _digest(channel_id)]
        return int(await self._connection(0).call(scripts.HELD, [reporters], args))

    async def close(self) -> None:
        """Close the connections of the running loop."""
        loop = asyncio.get_running_loop()
        # A copy: other threads connect from other loops meanwhile.
        for key in [key for key in list(self._connections) if key[0] is loop]:
            await self._connections.pop(key).close()

    async def _call(self, script: scripts.Script, channel_id: str, *args: Any) -> Any:
        connection = self._connection(self._shard(_digest(channel_id)))
        return await connection.call(script, self._keys(channel_id), args)

    async def _heads(
        self, shard: int, channel_ids: list[str]
    ) -> list[tuple[str, Head]]:
        keys = [key for channel_id in channel_ids for key in self._keys(channel_id)]
        now, replies = await self._connection(shard).call(
            scripts.HEADS, keys, self._limits
        )
        heads = [_head(reply, float(now)) for reply in replies]
        return list(zip(channel_ids, heads, strict=True))

    async def _changed(
        self, shard: int, channel_ids: list[str], known: Mapping[str, Position]
    ) -> list[str]:
        keys = [key for c in channel_ids for key in self._keys(c)[1:3]]
        places = [known[channel_id] for channel_id in channel_ids]
        args = [f"{place.level} {place.deleted}" for place in places]
        connection = self._connection(shard)
        changed = await connection.call(scripts.CHANGED, keys, args)
        return [channel_ids[number - 1] for number in changed]

    async def _report(self, counts: Mapping[str, int], *, anew: bool) -> bool:
        reporter = f"{_process}.{id(asyncio.get_running_loop())}"
        pairs = [word for pair in counts.items() for word in pair]
        keys = self._held_key(reporter), self._held_key("reporters")
        args = [reporter, _REPORT_TTL, int(anew), *pairs]
        return bool(await self._connection(0).call(scripts.REPORT, keys, args))

    def _held_key(self, name: str) -> str:
        return f"{self._prefix}:{{held}}:{name}"

    def _keys(self, channel_id: str) -> tuple[str, ...]:
        digest = _digest(channel_id)
        bucket = f"{self._prefix}:{{{digest[:2]}}}"
        stream = f"{bucket}:{digest}"
        return stream, f"{stream}:head", f"{bucket}:floor", f"{stream}:waived"

    def _batches(self, channel_ids: Iterable[str]) -> list[tuple[int, list[str]]]:
        """Return the channels that one call may ask for, by shard."""
        batches: dict[tuple[int, str], list[str]] = {}
        for channel_id in channel_ids:
            digest = _digest(channel_id)
            # The keys of one call must be in one slot of a cluster.
            place = self._shard(digest), digest[:2] if self._is_cluster else ""
            batches.setdefault(place, []).append(channel_id)
        return [(shard, ids) for (shard, _), ids in batches.items()]

    def _shard(self, digest: str) -> int:
        # By bucket, whose floor its channels share.
        return 0 if self._is_cluster else _shard_of(digest[:2], len(self._hosts))

    def _connection(self, shard: int) -> Connection | ClusterConnection:
        key = asyncio.get_running_loop(), shard
        connection = self._connections.get(key)
        if connection is None:
            if self._is_cluster:
                connection = ClusterConnection(self._hosts, timeout=self._timeout)
            else:
                connection = Connection(self._hosts[shard], timeout=self._timeout)
            self._connections[key] = connection
        return connection


@lru_cache(maxsize=1024)
def _shard_of(bucket: str, shards: int) -> int:
    """Return the shard with the highest score.

    One that is added takes its share of all others, and moves nothing between them.
    """
    return max(
        range(shards),
        key=lambda shard: sha256(f"{bucket}:{shard}".encode()).digest(),
    )


def _digest(channel_id: str) -> str:
    return sha256(channel_id.encode()).hexdigest()[:40]


def _cursor(text: bytes) -> Cursor:
    milliseconds, _, sequence = text.partition(b"-")
    return Cursor(int(milliseconds), int(sequence))


def _pack(message: Message) -> list[bytes | str]:
    fields: list[bytes | str] = ["b", message.body]
    if message.content_type is not None:
        fields += ["t", message.content_type]
    if message.event is not None:
        fields += ["e", message.event]
    if not message.kept:
        fields += ["k", "0"]
    return fields


def _unpack(entry: tuple[bytes, list[bytes]]) -> Message:
    fields = dict(zip(entry[1][::2], entry[1][1::2], strict=True))
    content_type, event = fields.get(b"t"), fields.get(b"e")
    return Message(
        id=_cursor(entry[0]),
        previous=_cursor(fields[b"p"]),
        body=fields[b"b"],
        content_type=None if content_type is None else content_type.decode(),
        event=None if event is None else event.decode(),
        kept=b"k" not in fields,
    )


def _head(reply: list[Any], now: float) -> Head:
    last, deleted, created, requested, _, messages, floor, since = reply
    return Head(
        newest=_cursor(last or floor),
        deleted=_cursor(deleted) if deleted else START,
        known=bool(last),
        exists=bool(created) or messages > 0,
        messages=messages,
        requested=None if requested is None else (now - float(requested)) / 1000,
        since=_cursor(since),
    )
