"""One entry of ``PUSH_SERVER["locations"]``: a URL pattern with a role.

A pattern works in both directions: it finds the channel id in a path, and it
makes the path of a channel id.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import quote

from django.utils.regex_helper import normalize

from pushserver.conf import values
from pushserver.names import quote_channel_id
from pushserver.problems import MISSING, Id, Refused, Section, key

__all__ = ["Location", "prefix_pattern", "read_locations", "url_pattern"]

DEFAULT_LOCATIONS = (
    {"type": "subscriber", "prefix": "/updates/"},
    {"type": "publisher", "prefix": "/send-update/"},
    {"type": "multiplex", "url": "/updates"},
)

_READERS = "subscriber multiplex"


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Where clients subscribe or publish, and on which terms."""

    type: Literal["subscriber", "publisher", "multiplex"] = key(
        values.choice("subscriber", "publisher", "multiplex")
    )
    pattern: re.Pattern[str]

    store: str = key(values.store_alias, "default", role="subscriber publisher")

    # Held until there is news; "interval" answers at once, for clients that
    # cannot wait.
    polling: Literal["long", "interval"] = key(
        values.choice("long", "interval"), "long", role="subscriber"
    )
    # A page that is opened before the first update is the usual case.
    create_on_get: bool = key(values.boolean, True, role="subscriber")
    # What is still kept is what a page that is just loading has not seen.
    first_message: Literal["oldest", "newest"] | int = key(
        values.first_message, "oldest", role="subscriber"
    )
    # Several tabs of one user all get the update.
    concurrency: Literal["broadcast", "last", "first"] = key(
        values.choice("broadcast", "last", "first"), "broadcast", role="subscriber"
    )
    # () is none, ("*",) is any: other sites may not read unless told so.
    allow_origin: tuple[str, ...] = key(values.origins, (), role=_READERS)
    allow_credentials: bool = key(values.boolean, False, role=_READERS)
    # Unset, the value of the whole server.
    poll_timeout: float = key(values.positive_seconds, role=_READERS)
    max_stream_seconds: float = key(values.positive_seconds, role=_READERS)
    max_stream_bytes: int = key(values.positive_count, role=_READERS)
    heartbeat: float = key(values.positive_seconds, role=_READERS)
    # All that there are: which one gets through is for the client to find out.
    transports: tuple[str, ...] = key(
        values.transports, values.TRANSPORTS, role=_READERS
    )
    # Accepted for the predecessor's settings, and unused.
    passthrough: str | None = key(values.passthrough, None, role="subscriber")

    create_on_post: bool = key(values.boolean, True, role="publisher")
    store_messages: bool = key(values.boolean, True, role="publisher")
    # None: loopback while DEBUG is on, nobody otherwise.
    allow: tuple[values.Network, ...] | None = key(
        values.networks, None, role="publisher"
    )
    # Unset, the value of the whole server.
    max_body: int = key(values.positive_count, role="publisher")

    # A page listens to a dozen; each costs a kilobyte or two.
    max_channels: int = key(values.positive_count, 1000, role="multiplex")
    # 1 MiB: a thousand channels, each with a cursor and a token.
    max_request: int = key(values.positive_count, 1_048_576, role="multiplex")
    # 256 KiB: what waits is sent in pieces that a phone can take.
    max_answer: int = key(values.positive_count, 262_144, role="multiplex")

    def channel_id(self, path: str) -> str | None:
        """Return the channel id in a decoded path, None if it is not ours.

        The id is as the path has it: whether it is valid is another question. It is
        empty for a multiplex location, whose path names no channel.
        """
        match = self.pattern.fullmatch(path)
        return None if match is None else match[1]

    def offers(self, transport: str) -> bool:
        """Whether readers may come this way."""
        if self.type == "subscriber" and self.polling == "interval":
            return transport == "long-poll"
        return transport in self.transports

    def reverse(self, channel_id: str) -> str:
        """Return the path of a channel, percent-encoded.

        Raises ValueError when the pattern can match no path with that id.
        """
        for form in _forms(self.pattern):
            if self.channel_id(channel_id.join(form)) == channel_id:
                return quote_channel_id(channel_id).join(
                    quote(literal, safe=_PATH_SAFE) for literal in form
                )
        raise ValueError(
            f"The URL pattern {self.pattern.pattern!r} cannot match the channel id "
            f"{channel_id!r}."
        )


# What RFC 3986 allows unencoded in a path.
_PATH_SAFE = "/~:@!$&'()*+,;="


@cache
def _forms(pattern: re.Pattern[str]) -> tuple[tuple[str, ...], ...]:
    """Return the ways to write a path for the pattern.

    Each is the literals around the channel id, which stands once or (for a
    pattern with a back reference) more often.
    """
    try:
        normalized = normalize(pattern.pattern)
    except (ValueError, IndexError, RuntimeError):
        # Django's normalize knows a part of the syntax, and says so in several
        # ways.
        return ()
    return tuple(
        tuple(form.split(f"%({names[0]})s"))
        for form, names in normalized
        if len(names) == 1 and form.startswith("/") and not form.startswith("//")
    )


