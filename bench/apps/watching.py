"""What the applications share that look at another one of ours while it is measured."""

import json
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

NAME = os.environ["BENCH_WATCHED"]
application: Any = import_module(f"bench.apps.{NAME}").app


async def told(scope: dict[str, Any], send: Any, found: Callable[[], object]) -> bool:
    """Answer with what was found, if that is what is asked for; say whether it was."""
    if scope.get("path") != "/watched":
        return False
    body = json.dumps(found()).encode()
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})
    return True
