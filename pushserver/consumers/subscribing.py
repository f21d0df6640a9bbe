"""What a client of a multiplex location asks for: channels, by id or by URL. Pure.

A request that is wrong as a whole is a BadRequest. What is wrong with one channel is
told of that channel alone: the others go on.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple
from urllib.parse import unquote_to_bytes

from django.core.exceptions import BadRequest

from pushserver.conf import Config
from pushserver.conf.locations import Location
from pushserver.consumers.endpoints import below
from pushserver.consumers.frames import channel_head
from pushserver.consumers.memo import remember_last
from pushserver.engine.waiters import Key
from pushserver.exceptions import InvalidChannelId, InvalidCursor
from pushserver.messages import Cursor
from pushserver.names import validate_channel_id

__all__ = [
    "Asked",
    "Frame",
    "Refused",
    "Wanted",
    "find",
    "read_body",
    "read_frame",
]

Kind = Literal["channel", "url"]
Place = tuple[str, Key, Location]  # with the head of its entries

_KINDS: dict[str, Kind] = {"channels": "channel", "urls": "url"}

# Names whose place is remembered: finding one costs 8 us, and a long poll of fifty
# channels names all of them each time. Only such as have one, and no long ones.
_REMEMBERED = 8192
_LONG = 1024  # characters


class Asked(NamedTuple):
    """One channel as the client names it, and what it says of it."""

    kind: Kind
    name: str
    options: Any

    @property
    def head(self) -> str:
        return channel_head(self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a client's frame asks for."""

    unsubscribe: list[Asked]
    subscribe: list[Asked]


class Wanted(NamedTuple):
    """A channel to listen to, on the terms of its location."""

    head: str
    key: Key
    cursor: Cursor | None
    location: Location


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a channel is not listened to."""

    head: str
    status: int
    reason: str


def read_body(body: bytes, *, most: int) -> list[Asked]:
    """Read the body of a request for at most so many channels. Raises BadRequest."""
    asked = list(_read_names(_object(_parse(body), "The body"), dict))
    if not asked:
        raise BadRequest("'channels' and 'urls' are both missing or empty.")
    if len(asked) > most:
        raise BadRequest(f"{len(asked)} channels; accepted: {most} on one connection.")
    return asked


def read_frame(text: str) -> Frame:
    """Read a client's frame. Raises BadRequest."""
    frame = _object(_parse(text), "A frame")
    if not frame.keys() & {"subscribe", "unsubscribe"}:
        raise BadRequest("A frame has 'subscribe' or 'unsubscribe'; this has neither.")
    unsubscribe = _object(frame.get("unsubscribe", {}), "'unsubscribe'")
    subscribe = _object(frame.get("subscribe", {}), "'subscribe'")
    return Frame(
        unsubscribe=list(_read_names(unsubscribe, list)),
        subscribe=list(_read_names(subscribe, dict)),
    )


def find(asked: Asked, config: Config, *, prefix: str | None) -> Wanted | Refused:
    """Find a channel. ``prefix`` is the script prefix, which URLs begin with."""
    kind, name, options = asked
    try:
        locate = _locator(config) if len(name) <= _LONG else partial(_locate, config)
        head, key, location = locate(kind, name, prefix)
        return Wanted(head, key, _cursor(options), location)
    except LookupError as error:
        return Refused(asked.head, 404, str(error))
    except (InvalidChannelId, InvalidCursor, BadRequest) as error:
        return Refused(asked.head, 400, str(error))


def _cursor(options: Any) -> Cursor | None:
    since = _object({} if options is None else options, "A channel").get("since")
    if since is None or since == "":
        return None
    if not isinstance(since, str):
        raise InvalidCursor("'since' is no text; accepted: the id of a message.")
    return Cursor.parse(since)


@remember_last
def _locator(config: Config) -> Callable[[Kind, str, str | None], Place]:
    return lru_cache(_REMEMBERED)(partial(_locate, config))


def _locate(config: Config, kind: Kind, name: str, prefix: str | None) -> Place:
    location, channel_id = (
        _by_url(config, name, prefix) if kind == "url" else _by_id(config, name)
    )
    return channel_head(kind, name), (location.store, channel_id), location


def _by_url(config: Config, url: str, prefix: str | None) -> tuple[Location, str]:
    found = config.match(below(prefix, _decode(url)))
    if found is None or found[0].type != "subscriber":
        raise LookupError("No subscriber location has this URL.")
    return found[0], validate_channel_id(found[1])


def _by_id(config: Config, channel_id: str) -> tuple[Location, str]:
    validate_channel_id(channel_id)
    for location in config.locations:
        if location.type == "subscriber":
            try:
                # Its pattern says which channels there are.
                location.reverse(channel_id)
            except ValueError:
                raise LookupError("No URL has a channel of this id.") from None
            return location, channel_id
    raise LookupError("There is no subscriber location.")


def _decode(path: str) -> str:
    if not path.startswith("/") or "?" in path or "#" in path:
        raise BadRequest("A URL is given by its path alone, from the first '/'.")
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        raise InvalidChannelId("The path is not percent-encoded UTF-8.") from None


def _parse(text: str | bytes) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError):
        raise BadRequest("This is no JSON.") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadRequest("A name is there twice in one JSON object.")
    return found


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest(f"{name} is no JSON object.")
    return value


def _read_names(
    found: dict[str, Any], form: type[dict[str, Any]] | type[list[Any]]
) -> Iterator[Asked]:
    """Read the channels, each with its options where they are in an object."""
    for plural, kind in _KINDS.items():
        names = found.get(plural, form())
        if not isinstance(names, form):
            wanted = "an object" if form is dict else "a list"
            raise BadRequest(f"'{plural}' is not {wanted}.")
        for name in names:
            if not isinstance(name, str):
                raise BadRequest(f"'{plural}' has something that is no text.")
            yield Asked(kind, name, names[name] if isinstance(names, dict) else None)
