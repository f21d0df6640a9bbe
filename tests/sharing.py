"""Processes that share one Redis: this one, and others that it tells what to do.

``python -m tests.sharing`` reads commands from its standard input, a JSON list a line,
and says on its standard output what came of them: [number of the command, answer].
Its settings are ``CHANNEL_LAYERS`` and ``PUSH_SERVER`` as JSON in the environment.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Self

from tests.e2e.servers import ROOT, wait_until
from tests.redis_server import RedisServer

CORE = "channels_redis.core.RedisChannelLayer"
PUBSUB = "channels_redis.pubsub.RedisPubSubChannelLayer"

QUICK = {"resync": 1.0}  # so that the worst case takes a second


def settings(
    server: RedisServer,
    backend: str,
    *,
    layer: dict[str, Any] | None = None,
    name: str | None = None,
    **push: Any,
) -> dict[str, Any]:
    """The settings of a project on that Redis, whose connections may have a name."""
    url = server.url
    if name is not None:
        url += f"{'&' if '?' in url else '?'}client_name={name}"
    config = {"hosts": [url], **(layer or {})}
    return {
        "CHANNEL_LAYERS": {"default": {"BACKEND": backend, "CONFIG": config}},
        "PUSH_SERVER": {"store": {"type": "redis", "url": url}, **QUICK, **push},
    }


class Reader:
    """One held request, without HTTP; leaves with the block."""

    def __init__(self, channel_id: str, cursor: Any = None, **options: Any) -> None:
        from pushserver.engine import subscriptions
        from pushserver.engine.subscription import Subscription

        self.subscription = Subscription(
            subscriptions.current(),
            ("default", channel_id),
            cursor,
            **({"first_message": "newest"} | options),
        )
        self._ended = asyncio.Event()

    async def __aenter__(self) -> Self:
        self.subscription.__enter__()
        try:
            self._outcome = await self.subscription.begin()
        except BaseException:
            self.subscription.__exit__()
            raise
        if self.subscription.waiter is not None:
            self.subscription.waiter.on_end = self._ended.set
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.subscription.__exit__()

    @property
    def held(self) -> bool:
        waiter = self.subscription.waiter
        return waiter is not None and waiter.outcome is None

    async def outcome(self, *, deadline: float = 10) -> Any:
        waiter = self.subscription.waiter
        if waiter is None:
            return self._outcome
        if waiter.outcome is None:
            async with asyncio.timeout(deadline):
                await self._ended.wait()
        return waiter.outcome

    async def bodies(self, *, deadline: float = 10) -> list[bytes]:
        outcome = await self.outcome(deadline=deadline)
        return [message.body for message in outcome.messages]


class Process:
    """Another process of the project."""

    def __init__(self, settings: dict[str, Any]) -> None:
        values = {name: json.dumps(value) for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.sharing"],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", **values},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answers: dict[int, Any] = {}
        self._asked = 0
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                number, answer = json.loads(line)
                self._answers[number] = answer

    def start(self, *command: Any) -> int:
        """Tell it to do something and return the number of the command."""
        assert self.process.stdin
        self._asked += 1
        self.process.stdin.write(json.dumps([self._asked, *command]) + "\n")
        self.process.stdin.flush()
        return self._asked

    def has_answered(self, number: int) -> bool:
        return number in self._answers

    def answer(self, number: int, *, deadline: float = 20) -> Any:
        wait_until(lambda: number in self._answers, deadline=deadline)
        return self._answers.pop(number)

    def ask(self, *command: Any) -> Any:
        return self.answer(self.start(*command))

    def close(self) -> None:
        """End it as it ends by itself, with the end of its commands."""
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it was killed
            self.process.stdin.close()
        try:
            self.process.wait(20)
        finally:
            self.process.kill()
            self.process.wait()
            self._listener.join()


@contextmanager
def processes(count: int, settings: dict[str, Any]) -> Iterator[list[Process]]:
    """Start processes that are ready to serve."""
    started = [Process(settings) for _ in range(count)]
    try:
        for process in started:
            assert process.ask("ready")
        yield started
    finally:
        for process in started:
            process.close()


async def _do(what: str, *args: Any, **options: Any) -> Any:
    from pushserver import publisher
    from pushserver.engine import publishing, subscriptions

    match what:
        case "ready":
            return True
        case "held":
            return subscriptions.current().statistics().held
        case "read":  # one poll, until it ends
            async with Reader(*args, **options) as reader:
                outcome = await reader.outcome(deadline=60)
                messages = getattr(outcome, "messages", None)
                return [m.body.decode() for m in messages] if messages else outcome.name
        case "publish":
            channel_id, body = args
            published = await publishing.publish(
                ("default", channel_id), body=body.encode(), max_body=1000
            )
            return published.held
        case "send":  # as a plain process does, which has no hub
            return await asyncio.to_thread(_send, *args)
        case "configure":  # other settings, as if it had been started with them
            await asyncio.to_thread(publisher.close)
            _configure(options)
            return True
        case "info":
            return asdict(await publishing.info(("default", *args)))
        case "exists":
            return await publishing.exists(("default", *args))
        case "delete":
            return await publishing.delete(("default", *args))
    raise ValueError(what)


def _send(channel_id: str, body: str) -> list[str | None]:
    """Send once; return accepted, refused or maybe, and the id of the message."""
    from pushserver import send_message
    from pushserver.exceptions import StoreUnavailable

    try:
        sent = send_message(channel_id, body)
    except StoreUnavailable as error:
        return ["maybe" if error.maybe_sent else "refused", None]
    assert sent is not None
    return ["accepted", sent.id]


def _configure(values: dict[str, Any]) -> None:
    from django.conf import settings
    from django.core.signals import setting_changed

    for name, value in values.items():
        setattr(settings, name, value)
        setting_changed.send(sender=None, setting=name, value=value, enter=True)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    tasks = set()

    async def answer(number: int, what: str, *args: Any) -> None:
        words = [arg for arg in args if not isinstance(arg, dict)]
        options = args[-1] if words != list(args) else {}
        try:
            came = await _do(what, *words, **options)
        except Exception as error:
            came = repr(error)
        print(json.dumps([number, came]), flush=True)  # noqa: T201

    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = loop.create_task(answer(*json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def main() -> None:
    import django

    django.setup()
    names = ("CHANNEL_LAYERS", "PUSH_SERVER")
    _configure({name: json.loads(os.environ[name]) for name in names})
    asyncio.run(_serve())


if __name__ == "__main__":
    main()
