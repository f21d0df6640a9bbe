"""What can be wrong with the settings, and how a dictionary of them is read.

Every kind of problem has one id, allocated in ``Id`` and never used again for
something else: projects write ids into ``SILENCED_SYSTEM_CHECKS``.
"""

import dataclasses
import difflib
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

__all__ = ["MISSING", "Id", "Problem", "Refused", "Section", "key"]


class Id(StrEnum):
    """The id of each system check; ``docs/reference/checks.md`` explains them."""

    NOT_A_DICT = "pushserver.E001"
    UNKNOWN_KEY = "pushserver.E002"
    SWITCH = "pushserver.E003"
    CHOICE = "pushserver.E004"
    NUMBER = "pushserver.E005"
    PORT = "pushserver.E006"
    ADDRESS = "pushserver.E007"
    SERVERNAME = "pushserver.E008"
    HOST = "pushserver.E009"
    STORE_NAMES = "pushserver.E010"
    STORE_TYPE = "pushserver.E011"
    STORE_NOT_FOUND = "pushserver.E012"
    STORE_BROKEN = "pushserver.E013"
    MIN_OVER_MAX = "pushserver.E014"
    LOCATIONS = "pushserver.E015"
    URL_OR_PREFIX = "pushserver.E016"
    URL_SYNTAX = "pushserver.E017"
    URL_GROUPS = "pushserver.E018"
    URL_REVERSAL = "pushserver.E019"
    PREFIX = "pushserver.E020"
    OTHER_ROLE = "pushserver.E021"
    ORIGIN = "pushserver.E022"
    ANY_ORIGIN_WITH_CREDENTIALS = "pushserver.E023"
    NETWORKS = "pushserver.E024"
    UNKNOWN_STORE = "pushserver.E025"
    LAYER = "pushserver.E026"
    PASSTHROUGH = "pushserver.E027"
    REDIS_URL = "pushserver.E028"
    KEY_PREFIX = "pushserver.E029"
    URL_AND_HOST = "pushserver.E030"
    ENCRYPTED_LAYER = "pushserver.E031"
    REDIS_CLUSTER = "pushserver.E032"
    LAYER_HOSTS = "pushserver.E033"

    PASSTHROUGH_UNUSED = "pushserver.W001"
    UNBOUNDED_STORE = "pushserver.W002"
    UNREACHABLE_LOCATION = "pushserver.W003"
    MEMORY_STORE_WITH_WORKERS = "pushserver.W004"
    MEMORY_LAYER_WITH_WORKERS = "pushserver.W005"
    OPEN_PUBLISHER = "pushserver.W006"
    ANY_ORIGIN = "pushserver.W007"

    @property
    def is_error(self) -> bool:
        return self.startswith("pushserver.E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong (or, with a W in its id, doubtful)."""

    id: Id
    message: str
    hint: str | None = None


class Refused(ValueError):
    """A value is not accepted; raised by the parsers, turned into a Problem.

    ``accepted`` completes the sentence "... is 7; accepted: <accepted>."
    """

    def __init__(self, code: Id, accepted: str, *, hint: str | None = None) -> None:
        super().__init__(accepted)
        self.code = code
        self.accepted = accepted
        self.hint = hint

    def problem(self, name: str, value: object) -> Problem:
        """Say which value was refused."""
        message = f"{name} is {_short.repr(value)}; accepted: {self.accepted}."
        return Problem(id=self.code, message=message, hint=self.hint)


# A wrong value may be huge (a whole dictionary in the wrong place).
_short = reprlib.Repr()
_short.maxstring = _short.maxother = 200


class _Missing:
    """Stands for a required key that is not there; every parser refuses it."""

    def __repr__(self) -> str:
        return "missing"


MISSING: Final = _Missing()


def key(parse: Callable[[Any], Any], default: Any = MISSING, *, role: str = "") -> Any:
    """Declare a dataclass field that is a settings key of the same name.

    Without a default the key is required, unless the reader hands one down.
    ``role`` limits the key to one type of location, or to some with spaces between.
    """
    metadata = {"parse": parse, "role": role}
    if default is MISSING:
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


class Section:
    """One dictionary of the settings while it is read.

    Whatever is wrong with it is appended to ``found``; reading always goes on,
    so that the user sees all problems at once.
    """

    def __init__(
        self, name: str, values: Mapping[Any, Any], found: list[Problem]
    ) -> None:
        self.name = name
        self.values = values
        self.found = found
        self._known: set[str] = set()
        self._found_before = len(found)

    @property
    def is_valid(self) -> bool:
        """Whether no error was found since this section was opened."""
        return not any(p.id.is_error for p in self.found[self._found_before :])

    def path(self, key: object) -> str:
        return f"{self.name}[{key!r}]"

    def get(self, key: str, default: Any) -> Any:
        """Return a value that the caller parses."""
        self._known.add(key)
        return self.values.get(key, default)

    def take(self, key: str, parse: Callable[[Any], Any], default: Any) -> Any:
        """Return the parsed value; the default where it is not set or refused.

        None is "not set" for a key whose default is None.
        """
        value = self.get(key, default)
        if value is default and value is not MISSING:
            return default
        try:
            return parse(value)
        except Refused as refused:
            self.refuse(key, refused)
            return default

    def take_fields(
        self,
        schema: Any,
        *,
        role: str | None = None,
        inherited: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Take every field of a dataclass that was declared with ``key``.

        ``inherited`` holds the defaults that are settings themselves. With
        a role the keys of other roles are not taken and get their default.
        """
        taken = {}
        for field in dataclasses.fields(schema):
            if "parse" not in field.metadata:
                continue
            default = (inherited or {}).get(field.name, field.default)
            if default is dataclasses.MISSING:
                default = MISSING
            roles = field.metadata["role"].split()
            if role is None or not roles or role in roles:
                default = self.take(field.name, field.metadata["parse"], default)
            taken[field.name] = default
        return taken

    def open(self, key: str, default: Mapping[str, Any] | None) -> "Section | None":
        """Return the dictionary under a key as a section.

        None stands for "not set", if that is the default, and for a value that
        was refused.
        """
        value = self.get(key, default)
        if isinstance(value, Mapping):
            return Section(self.path(key), value, self.found)
        if value is not None or default is not None:
            self.refuse(key, Refused(Id.NOT_A_DICT, "a dictionary"))
        return None

    def empty(self, key: str) -> "Section":
        """Return what stands in for a dictionary that was refused."""
        return Section(self.path(key), {}, self.found)

    def rest(self) -> dict[Any, Any]:
        """Return what was not taken."""
        return {k: value for k, value in self.values.items() if k not in self._known}

    def refuse_unknown(self, others: Mapping[str, str] | None = None) -> None:
        """Refuse every key that was not taken.

        ``others`` are the keys of the other types of location, with their type.
        """
        accepted = ", ".join(repr(known) for known in sorted(self._known))
        for key in self.rest():
            if others and key in others:
                code, hint = Id.OTHER_ROLE, None
                roles = " or ".join(others[key].split())
                wrong = f"the key {key!r}, which is for a {roles}"
            else:
                close = difflib.get_close_matches(str(key), self._known, n=1)
                code, hint = Id.UNKNOWN_KEY, f"Is it {close[0]!r}?" if close else None
                wrong = f"the unknown key {key!r}"
            message = f"{self.name} has {wrong}; accepted: {accepted}."
            self.found.append(Problem(id=code, message=message, hint=hint))

    def refuse(self, key: str, refused: Refused) -> None:
        """Report that the value of a key is not accepted."""
        value = self.values.get(key, MISSING)
        self.found.append(refused.problem(self.path(key), value))

    def report(self, code: Id, message: str, *, hint: str | None = None) -> None:
        """Report anything else about this section; its name starts the message."""
        message = f"{self.name}{message}"
        self.found.append(Problem(id=code, message=message, hint=hint))
