"""Does a poll still cost what it did? A small comparison, for `make test`.

CPU per delivery of ours and of the bare application, on uvicorn, in turns and in one
run. RATIO is what was measured when the code was as it is; who makes a poll cheaper
lowers it. ``python -m bench.guard [application]`` prints a line of JSON.
"""

import contextlib
import json
import sys

from bench.client import Load
from bench.servers import Candidate, running

__all__ = ["ALLOWED", "RATIO", "measured"]

RATIO = 1.8  # Python 3.13, asyncio's own loop
ALLOWED = 1.25 * RATIO
ROUNDS = 3
READERS = 300
MESSAGES = 4


def measured(*, ours: str = "ours", server: str = "uvicorn") -> float:
    """Return the ratio; the cheapest round of each counts, as noise only adds."""
    best = {"ceiling": float("inf"), ours: float("inf")}
    with contextlib.ExitStack() as stack:
        targets = {
            name: stack.enter_context(
                running(Candidate(application=name, server=server))
            )
            for name in best
        }
        for _ in range(ROUNDS):
            for name, target in targets.items():
                with Load(target) as load:
                    result = load.burst(readers=READERS, messages=MESSAGES)
                if result.delivered != READERS * MESSAGES or result.errors:
                    raise RuntimeError(f"{name} has lost something: {result}")
                best[name] = min(best[name], result.cpu_us)
    return best[ours] / best["ceiling"]


if __name__ == "__main__":
    ratio = measured(ours=(sys.argv[1:] or ["ours"])[0])
    print(json.dumps({"ratio": ratio, "allowed": ALLOWED}))
