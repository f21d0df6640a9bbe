"""What a forked child must not use: the loops, sockets and threads of its parent."""

import os
from typing import Any

__all__ = ["forget_in_child"]

# Kept alive on purpose. To close an inherited socket would take it out of the epoll
# set that parent and child share: the parent would never hear of it again.
_inherited: list[Any] = []


def forget_in_child(registry: dict[Any, Any]) -> None:
    """Have the registry emptied in every child, without closing what was in it."""

    def forget() -> None:
        _inherited.append(dict(registry))
        registry.clear()

    os.register_at_fork(after_in_child=forget)
