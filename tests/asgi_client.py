"""A hand-written ASGI server's side of one HTTP request, for tests in process.

It is stricter than servers are: an application that breaks the order of events, sends
headers that are no bytes or could end a line, or a body of another length than it
announced, fails the test.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

Application = Callable[[Any, Any, Any], Awaitable[Any]]
Event = MutableMapping[str, Any]


@dataclass
class Answer:
    """What the client got."""

    status: int = 0
    raw_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()

    def all(self, name: str) -> list[str]:
        """The values of every header line of that name."""
        wanted = name.lower().encode()
        return [v.decode("latin-1") for k, v in self.raw_headers if k.lower() == wanted]

    def __getitem__(self, name: str) -> str | None:
        """The value of a header that may be there once at most."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    @property
    def position(self) -> dict[str, str]:
        """The headers with which a reader comes back."""
        etag, last_modified = self["etag"], self["last-modified"]
        assert etag is not None
        assert last_modified is not None
        return {"if-none-match": etag, "if-modified-since": last_modified}


class Exchange:
    """One request and its answer. ``task`` is the server's call of the application."""

    def __init__(
        self,
        application: Application,
        scope: dict[str, Any],
        parts: Iterable[bytes] = (b"",),
        *,
        whole: bool = True,
        refuse: Exception | None = None,
    ) -> None:
        """Send the body in ``parts``; not ``whole``: the last one never comes.

        ``refuse`` is raised by ``send`` once the client is gone, as ASGI asks for;
        without it such events go nowhere, as under Daphne and uvicorn.
        """
        parts = list(parts)
        self.answer = Answer()
        self.started = self.complete = self.gone = False
        self.refuse = refuse
        self.received = 0  # parts of the body that the application has taken
        # While it is clear, each part of an answer waits, as under uvicorn when the
        # client does not read.
        self.reading = asyncio.Event()
        self.reading.set()
        self._parts = [
            {"type": "http.request", "body": part, "more_body": i < len(parts)}
            for i, part in enumerate(parts, start=0 if not whole else 1)
        ]
        self._waits = asyncio.Event()
        self._over = asyncio.Event()
        self.task = asyncio.create_task(self._run(application, scope))

    async def _run(self, application: Application, scope: dict[str, Any]) -> None:
        await application(scope, self.receive, self.send)

    async def receive(self) -> Event:
        if self.received < len(self._parts):
            self.received += 1
            return self._parts[self.received - 1]
        self._waits.set()
        await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        if self.gone:
            if self.refuse is not None:
                raise self.refuse
            return
        assert not self.complete, f"{event} after the answer was complete"
        if event["type"] == "http.response.start":
            assert not self.started, "a second answer"
            self.started = True
            for name, value in event["headers"]:
                assert isinstance(name, bytes)
                assert isinstance(value, bytes)
                assert not {*b"\r\n\0"} & {*name, *value}
            self.answer.status = event["status"]
            self.answer.raw_headers = list(event["headers"])
            return
        assert event["type"] == "http.response.body"
        assert self.started, "a body before the answer"
        await self.reading.wait()
        self.answer.body += event.get("body", b"")
        if not event.get("more_body", False):
            self.complete = True
            self._over.set()
            length = self.answer["content-length"]
            assert length in (None, str(len(self.answer.body)))

    def leave(self) -> None:
        """Let the client go away."""
        self.gone = True
        self._over.set()

    async def held(self) -> "Exchange":
        """Return when the application waits for the client: it holds the request."""
        waits = asyncio.create_task(self._waits.wait())
        await asyncio.wait([waits, self.task], return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        assert not self.task.done(), f"not held: {self.task}, {self.answer}"
        return self

    async def body_has(self, piece: bytes) -> bytes:
        """Return the body so far when it has this in it."""
        async with asyncio.timeout(60):
            while piece not in self.answer.body:
                assert not self.task.done(), self.answer
                await asyncio.sleep(0.001)
        return self.answer.body

    async def answered(self) -> Answer:
        """Return the answer when the application is done with the request."""
        await self.task
        assert self.complete, "no answer"
        return self.answer


def scope_of(
    method: str = "GET",
    path: str = "/",
    *,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    **changes: Any,
) -> dict[str, Any]:
    """What a server passes; ``path`` is as in the request line, query and all.

    ``changes`` with the value None remove a key.
    """
    raw_path, _, query = path.partition("?")
    given = dict(headers)
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in ({"host": "testserver"} | given).items()
        ],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8001),
    }
    scope |= changes
    return {key: scope[key] for key in scope if scope[key] is not None}


class Client:
    """Sends requests to an application. ``whole`` and ``refuse``: see Exchange."""

    def __init__(self, application: Application) -> None:
        self.application = application

    def open(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        *,
        whole: bool = True,
        refuse: Exception | None = None,
        **scope: Any,
    ) -> Exchange:
        """Begin a request."""
        parts = [body] if isinstance(body, bytes) else body
        return Exchange(
            self.application,
            scope_of(method, path, **scope),
            parts,
            whole=whole,
            refuse=refuse,
        )

    async def ask(self, method: str, path: str, *args: Any, **kwargs: Any) -> Answer:
        """Return the answer to a request."""
        return await self.open(method, path, *args, **kwargs).answered()
