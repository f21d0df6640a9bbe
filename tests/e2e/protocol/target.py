"""The server under test, seen through its URLs only, and what the rows do with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import pytest

from tests.e2e.protocol.client import DEADLINE, Answer, Connection, Headers, connect

# What the locations of the suite's own site are called and what each is there for.
LOCATIONS = {
    "long": "held for as long as the default says",
    "quick": "held for half a second",
    "interval": "never held",
    "known": "create_on_get False, held for half a second",
    "newest": "starts at the end, held for half a second",
    "latest": "starts two messages from the end, held for half a second",
    "newcomer": "concurrency last",
    "firstcomer": "concurrency first",
    "origin": "CORS for one origin, create_on_get False, held for half a second",
    "origins": "CORS for two origins with credentials, concurrency first",
    "anywhere": "CORS for every origin, held for half a second",
    "path": "an id may have slashes, never held",
    "free": "the pattern matches an empty id, never held",
    "small": "a store of 3 messages, never held",
    "brief": "a store that keeps messages for one second, never held",
    "deep": "a store of 2,000 messages, held",
    "narrow": "a store of 3 messages, held",
    "fleeting": "the same, and streams end after two seconds",
    "publish": "publisher, loopback allowed",
    "publish-path": "publisher, an id may have slashes",
    "publish-free": "publisher, the pattern matches an empty id",
    "publish-small": "publisher into the store of 3 messages",
    "publish-brief": "publisher into the store of one second",
    "publish-deep": "publisher into the store of 2,000 messages",
    "publish-known": "publisher, create_on_post False",
    "publish-passing": "publisher, store_messages False",
    "publish-tiny": "publisher, max_body 100",
    "publish-default": "publisher that says nothing about who is allowed",
    "publish-elsewhere": "publisher, only 192.0.2.0/24 allowed",
}

TEMPLATES = {name: f"/{name}/{{id}}" for name in LOCATIONS}
TEMPLATES["many"] = "/many"

JSON = ("Accept", "application/json")


@dataclass(frozen=True, slots=True)
class Target:
    """A server and the URL templates of its locations."""

    name: str
    host: str
    port: int
    templates: Mapping[str, str] = field(default_factory=lambda: TEMPLATES)

    def path(self, location: str, channel: str, query: str = "") -> str:
        """The path of a channel; tests of locations that the server lacks skip."""
        if location not in self.templates:
            pytest.skip(f"{self.name} has no location {location!r}")
        path = self.templates[location].format(id=quote(channel, safe=""))
        return f"{path}?{query}" if query else path

    def connect(self) -> contextlib.AbstractAsyncContextManager[Connection]:
        return connect(self.host, self.port)

    async def request(
        self,
        method: str,
        path: str,
        headers: Headers = (),
        body: bytes | None = None,
        *,
        version: str = "1.1",
    ) -> Answer:
        """One request on a connection of its own."""
        async with self.connect() as connection:
            return await connection.request(
                method, path, headers, body, version=version
            )

    async def poll(
        self, location: str, channel: str, headers: Headers = (), query: str = ""
    ) -> Answer:
        return await self.request("GET", self.path(location, channel, query), headers)

    async def publish(
        self,
        channel: str,
        body: bytes = b"news",
        *,
        content_type: str | None = "text/plain",
        location: str = "publish",
        headers: Headers = (),
    ) -> Answer:
        """POST a message; the caller looks at the status."""
        fields = list(headers)
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        return await self.request("POST", self.path(location, channel), fields, body)

    async def stored(
        self, channel: str, *bodies: bytes, location: str = "publish"
    ) -> list[Answer]:
        """Publish and read back: one answer a message, each with its cursor."""
        for body in bodies:
            answer = await self.publish(channel, body, location=location)
            assert answer.status in (201, 202), answer
        reading = {"publish": "interval"}.get(location, location[len("publish-") :])
        answers: list[Answer] = []
        async with self.connect() as connection:
            cursor: Sequence[tuple[str, str]] = ()
            while len(answers) < len(bodies):
                answer = await connection.request(
                    "GET", self.path(reading, channel), cursor
                )
                assert answer.status == 200, answer
                cursor = answer.cursor
                if answer.body == bodies[len(answers)]:
                    answers.append(answer)
        return answers

    async def info(
        self, channel: str, *, location: str = "publish"
    ) -> dict[str, object] | None:
        """The channel's information, None when there is no channel."""
        answer = await self.request("GET", self.path(location, channel), [JSON])
        if answer.status == 404:
            return None
        assert answer.status == 200, answer
        information: dict[str, object] = json.loads(answer.body)
        return information

    async def subscribers(self, channel: str, *, location: str = "publish") -> int:
        information = await self.info(channel, location=location)
        count = information["subscribers"] if information else 0
        assert isinstance(count, int)
        return count

    async def until_held(
        self, channel: str, count: int, *, location: str = "publish"
    ) -> None:
        """Wait until that many readers are held on the channel."""

        async def held() -> bool:
            return await self.subscribers(channel, location=location) == count

        await until(held)

    @contextlib.asynccontextmanager
    async def holding(
        self,
        location: str,
        channel: str,
        count: int = 1,
        headers: Headers = (),
        *,
        publisher: str = "publish",
    ) -> AsyncIterator[list[Connection]]:
        """That many readers, each held on a connection of its own."""
        async with contextlib.AsyncExitStack() as stack:
            fields = list(headers)
            connections = [
                await stack.enter_async_context(self.connect()) for _ in range(count)
            ]
            path = self.path(location, channel)
            for connection in connections:
                await connection.send("GET", path, fields)
            await self.until_held(channel, count, location=publisher)
            yield connections


async def until(
    condition: Callable[[], Awaitable[bool]], *, within: float = DEADLINE
) -> None:
    """Ask again and again until the condition holds; fail when time is up."""
    async with asyncio.timeout(within):
        # What changes is in another process: there is no event to wait for.
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_one_plain_line(answer: Answer) -> bool:
    """Whether the body is what an error should say: one short line of plain text."""
    text = answer.body.decode()
    return (
        (answer.get("Content-Type") or "").startswith("text/plain")
        and 0 < len(text.strip()) < 300
        and "\n" not in text.strip()
        and "Traceback" not in text
    )
