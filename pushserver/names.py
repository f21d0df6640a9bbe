"""Which texts are channel ids, and how they look in URLs and group names."""

import hashlib
import re
from functools import lru_cache
from urllib.parse import quote

from pushserver.exceptions import InvalidChannelId

__all__ = ["MAX_CHANNEL_ID", "group_name", "quote_channel_id", "validate_channel_id"]

MAX_CHANNEL_ID = 255

# Cc: they end up in logs, headers and terminals. Cs: they have no UTF-8 form.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def validate_channel_id(channel_id: object) -> str:
    """Return the channel id as it is, or raise InvalidChannelId.

    Nothing is cut, folded or normalised: two ids are the same when all their
    characters are. The error says what is accepted and never repeats the id,
    which may be long and comes from anybody.
    """
    if not isinstance(channel_id, str):
        raise _no_channel_id(f"this one is of type {type(channel_id).__name__}")
    return _validate(channel_id)


@lru_cache(maxsize=1024)
def _validate(channel_id: str) -> str:
    if not channel_id:
        wrong = "this one is empty"
    elif len(channel_id) > MAX_CHANNEL_ID:
        wrong = f"this one has {len(channel_id)}"
    elif _CONTROL.search(channel_id):
        wrong = "this one has a control character"
    elif _SURROGATE.search(channel_id):
        wrong = "this one has a lone surrogate, which UTF-8 cannot encode"
    elif channel_id in {".", ".."}:
        # Browsers and proxies resolve both away, percent-encoded or not.
        wrong = "'.' and '..' mean something else in a URL"
    else:
        return channel_id
    raise _no_channel_id(wrong)


def _no_channel_id(wrong: str) -> InvalidChannelId:
    return InvalidChannelId(
        f"A channel id is a text of 1 to {MAX_CHANNEL_ID} characters "
        f"without control characters; {wrong}."
    )


def group_name(store_alias: str, channel_id: str) -> str:
    """Name the layer's group that carries the wake-ups of one channel.

    A digest, because a layer allows ASCII only and fewer than 100 characters.
    """
    # A channel id has no NUL, so the last one is always the separator.
    key = f"{store_alias}\0{channel_id}".encode()
    return f"pushserver.{hashlib.blake2b(key, digest_size=24).hexdigest()}"


def quote_channel_id(channel_id: str) -> str:
    """Percent-encode the UTF-8 of a channel id; a slash is encoded too."""
    return quote(channel_id, safe="")
