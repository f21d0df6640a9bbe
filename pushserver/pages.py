"""What a page needs to listen from the moment it was made, and not from when it polls.

Between the queries of a view and the first poll of its page there are seconds in which
something may be published. A page that knows the cursor of its channels as they were
*before* the queries gets that, and nothing that it shows already.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Literal

from django.urls import get_script_prefix

from pushserver import links
from pushserver.conf import get_config
from pushserver.conf.locations import Location
from pushserver.engine.publishing import ChannelInfo
from pushserver.exceptions import PushError
from pushserver.messages import START
from pushserver.sending import achannel_info, channel_info

__all__ = [
    "achannel_cursor",
    "apush_config",
    "channel_cursor",
    "channel_url",
    "push_config",
]

logger = logging.getLogger(__name__)


def channel_cursor(channel_id: str) -> str:
    """Return the channel's cursor of the moment: what is published later comes after.

    Raises PushError where the store, or the daemon that has it, cannot be asked.
    """
    return _cursor(channel_info(channel_id))


async def achannel_cursor(channel_id: str) -> str:
    """Do what ``channel_cursor`` does, from async code in any event loop."""
    return _cursor(await achannel_info(channel_id))


def channel_url(channel_id: str, *, since: str | Literal[True] | None = None) -> str:
    """Return the URL at which a page subscribes to the channel.

    At ``subscriber_host`` when that is set, else a path below the script prefix of
    the site. ``since`` is where its reader starts: a cursor, or True for the one of
    this moment, which is left out (and logged) where it cannot be had. Raises
    InvalidChannelId (a ValueError), also for an id that the location's pattern cannot
    match.
    """
    url = links.channel_url(channel_id)
    if since is True:
        since = _cursor_or_none(channel_id)
    return f"{url}?since={since}" if since else url


def push_config(
    *channel_ids: str, since: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return what ``connect`` of push.js starts from, as JSON data.

    ``since`` are cursors taken earlier; the others are taken now, and are null (and
    logged) where they cannot be had. Raises InvalidChannelId.
    """
    known = since or {}
    return _config(
        {name: known.get(name) or _cursor_or_none(name) for name in channel_ids}
    )


async def apush_config(
    *channel_ids: str, since: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Do what ``push_config`` does, from async code in any event loop."""
    known = since or {}

    async def cursor(name: str) -> str | None:
        if name in known:
            return known[name]
        try:
            return await achannel_cursor(name)
        except PushError as error:
            _log(name, error)
            return None

    cursors = await asyncio.gather(*map(cursor, channel_ids))
    return _config(dict(zip(channel_ids, cursors, strict=True)))


def _cursor(info: ChannelInfo | None) -> str:
    return str(START) if info is None else info.last_message_id


def _cursor_or_none(channel_id: str) -> str | None:
    try:
        return channel_cursor(channel_id)
    except PushError as error:
        _log(channel_id, error)
        return None


def _log(channel_id: str, error: PushError) -> None:
    if isinstance(error, ValueError):
        raise error  # it is the caller's
    # A page is better off without live updates than not at all.
    logger.error("No cursor for the channel %r", channel_id, exc_info=error)


def _config(cursors: Mapping[str, str | None]) -> dict[str, Any]:
    locations = get_config().locations
    many = next((each for each in locations if each.type == "multiplex"), None)
    one = next((each for each in locations if each.type == "subscriber"), None)
    terms = many or one
    return {
        "multiplex": None if many is None else _url(many),
        "channels": {
            name: {"url": links.channel_url(name), "since": cursor}
            for name, cursor in cursors.items()
        },
        "transports": [] if terms is None else list(terms.transports),
    }


def _url(location: Location) -> str:
    host = get_config().subscriber_host
    if host is None:
        return get_script_prefix().rstrip("/") + location.reverse("")
    return host.url + location.reverse("")
