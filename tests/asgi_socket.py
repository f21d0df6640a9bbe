"""A hand-written ASGI server's side of one WebSocket, for tests in process."""

import asyncio
import json
from typing import Any

from tests.asgi_client import Application, Event, scope_of


class Socket:
    """One handshake and what follows. ``task`` is the server's call.

    ``blocks``: a ``send`` returns only while ``reading`` is set, as under uvicorn.
    """

    def __init__(
        self, application: Application, path: str, *, blocks: bool = False, **scope: Any
    ) -> None:
        scope = {"type": "websocket", "scheme": "ws", **scope}
        self.accepted: Event | None = None
        self.closed: Event | None = None
        self.refusal: Event | None = None
        self.frames: list[str | bytes] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self._blocks = blocks
        self._news = asyncio.Event()
        self._incoming: asyncio.Queue[Event] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})
        scope = scope_of("GET", path, **scope)
        self.task = asyncio.create_task(self._run(application, scope))

    async def _run(self, application: Application, scope: Event) -> None:
        await application(scope, self._incoming.get, self._send)

    async def _send(self, event: Event) -> None:
        if self._blocks:
            await self.reading.wait()
        assert self.closed is None, f"{event} after the close"
        match event["type"]:
            case "websocket.accept":
                assert self.accepted is None
                self.accepted = event
            case "websocket.send":
                assert self.accepted is not None
                found = [event[kind] for kind in ("text", "bytes") if kind in event]
                self.frames += found
                assert len(found) == 1
            case "websocket.close":
                self.closed = event
            case "websocket.http.response.start":
                assert self.accepted is None
                self.refusal = event
            case "websocket.http.response.body":
                assert self.refusal is not None
                self.refusal["body"] = event["body"]
            case other:
                raise AssertionError(other)
        self._news.set()

    def say(self, frame: Any) -> None:
        """Send a frame: text or bytes as they are, anything else as JSON."""
        kind = "bytes" if isinstance(frame, bytes) else "text"
        if not isinstance(frame, str | bytes):
            frame = json.dumps(frame)
        self._incoming.put_nowait({"type": "websocket.receive", kind: frame})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def until(self, count: int) -> list[Any]:
        """Return the frames, parsed where they are text, when there are so many."""
        async with asyncio.timeout(60):
            while len(self.frames) < count:
                assert not self.task.done(), self.task
                self._news.clear()
                await self._news.wait()
        return self.heard

    @property
    def heard(self) -> list[Any]:
        return [json.loads(f) if isinstance(f, str) else f for f in self.frames]

    async def ended(self) -> "Socket":
        """Return when the application is done with it."""
        async with asyncio.timeout(60_000):
            await self.task
        return self
