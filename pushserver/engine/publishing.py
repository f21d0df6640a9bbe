"""The one road of every publish: rules, store, wake-up, counts.

Everything here runs in an event loop and has no opinion on which: `sending` finds
the right one.
"""

import asyncio
from dataclasses import dataclass

from pushserver.engine.channel_report import ChannelInfo
from pushserver.engine.counts import counted, held_elsewhere, held_here
from pushserver.engine.hub import running_hubs
from pushserver.engine.waiters import Key
from pushserver.engine.wakeups import announcer_of
from pushserver.exceptions import MessageTooBig
from pushserver.messages import START, Cursor, Message, check_labels
from pushserver.names import validate_channel_id
from pushserver.stores import get_store
from pushserver.stores.base import Appended, Head

__all__ = [
    "ChannelInfo",
    "Published",
    "Sent",
    "check",
    "create",
    "delete",
    "exists",
    "info",
    "info_with",
    "publish",
]


@dataclass(frozen=True, slots=True)
class Sent:
    """What happened to a message: its id, and how many readers were held for it.

    ``id`` is None where the server does not tell (Nchan).
    """

    id: str | None
    held: int


@dataclass(frozen=True, slots=True)
class Published:
    """A message as it was stored, and how many readers were parked just then.

    ``elsewhere`` are those of them that other processes hold. ``head`` is where the
    channel stood with it, if the store told so.
    """

    message: Message
    held: int
    elsewhere: int = 0
    head: Head | None = None


async def publish(
    key: Key,
    *,
    body: bytes,
    content_type: str | None = None,
    event: str | None = None,
    keep: bool = True,
    max_body: int,
) -> Published:
    """Store a message and wake who waits for it.

    After it returned, the message is delivered to every reader who keeps coming
    back. A wake-up that fails is no error. Raises InvalidChannelId, MessageTooBig,
    StoreUnavailable, and ValueError for a content type or event name that no header
    can carry.
    """
    alias, channel_id = key
    check(
        channel_id,
        body=body,
        content_type=content_type,
        event=event,
        max_body=max_body,
    )
    store = get_store(alias)
    append = store.append_and_head(
        channel_id, body=body, content_type=content_type, event=event, keep=keep
    )
    held = held_here(key)
    appended, elsewhere = await counted(key, append)
    if not store.local:
        # Exact on one loop, where nothing comes between. With a store afar the
        # message may be delivered before its reply is here, so: before and after.
        held = max(held, held_here(key))
    _wake(key, appended.message.id, appended)
    return Published(appended.message, held + elsewhere, elsewhere, appended.head)


def check(
    channel_id: str,
    *,
    body: bytes,
    content_type: str | None,
    event: str | None,
    max_body: int,
) -> None:
    """Raise what ``publish`` would raise, before the message goes anywhere."""
    validate_channel_id(channel_id)
    check_labels(content_type, event)
    if len(body) > max_body:
        raise MessageTooBig(
            f"The message for {channel_id!r} has {len(body)} bytes; accepted: "
            f"{max_body} (PUSH_SERVER['max_body'])."
        )


async def create(key: Key) -> None:
    """Make the channel exist. Raises InvalidChannelId, StoreUnavailable."""
    await get_store(key[0]).create(validate_channel_id(key[1]))


async def delete(key: Key) -> bool:
    """Drop the channel's messages and end its held readers.

    Returns whether the channel existed: a reader held on it is enough. Raises
    InvalidChannelId, StoreUnavailable.
    """
    channel_id = validate_channel_id(key[1])
    held = held_here(key)
    existed, elsewhere = await asyncio.gather(
        get_store(key[0]).delete(channel_id), held_elsewhere(key)
    )
    _wake(key, (await _head_of(key)).deleted)
    return existed or held + elsewhere > 0


async def exists(key: Key) -> bool:
    """Say whether the channel was created, has messages, or holds a reader.

    Raises InvalidChannelId, StoreUnavailable.
    """
    if held_here(key):
        return True
    head, elsewhere = await _head_and_elsewhere(key)
    return head.exists or elsewhere > 0


async def info(key: Key) -> ChannelInfo:
    """Return what is known of the channel, whether it exists or not.

    Raises InvalidChannelId, StoreUnavailable.
    """
    head, elsewhere = await _head_and_elsewhere(key)
    return _info(key, head, held_here(key) + elsewhere, elsewhere)


async def info_with(key: Key, published: Published) -> ChannelInfo:
    """Return what is known of the channel with what was just published on it.

    Raises StoreUnavailable where the store has to be asked, and does not answer.
    """
    head = published.head or await _head_of(key)
    return _info(key, head, published.held, published.elsewhere)


def _info(key: Key, head: Head, held: int, elsewhere: int) -> ChannelInfo:
    ago = [hub.requested_ago(key) for hub in running_hubs()]
    ago += [head.requested, 0.0 if elsewhere else None]
    requested = [seconds for seconds in ago if seconds is not None]
    return ChannelInfo(
        messages=head.messages,
        requested=int(min(requested, default=-1)),
        subscribers=held,
        last_message_id=str(head.newest if head.known else START),
    )


async def _head_and_elsewhere(key: Key) -> tuple[Head, int]:
    if get_store(key[0]).local:
        return await _head_of(key), 0  # two tasks would take 40 us
    return await asyncio.gather(_head_of(key), held_elsewhere(key))


async def _head_of(key: Key) -> Head:
    channel_id = validate_channel_id(key[1])
    return (await get_store(key[0]).heads([channel_id]))[channel_id]


def _wake(key: Key, reached: Cursor, appended: Appended | None = None) -> None:
    """Tell the hubs of this process directly, and others through this loop's layer."""
    loop = asyncio.get_running_loop()
    for hub in running_hubs():
        if hub.loop is loop:
            hub.wake(key, appended)
        else:
            hub.tell(key)
    if (announcer := announcer_of(loop)) is not None:
        announcer.announce(key, reached)
