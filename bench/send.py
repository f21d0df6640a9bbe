"""What a send from a plain process costs, against Channels' own way.

``python -m bench.send [core|pubsub]`` starts a redis-server of its own and takes a few
seconds. Compared, in turns and in the same run:

* ``send_update(...)``: stored, counted and announced;
* ``async_to_sync(channel_layer.group_send)(...)``: a loop and a connection each.

Prints a line of JSON: calls a second of both, the ratio, and the rate of send_update
from eight threads at once.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable

import django
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.conf import settings

from pushserver import publisher, send_update
from tests.redis_server import RedisServer
from tests.sharing import CORE, PUBSUB
from tests.sharing import settings as project

SECONDS = 4.0
THREADS = 8


def per_call(function: Callable[[int], object], calls: int) -> float:
    started = time.perf_counter()
    for n in range(calls):
        function(n)
    return (time.perf_counter() - started) / calls


def measure() -> dict[str, float]:
    group_send = async_to_sync(get_channel_layer().group_send)

    def ours(n: int) -> None:
        send_update("news", {"type": "news", "n": n})

    def theirs(n: int) -> None:
        group_send("news", {"type": "news", "n": n})

    ours(0)
    theirs(0)
    # In turns, because the machine has other things to do now and then.
    times: list[tuple[float, float]] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        times.append((per_call(ours, 50), per_call(theirs, 10)))
    send, layer_send = (statistics.median(each) for each in zip(*times, strict=True))
    threads = [
        threading.Thread(target=per_call, args=(ours, 125)) for _ in range(THREADS)
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = (time.perf_counter() - started) / (THREADS * 125)
    return {
        "send_update": round(1 / send),
        "group_send": round(1 / layer_send),
        "ratio": round(layer_send / send, 1),
        "send_update in 8 threads": round(1 / together),
    }


def main(layer: str = "core") -> None:
    backend = {"core": CORE, "pubsub": PUBSUB}[layer]
    with RedisServer() as server:
        settings.configure(
            INSTALLED_APPS=["pushserver"],
            SECRET_KEY="measuring",
            **project(server, backend),
        )
        django.setup()
        measured = measure()
        publisher.close()
        print(json.dumps({"layer": layer, **measured}))


if __name__ == "__main__":
    main(*sys.argv[1:])
