"""Does a delivery still cost what it did? Small comparisons, for `make test`.

CPU per delivery of ours and of the bare application, in turns and in one run. The
recorded ratios are what was measured when the code was as it is; who makes a delivery
cheaper lowers them. ``python -m bench.guard [poll|stream|runpushserver] [application]``
prints a line of JSON.
"""

import contextlib
import json
import sys
from dataclasses import dataclass

from bench.client import Load, Result, Target
from bench.servers import Candidate, running

__all__ = ["GUARDS", "Guard"]

ROUNDS = 3
WORSE = 1.25  # what is too much


@dataclass(frozen=True, kw_only=True)
class Guard:
    """One comparison, and the ratio on Python 3.13 with asyncio's own loop."""

    recorded: float
    transport: str = "poll"
    server: str = "uvicorn"
    bare: str = "uvicorn"

    @property
    def allowed(self) -> float:
        return WORSE * self.recorded

    def measured(self, application: str = "ours") -> float:
        """Return the ratio; the cheapest round of each counts, as noise only adds."""
        servers = {"ceiling": self.bare, application: self.server}
        best = dict.fromkeys(servers, float("inf"))
        with contextlib.ExitStack() as stack:
            targets = {}
            for name, server in servers.items():
                candidate = Candidate(
                    application=name, server=server, transport=self.transport
                )
                targets[name] = stack.enter_context(running(candidate))
            for _ in range(ROUNDS):
                for name, target in targets.items():
                    result = load(target)
                    if result.delivered != result.expected or result.errors:
                        raise RuntimeError(f"{name} has lost something: {result}")
                    best[name] = min(best[name], result.cpu_us)
        return best[application] / best["ceiling"]


GUARDS = {
    "poll": Guard(recorded=1.25),
    "stream": Guard(recorded=1.2, transport="stream"),
    "runpushserver": Guard(recorded=0.55, server="runpushserver", bare="daphne"),
}


def load(target: Target) -> Result:
    with Load(target) as readers:
        if target.transport == "poll":
            return readers.burst(readers=300, messages=4)
        # More of them, as a message costs each reader a few microseconds. No flood:
        # how much of that goes together depends on what else the machine does.
        return readers.burst(readers=600, messages=10)


if __name__ == "__main__":
    asked = dict(enumerate(sys.argv[1:]))
    guard = GUARDS[asked.get(0, "poll")]
    ratio = guard.measured(asked.get(1, "ours"))
    print(json.dumps({"ratio": ratio, "allowed": guard.allowed}))
