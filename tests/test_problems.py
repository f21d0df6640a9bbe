"""Reading a dictionary of settings and reporting what is wrong with it."""

import re
from dataclasses import dataclass

from pushserver.problems import Id, Problem, Refused, Section, key


def even(value: object) -> int:
    if isinstance(value, int) and value % 2 == 0:
        return value
    raise Refused(Id.NUMBER, "an even number", hint="Add one.")


@dataclass
class Pair:
    other: str
    first: int = key(even)
    second: int | None = key(even, None)
    third: int = key(even, 6, role="guest")


def opened(**values: object) -> Section:
    return Section("PAIR", values, [])


def test_ids_are_unique_and_well_formed() -> None:
    """Each id is pushserver.E or W with three digits and stands once."""
    ids = [str(id_) for id_ in Id.__members__.values()]
    assert len(set(ids)) == len(Id.__members__)
    assert all(re.fullmatch(r"pushserver\.[EW]\d{3}", id_) for id_ in ids)


def test_values_are_parsed_and_defaults_filled_in() -> None:
    """Fields without a key are left to the caller."""
    section = opened(first=2)
    assert section.take_fields(Pair) == {"first": 2, "second": None, "third": 6}
    assert section.found == []


def test_none_is_not_set_where_the_default_is_none() -> None:
    """Elsewhere None is a value like any other, and refused."""
    section = opened(first=None, second=None)
    section.take_fields(Pair)
    assert [p.message for p in section.found] == [
        "PAIR['first'] is None; accepted: an even number."
    ]


def test_a_required_key_is_missing() -> None:
    """The report says so and what the key accepts."""
    section = opened()
    section.take_fields(Pair)
    assert section.found == [
        Problem(
            id=Id.NUMBER,
            message="PAIR['first'] is missing; accepted: an even number.",
            hint="Add one.",
        )
    ]
    assert not section.is_valid


def test_a_required_key_may_be_inherited() -> None:
    """A default that is a setting itself fills the field."""
    assert opened().take_fields(Pair, inherited={"first": 4})["first"] == 4


def test_keys_of_another_role_are_refused_as_such() -> None:
    """They keep their default, and the report tells whom they are for."""
    section = opened(first=2, third=8)
    assert section.take_fields(Pair, role="host")["third"] == 6
    section.refuse_unknown({"third": "guest"})
    assert [(p.id, p.message) for p in section.found] == [
        (
            Id.OTHER_ROLE,
            "PAIR has the key 'third', which is for a guest; "
            "accepted: 'first', 'second'.",
        )
    ]


def test_unknown_keys_are_refused_with_a_suggestion() -> None:
    """Any key may be there, a number too."""
    section = opened(first=2, secnd=4)
    section.values = {**section.values, 7: 8}
    section.take_fields(Pair, role="host")
    section.refuse_unknown()
    assert [(p.id, p.hint) for p in section.found] == [
        (Id.UNKNOWN_KEY, "Is it 'second'?"),
        (Id.UNKNOWN_KEY, None),
    ]


def test_a_section_opens_another() -> None:
    """Its name shows the way, and what it finds is found by both."""
    section = opened(inner={"first": 1}, plain=3)
    inner = section.open("inner", default=None)
    assert inner is not None
    inner.take("first", even, 0)
    assert section.found[0].message.startswith("PAIR['inner']['first'] is 1;")
    assert section.open("unset", default=None) is None
    assert section.open("plain", default={}) is None
    assert section.found[1].message == "PAIR['plain'] is 3; accepted: a dictionary."


def test_validity_counts_from_where_a_section_was_opened() -> None:
    """Earlier problems and warnings leave a section valid."""
    section = opened(first=1)
    section.take_fields(Pair)
    later = Section("LATER", {}, section.found)
    later.report(Id.UNBOUNDED_STORE, " is doubtful.")
    assert later.is_valid
    assert not section.is_valid
    assert section.found[-1].message == "LATER is doubtful."


def test_a_huge_value_is_shortened() -> None:
    """A message stays readable whatever was put into the settings."""
    section = opened(first="x" * 100_000)
    section.take_fields(Pair)
    assert len(section.found[0].message) < 300
