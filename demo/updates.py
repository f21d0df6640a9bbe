"""What the site sends to its pages. All of it goes through one channel.

Each held poll takes one of the six connections that a browser opens to a host, for
all its windows together; so a page has one channel and tells updates by their type.
"""

from typing import Any

from demo.models import Choice

CHANNEL = "demo"


def votes_update() -> dict[str, Any]:
    """Return the state of the poll. A page keeps the one with the highest total."""
    counts = dict(Choice.objects.values_list("pk", "votes"))
    return {"type": "votes", "counts": counts, "total": sum(counts.values())}
