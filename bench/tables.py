"""Tables of the profiles: a row for each part, a column for each application."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["HEAD", "beside", "cells"]

HEAD = "bare ASGI | django-pushserver |"


def beside(
    head: str,
    columns: Sequence[Mapping[str, float]],
    *,
    least: float,
    unit: str,
    sums: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """The largest parts first; those below `least` in all columns become one row.

    `sums` are rows for all that begins alike: their names, and how that begins.
    """
    yield f"| {head} | {HEAD}"
    yield "| --- | ---: | ---: |"
    parts = dict.fromkeys(name for column in columns for name in column)
    rows = {name: [column.get(name, 0.0) for column in columns] for name in parts}
    for words, start in (sums or {}).items():
        if own := [row for name, row in rows.items() if name.startswith(start)]:
            yield cells(words, map(sum, zip(*own, strict=True)))
    small = [0.0 for _ in columns]
    for name, row in sorted(rows.items(), key=lambda item: -max(item[1])):
        if max(map(abs, row)) < least:
            small = [a + b for a, b in zip(small, row, strict=True)]
        else:
            yield cells(name, row)
    if any(small):
        yield cells(f"less than {least:g} {unit} each", small)
    yield cells("all", (sum(column.values()) for column in columns))


def cells(name: str, figures: Iterable[float]) -> str:
    return f"| {name} | {' | '.join(f'{figure:.1f}' for figure in figures)} |"
