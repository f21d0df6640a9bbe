"""How many worker processes the server was told to start, where that can be seen."""

import os
import re
import sys
from itertools import pairwise
from pathlib import Path

__all__ = ["visible_workers"]

_VARIABLES = ("WEB_CONCURRENCY", "GRANIAN_WORKERS")
_OPTION = re.compile(r"(?:--workers|-w)=?([0-9]*)")
# They know neither, and some hosts set WEB_CONCURRENCY for whatever they run.
_ALWAYS_ONE = {"daphne", "runpushserver", "runserver"}


def visible_workers() -> int:
    """Return the number of workers by command line, else by environment, else 1.

    A worker has its server's arguments also when it was spawned. What is not on
    them (a server's configuration file) cannot be seen.
    """
    program, *arguments = sys.argv or [""]
    path = Path(program)
    name = path.parent.name if path.name == "__main__.py" else path.name
    if _ALWAYS_ONE & {name, *arguments[:1]}:
        return 1
    words = [
        match[1] or value
        for option, value in pairwise([*arguments, ""])
        if (match := _OPTION.fullmatch(option))
    ] or [os.environ.get(variable, "") for variable in _VARIABLES]
    return max((int(word) for word in words if word.isdecimal()), default=1) or 1
