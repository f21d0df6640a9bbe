"""A process that serves a small ASGI application with pushserver.server.daphne.

``python -m tests.serving <port> <drain_timeout> <stop_takes>``. Its standard output
tells what happened, a JSON list a line: ["listening", host, port], ["log", request
line, status, size], ["got", event] and at the end ["ended", what serve() returned].
"""

import asyncio
import atexit
import contextlib
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import Coroutine, Sequence
from functools import partial
from pathlib import Path
from socket import create_connection
from typing import Any

from asgiref.sync import sync_to_async

from tests.e2e.servers import ROOT, Server, free_port, wait_until

LIMIT = 1000
crowd: list[Any] = []
LENGTH = (b"content-length", b"5")


def start(*, drain_timeout: float = 10, stop_takes: float = 0) -> Server:
    """Start the process; its bodies are limited to LIMIT bytes below /limited."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.serving"]
    argv += [str(port), str(drain_timeout), str(stop_takes)]
    server = Server(argv, cwd=ROOT, port=port).wait_listening()
    # Said last: by then it also listens to signals.
    wait_until(lambda: told(server, "listening"), what="that it listens")
    return server


def told(server: Server, kind: str) -> list[Sequence[Any]]:
    """Return what the process has told so far about one kind of event."""
    lines = [json.loads(line) for line in server.stdout.splitlines()]
    return [line[1:] for line in lines if line[0] == kind]


def wait_told(server: Server, *event: object, deadline: float = 5) -> None:
    """Wait until the process tells exactly this."""
    kind, *rest = event
    wait_until(
        lambda: rest in told(server, str(kind)),
        deadline=deadline,
        what=f"{event} among {server.stdout}",
    )


def memory_peak(server: Server) -> int:
    """Return the most bytes of memory the process has ever used."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def tell(*event: object) -> None:
    print(json.dumps(event), flush=True)  # noqa: T201


held: set[asyncio.Future[None]] = set()


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await socket(scope, receive, send)
        return
    tell("got", scope["path"])
    length = 0
    while (event := await receive()).get("more_body"):
        length += len(event["body"])
    length += len(event.get("body", b""))

    async def answer(
        status: int, text: str, *headers: tuple[bytes, bytes], more: bool = False
    ) -> None:
        start = {"type": "http.response.start", "status": status}
        await send({**start, "headers": headers})
        event = {"type": "http.response.body", "body": text.encode()}
        await send({**event, "more_body": more})

    match scope["path"].removeprefix("/limited"):
        case "/held":
            # What a poll does: it waits for news or for the client to go.
            news = asyncio.get_running_loop().create_future()
            held.add(news)
            gone = asyncio.ensure_future(receive())
            await asyncio.wait([news, gone], return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                tell("got", gone.result()["type"])
            else:
                gone.cancel()
                await answer(503, "come back")
        case "/slow":
            await asyncio.sleep(1)
            await answer(200, "slow")
        case "/stream":
            await answer(200, "begin ", more=True)
            await asyncio.sleep(1)
            await send({"type": "http.response.body", "body": b"end"})
        case "/never":
            await asyncio.sleep(3600)
        case "/stubborn":
            while True:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(3600)
        case "/thread":
            await sync_to_async(threading.Event().wait)(3600)
        case "/late":
            await answer(200, "first the answer, then some work")
            await asyncio.sleep(0.5)
            tell("got", "late work done")
        case "/crowd/1" | "/crowd/2":
            # One that is accepted before the drain begins, and made known after that.
            crowd.append(create_connection(tuple(scope["server"])))
            for _ in range(int(scope["path"][-1])):
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            await answer(200, "it is under way")
            await asyncio.sleep(1)
        case "/files":
            await answer(200, json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))
        case "/big":
            await answer(200, "x" * 8 * 2**20)
        case "/flood":
            await flood(scope, send)
        case "/root":
            await answer(200, scope["root_path"])
        case "/scope":
            shown = {name: repr(scope[name]) for name in scope if name != "extensions"}
            text = json.dumps(shown)
            await answer(200, text, (b"content-length", b"%d" % len(text)))
        case "/whole":
            await answer(200, "whole", LENGTH, (b"etag", b'"1"'), (b"x-own", b"a b"))
        case "/broken":
            await answer(200, "whole", LENGTH, (b"x-own", b"a\r\nb"))
        case "/named":
            await answer(200, "whole", LENGTH, (b"server", b"own"))
        case "/odd":
            await answer(299, "whole", LENGTH)
        case "/nothing":
            await answer(204, "", (b"etag", b'"1"'))
        case "/twice":
            for _ in range(2):
                await answer(200, "whole", more=True)
        case "/begun":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError("as the test asked for")
        case "/error":
            raise RuntimeError("as the test asked for")
        case _:
            await answer(200, str(length))


def entry(scope: Any, receive: Any, send: Any) -> Coroutine[Any, Any, None]:
    """The application, which one path does not even get to."""
    if scope["path"] == "/refused":
        raise RuntimeError("as the test asked for")
    return application(scope, receive, send)


async def flood(scope: Any, send: Any) -> None:
    """Write as much as the client takes: up to 64 MiB, a quarter of one at a time."""
    drain = scope["extensions"]["pushserver.drain"]
    websocket = scope["type"] == "websocket"
    if not websocket:
        await send({"type": "http.response.start", "status": 200, "headers": []})
    for n in range(256):
        data = bytes(262_144)
        if websocket:
            await send({"type": "websocket.send", "bytes": data})
        else:
            event = {"type": "http.response.body", "body": data}
            await send({**event, "more_body": n < 255})
        tell("wrote", n)
        await drain()
    tell("got", "room for all")


async def socket(scope: Any, receive: Any, send: Any) -> None:
    tell("got", (await receive())["type"])
    if scope["path"] == "/undecided":
        tell("got", (await receive())["type"])
        return
    await send({"type": "websocket.accept"})
    if scope["path"] == "/flood":
        await flood(scope, send)
    if scope["path"] == "/closed":
        await send({"type": "websocket.close"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})
    tell("got", event["type"], event["code"])


def on_drain() -> None:
    tell("got", "drain")
    for news in held:
        if not news.done():
            news.set_result(None)


async def on_stop(takes: float) -> None:
    await asyncio.sleep(takes)
    tell("got", "stop")


def main(port: str, drain_timeout: str, stop_takes: str) -> None:
    from pushserver.server.daphne import serve

    ended = serve(
        entry,
        address="127.0.0.1",
        port=int(port),
        root_path="/mounted",
        drain_timeout=float(drain_timeout),
        max_body=lambda path: LIMIT if path.startswith("/limited") else None,
        on_drain=on_drain,
        on_stop=partial(on_stop, float(stop_takes)),
        on_listening=lambda host, port: tell("listening", host, port),
        access_log=lambda line, status, size: tell("log", line, status, size),
    )
    tell("ended", ended)
    if not ended:
        # As the command does: a thread that hangs would keep the process.
        atexit._run_exitfuncs()
        os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