def url_pattern(value: object) -> re.Pattern[str]:
    """Compile the ``url`` of a location."""
    if not isinstance(value, str):
        raise Refused(Id.URL_SYNTAX, "a regular expression")
    try:
        pattern = re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise Refused(Id.URL_SYNTAX, f"a regular expression ({error})") from None
    if pattern.groups != 1:
        raise Refused(
            Id.URL_GROUPS,
            "a regular expression with exactly one group, the channel id "
            f"(this one has {pattern.groups})",
            hint="'(?:...)' groups without capturing.",
        )
    if not _forms(pattern):
        raise Refused(
            Id.URL_REVERSAL,
            "a regular expression that begins with '/' and can be reversed: "
            "no '|' outside the group, no flags, and the group once",
        )
    return pattern


def multiplex_pattern(value: object) -> re.Pattern[str]:
    """Compile the ``url`` of a multiplex location: its channel id is empty."""
    if isinstance(value, str) and ")" not in value:
        return url_pattern(f"{value}()")
    raise Refused(Id.URL_GROUPS, "a path without groups, such as '/updates'")


def prefix_pattern(value: object) -> re.Pattern[str]:
    """Compile the ``prefix`` of a location: all that follows is the channel id."""
    if not isinstance(value, str) or not re.match(r"/(?!/)", value):
        raise Refused(Id.PREFIX, "a path that begins with one '/'")
    # DOTALL, so that an id with a line break is refused as such.
    return re.compile(f"{re.escape(value)}(.+)", re.DOTALL)


def read_locations(
    section: Section, *, inherited: Mapping[str, Any], stores: Collection[str]
) -> tuple[Location, ...]:
    """Read ``locations``; ``inherited`` holds the values of the whole server."""
    entries = section.get("locations", DEFAULT_LOCATIONS)
    if not isinstance(entries, list | tuple):
        accepted = "a list or tuple of dictionaries"
        section.refuse("locations", Refused(Id.LOCATIONS, accepted))
        return ()
    locations: list[Location] = []
    for index, entry in enumerate(entries):
        name = f"{section.path('locations')}[{index}]"
        if not isinstance(entry, Mapping):
            refused = Refused(Id.LOCATIONS, "a dictionary")
            section.found.append(refused.problem(name, entry))
            continue
        opened = Section(name, entry, section.found)
        location = _read_location(opened, inherited, stores)
        if location is None:
            continue
        if any(location.pattern == earlier.pattern for earlier in locations):
            opened.report(
                Id.UNREACHABLE_LOCATION,
                " is never used: an earlier location has the same pattern.",
            )
        locations.append(location)
    return tuple(locations)


def _read_location(
    section: Section, inherited: Mapping[str, Any], stores: Collection[str]
) -> Location | None:
    role = section.values.get("type")
    if role == "multiplex":
        default = multiplex_pattern("/updates")
        pattern: re.Pattern[str] | None = section.take(
            "url", multiplex_pattern, default
        )
    else:
        pattern = _read_pattern(section)
    if role not in ("subscriber", "publisher", "multiplex"):
        # Which keys belong here is unknown, so none is refused for its role.
        role = None
    fields = section.take_fields(Location, role=role, inherited=inherited)
    others = {
        field.name: other
        for field in dataclasses.fields(Location)
        if (other := field.metadata.get("role")) and role not in other.split()
    }
    section.refuse_unknown(others)
    if fields["store"] not in stores:
        accepted = ", ".join(repr(alias) for alias in stores)
        section.refuse("store", Refused(Id.UNKNOWN_STORE, accepted))
    if fields["allow_origin"] == ("*",) and fields["allow_credentials"]:
        accepted = "False, because 'allow_origin' is '*'"
        hint = "List the origins that may send cookies."
        refused = Refused(Id.ANY_ORIGIN_WITH_CREDENTIALS, accepted, hint=hint)
        section.refuse("allow_credentials", refused)
    if fields["passthrough"] is not None:
        section.report(
            Id.PASSTHROUGH_UNUSED,
            "['passthrough'] is no longer needed: signals are sent in this process.",
            hint="Remove the key.",
        )
    return None if pattern is None else Location(pattern=pattern, **fields)


def _read_pattern(section: Section) -> re.Pattern[str] | None:
    url, prefix = section.get("url", MISSING), section.get("prefix", MISSING)
    if (url is MISSING) is (prefix is MISSING):
        wrong = "neither 'url' nor" if url is MISSING else "both 'url' and"
        message = f" has {wrong} 'prefix'; accepted: exactly one of them."
        section.report(Id.URL_OR_PREFIX, message)
        return None
    form, parse = (
        ("url", url_pattern) if prefix is MISSING else ("prefix", prefix_pattern)
    )
    pattern: re.Pattern[str] | None = section.take(form, parse, None)
    return pattern
