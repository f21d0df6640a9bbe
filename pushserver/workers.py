"""How many worker processes the server was told to start, where that can be seen."""

import os
import sys
from itertools import pairwise

__all__ = ["visible_workers"]

_VARIABLES = ("WEB_CONCURRENCY", "GRANIAN_WORKERS")
_OPTIONS = ("--workers", "-w")


def visible_workers() -> int:
    """Return the number of workers by environment and command line, else 1.

    A worker has its server's arguments also when it was spawned. What is not on
    them (a server's configuration file) cannot be seen.
    """
    words = [os.environ.get(name, "") for name in _VARIABLES]
    for option, value in pairwise([*sys.argv[1:], ""]):
        name, _, joined = option.partition("=")
        if name in _OPTIONS:
            words.append(joined or value)
    return max((int(word) for word in words if word.isdecimal()), default=1)
