"""Sending from anywhere: serialise, tell the signals, publish where it is heard."""

import json
import logging
from functools import partial
from typing import Any
from urllib.request import Request

from django.core.serializers.json import DjangoJSONEncoder

from pushserver import remote
from pushserver.conf import get_config
from pushserver.engine import publishing
from pushserver.engine.publishing import ChannelInfo, Sent
from pushserver.exceptions import NotSerializable, PublishRefused, PushError
from pushserver.links import publishing_terms
from pushserver.names import validate_channel_id
from pushserver.reach import Ways, is_remote, refuse_in_a_loop, run, run_sync
from pushserver.signals import post_send_update, pre_send_update

__all__ = [
    "ChannelInfo",
    "Sent",
    "achannel_info",
    "adelete_channel",
    "asend_message",
    "asend_update",
    "channel_info",
    "delete_channel",
    "send_message",
    "send_update",
]

logger = logging.getLogger(__name__)

Body = bytes | bytearray | memoryview | str


def send_update(
    channel_id: str,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool | None = None,
    *,
    event: str | None = None,
) -> Sent | None:
    """Send JSON data, usually a dict with a ``type``, to everyone who listens.

    ``already_serialized`` data is JSON text. ``event`` is the name under which an event
    stream delivers it, up to 255 printable characters. Every PushError is raised, or
    logged with None returned when ``ignore_errors`` (by default
    PUSH_SERVER_IGNORE_ERRORS) is true. After it returned, the update is kept. Blocks;
    in a running event loop it raises SynchronousOnlyOperation: use ``asend_update``.
    """
    refuse_in_a_loop("send_update")
    with _Tolerating(ignore_errors):
        update = _Update(channel_id, data, already_serialized, event)
        pre_send_update.send_robust(None, **update.about)
        response: Sent | BaseException | None = None
        try:
            response = run_sync(*update.message.ways)
        except BaseException as error:  # cancelled, too: told, and raised again
            response = error
            raise
        finally:
            post_send_update.send_robust(None, **update.about, response=response)
        return response
    return None


async def asend_update(
    channel_id: str,
    data: Any,
    already_serialized: bool = False,
    ignore_errors: bool | None = None,
    *,
    event: str | None = None,
) -> Sent | None:
    """Do what ``send_update`` does, from async code in any event loop."""
    with _Tolerating(ignore_errors):
        update = _Update(channel_id, data, already_serialized, event)
        await pre_send_update.asend_robust(None, **update.about)
        response: Sent | BaseException | None = None
        try:
            response = await run(*update.message.ways)
        except BaseException as error:  # cancelled, too: told, and raised again
            response = error
            raise
        finally:
            await post_send_update.asend_robust(None, **update.about, response=response)
        return response
    return None


def send_message(
    channel_id: str,
    body: Body,
    *,
    content_type: str | None = None,
    event: str | None = None,
    ignore_errors: bool | None = None,
) -> Sent | None:
    """Send a body as it is, with its content type; for the rest see ``send_update``.

    Text is sent as UTF-8, and as ``text/plain`` unless told otherwise. No signal is
    sent.
    """
    refuse_in_a_loop("send_message")
    with _Tolerating(ignore_errors):
        return run_sync(*_message(channel_id, body, content_type, event).ways)
    return None


async def asend_message(
    channel_id: str,
    body: Body,
    *,
    content_type: str | None = None,
    event: str | None = None,
    ignore_errors: bool | None = None,
) -> Sent | None:
    """Do what ``send_message`` does, from async code in any event loop."""
    with _Tolerating(ignore_errors):
        return await run(*_message(channel_id, body, content_type, event).ways)
    return None


def delete_channel(channel_id: str) -> bool:
    """Drop the channel's messages and end its held readers (410).

    Returns whether there was such a channel. Raises PushError.
    """
    refuse_in_a_loop("delete_channel")
    return run_sync(*_delete(channel_id))


async def adelete_channel(channel_id: str) -> bool:
    """Do what ``delete_channel`` does, from async code in any event loop."""
    return await run(*_delete(channel_id))


