"""Information about a channel, and as text, by what the client accepts. Pure.

The formats and names are those of Nchan, so that what reads one reads the other.
"""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache

from django.http import HttpRequest

__all__ = ["ChannelInfo", "render"]

_PLAIN = "text/plain"
_JSON = ("application/json", "text/json")
_XML = ("application/xml", "text/xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelInfo:
    """What is known of a channel, by the names that Nchan uses.

    Messages kept, whole seconds since it was last requested (-1: not known to have
    been), readers held, and the id of its last message (``0-0``: none).
    """

    messages: int
    requested: int
    subscribers: int
    last_message_id: str


def render(info: ChannelInfo, accept: str) -> tuple[str, str]:
    """Return content type and text: plain text unless JSON or XML is preferred."""
    preferred = _preferred(accept)
    if preferred in _JSON:
        return preferred, json.dumps(asdict(info))
    if preferred in _XML:
        elements = "".join(
            f"  <{name}>{value}</{name}>\n" for name, value in asdict(info).items()
        )
        document = f"<channel>\n{elements}</channel>\n"
        return preferred, f'<?xml version="1.0" encoding="UTF-8"?>\n{document}'
    return f"{_PLAIN}; charset=utf-8", (
        f"queued messages: {info.messages}\n"
        f"last requested: {info.requested} sec. ago\n"
        f"active subscribers: {info.subscribers}\n"
        f"last message id: {info.last_message_id}\n"
    )


# Every answer to a publish has a report, and Django's rules take 100 us.
@lru_cache(maxsize=128)
def _preferred(accept: str) -> str | None:
    request = HttpRequest()
    request.META["HTTP_ACCEPT"] = accept
    try:
        return request.get_preferred_type([_PLAIN, *_JSON, *_XML])
    except (ValueError, LookupError):
        # Unreadable (or too long, or of an unknown encoding, by Django's version).
        # Nothing is to fail any more: the message may have been published already.
        return None