def channel_info(channel_id: str) -> ChannelInfo | None:
    """Return what is known of the channel, None if there is none. Raises PushError."""
    refuse_in_a_loop("channel_info")
    return run_sync(*_info(channel_id))


async def achannel_info(channel_id: str) -> ChannelInfo | None:
    """Do what ``channel_info`` does, from async code in any event loop."""
    return await run(*_info(channel_id))


class _Tolerating:
    """Logs a PushError and goes on, where errors are to be ignored."""

    def __init__(self, ignore_errors: bool | None) -> None:
        self._ignore = ignore_errors

    def __enter__(self) -> None:
        if self._ignore is None:
            self._ignore = get_config().ignore_errors

    def __exit__(self, kind: object, error: object, traceback: object) -> bool:
        if self._ignore and isinstance(error, PushError):
            logger.error("An update was not sent", exc_info=error)
            return True
        return False


class _Message:
    """A publish that is ready to go; ``request`` is None where it stays in process."""

    def __init__(
        self,
        channel_id: str,
        body: bytes,
        content_type: str | None,
        event: str | None,
    ) -> None:
        self._channel_id = channel_id
        self._body, self._content_type, self._event = body, content_type, event
        self._terms = publishing_terms()
        # The same is refused whichever way it would go.
        publishing.check(
            channel_id,
            body=body,
            content_type=content_type,
            event=event,
            max_body=self._terms.max_body,
        )
        self.request: Request | None = None
        if is_remote(self._terms.store):
            self.request = remote.prepare(
                "POST", channel_id, body, content_type=content_type, event=event
            )

    @property
    def ways(self) -> Ways[Sent]:
        there = None if self.request is None else partial(remote.publish, self.request)
        return self._publish_here, there

    async def _publish_here(self) -> Sent:
        key = self._terms.store, self._channel_id
        if not self._terms.create_on_post and not await publishing.exists(key):
            raise PublishRefused(
                f"There is no channel {self._channel_id!r}, and the publisher location "
                "has 'create_on_post': False.",
                status=404,
            )
        published = await publishing.publish(
            key,
            body=self._body,
            content_type=self._content_type,
            event=self._event,
            keep=self._terms.store_messages,
            max_body=self._terms.max_body,
        )
        return Sent(str(published.message.id), published.held)


class _Update:
    """An update as a message, and what the signals say about it."""

    def __init__(
        self, channel_id: str, data: Any, already_serialized: bool, event: str | None
    ) -> None:
        body = _serialized(data) if already_serialized else _serialize(data)
        self.message = _Message(channel_id, body, "application/json", event)
        self.about = {
            "channel_id": channel_id,
            "data": data,
            "already_serialized": already_serialized,
            "request": self.message.request,
        }


def _serialized(data: Any) -> bytes:
    try:
        return data.encode() if isinstance(data, str) else bytes(memoryview(data))
    except (TypeError, ValueError) as error:
        raise NotSerializable(
            f"already_serialized data is text or UTF-8 bytes; this is not: {error}"
        ) from error


def _serialize(data: Any) -> bytes:
    try:
        # What JavaScript cannot parse (NaN) is refused here, where it can be fixed.
        return json.dumps(data, cls=DjangoJSONEncoder, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise NotSerializable(f"The update is no JSON: {error}") from error


def _message(
    channel_id: str, body: Body, content_type: str | None, event: str | None
) -> _Message:
    if isinstance(body, str):
        plain = "text/plain; charset=utf-8"
        return _Message(channel_id, body.encode(), content_type or plain, event)
    # What is kept must not change any more, as a bytearray can.
    return _Message(channel_id, bytes(memoryview(body)), content_type, event)


def _delete(channel_id: str) -> Ways[bool]:
    key = publishing_terms().store, validate_channel_id(channel_id)

    there = partial(remote.delete, channel_id) if is_remote(key[0]) else None
    return partial(publishing.delete, key), there


def _info(channel_id: str) -> Ways[ChannelInfo | None]:
    key = publishing_terms().store, validate_channel_id(channel_id)

    async def here() -> ChannelInfo | None:
        return await publishing.info(key) if await publishing.exists(key) else None

    return here, partial(remote.info, channel_id) if is_remote(key[0]) else None
