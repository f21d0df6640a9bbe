"""Scripts sent to one Redis server over one connection, pipelined by themselves.

While a batch is under way, what is asked for meanwhile gathers, and goes out as the
next batch: a burst of appends costs one round trip each batch, and no second
connection. Nothing is ever sent twice: with redis-py's own retries one append whose
replies were cut became four messages (design, section 9).
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
)

from pushserver.exceptions import StoreUnavailable
from pushserver.stores.redis.scripts import Script

__all__ = ["Connection", "refused", "too_old"]

_OLDEST = (6, 2)  # XTRIM MINID and exclusive ranges came with it
# What the server says instead of running a command; redis-py counts some of it
# among the broken connections.
_SAID_NO = (ResponseError, BusyLoadingError, AuthenticationError, AuthorizationError)


def too_old(version: str) -> bool:
    """Say whether a server of that version cannot keep our streams."""
    numbers = version.split(".")[:2]
    return not all(n.isdigit() for n in numbers) or tuple(map(int, numbers)) < _OLDEST


def refused(error: Exception) -> StoreUnavailable:
    """Return what to raise where the server said no: nothing was done."""
    return StoreUnavailable(f"Redis refused: {error}")


@dataclass(slots=True, eq=False)
class _Request:
    """A command on its way; ``sent`` once its bytes may have reached the server."""

    command: Sequence[Any]
    asking: bool  # it is for a slot that just moves to this node of a cluster
    reply: asyncio.Future[Any]
    sent: bool = False

    def answer(self, reply: Any) -> None:
        if not self.reply.done():  # else whoever asked has gone
            self.reply.set_result(reply)

    def fail(self, error: Exception) -> None:
        if self.reply.done():
            return
        if not isinstance(error, StoreUnavailable | ResponseError):
            reason, cause = str(error) or "no reply in time", error
            error = StoreUnavailable(
                f"Redis does not answer: {reason}", maybe_sent=self.sent
            )
            error.__cause__ = cause
        self.reply.set_exception(error)


class Connection:
    """One Redis server as seen from one event loop.

    ``host`` are keyword arguments as channels-redis takes them (an ``address``, a
    Sentinel's ``master_name``, or host and port). ``timeout`` in seconds bounds each
    call, connecting included.
    """

    def __init__(self, host: Mapping[str, Any], *, timeout: float) -> None:
        # Only describes the connection to make, and finds the master.
        self._pool = create_pool(_once(host, timeout))
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Request] = []
        self._under_way: list[_Request] = []
        self._sender: asyncio.Task[None] | None = None

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run the script and return its reply.

        Raises StoreUnavailable; ``maybe_sent`` unless it surely did not run.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout
        try:
            return await self.run(script, keys, args, deadline=deadline)
        except ResponseError as error:
            raise refused(error) from error

    async def run(
        self,
        script: Script,
        keys: Sequence[str],
        args: Sequence[Any],
        *,
        deadline: float,
        asking: bool = False,
    ) -> Any:
        """As ``call``, but what the server refuses is a ResponseError."""
        command: Sequence[Any] = ("EVALSHA", script.digest, len(keys), *keys, *args)
        try:
            return await self._request(command, asking, deadline)
        except NoScriptError:  # a new server, or SCRIPT FLUSH: it did not run
            command = ("EVAL", script.source, *command[2:])
            return await self._request(command, asking, deadline)

    async def close(self) -> None:
        """Let go of the server; what is under way fails."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            self._sender = None
        for request in (*self._under_way, *self._waiting):
            request.fail(ConnectionError("the store was closed"))
        self._under_way, self._waiting = [], []
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.disconnect()
        if isinstance(self._pool, SentinelConnectionPool):
            await self._pool.sentinel_manager.aclose()

    async def _request(
        self, command: Sequence[Any], asking: bool, deadline: float
    ) -> Any:
        loop = asyncio.get_running_loop()
        request = _Request(command, asking, loop.create_future())
        self._waiting.append(request)
        if self._sender is None or self._sender.done():
            # It serves others, too: not in the context of whoever came first.
            self._sender = loop.create_task(self._send(), context=Context())
        try:
            async with asyncio.timeout_at(deadline):
                return await request.reply
        except TimeoutError:
            raise StoreUnavailable(
                "Redis does not answer: no reply in time", maybe_sent=request.sent
            ) from None

    async def _send(self) -> None:
        while self._waiting:
            try:
                async with asyncio.timeout(self._timeout):
                    connection = await self._connected()
                    # Whoever gave up while we connected was told: nothing was sent.
                    self._under_way = [r for r in self._waiting if not r.reply.done()]
                    self._waiting = []
                    await self._exchange(connection)
            except Exception as error:  # whatever it is, nobody may wait for nothing
                self._drop()
                # Those of the batch; or, where there was no connection, everybody.
                failed, self._under_way = self._under_way, []
                if not failed:
                    failed, self._waiting = self._waiting, []
                for request in failed:
                    request.fail(error)
        self._sender = None

    async def _connected(self) -> AbstractConnection:
        # What can be read before anything was asked for is its end.
        if self._connection is not None and await self._connection.can_read():
            self._drop()
        if self._connection is None:
            # Never one that was used before: half a reply may still be in it.
            self._connection = self._pool.make_connection()
            try:
                await self._connection.connect()
                await _refuse_old(self._connection)
            except _SAID_NO as error:
                if "unknown command" in str(error):  # HELLO came with 6.0
                    raise _old("older than 6.0") from error
                raise refused(error) from error
        return self._connection

    async def _exchange(self, connection: AbstractConnection) -> None:
        commands: list[Sequence[Any]] = []
        for request in self._under_way:
            commands += [("ASKING",)] * request.asking
            commands.append(request.command)
        packed = connection.pack_commands(commands)
        for request in self._under_way:
            request.sent = True
        await connection.send_packed_command(packed)
        demoted = False
        for request in self._under_way:
            if request.asking:
                await connection.read_response()
            try:
                reply = await connection.read_response(disconnect_on_error=False)
            except _SAID_NO as error:
                demoted |= isinstance(error, ReadOnlyError)
                no = isinstance(error, ResponseError)
                request.fail(error if no else ResponseError(str(error)))
            else:
                request.answer(reply)
        self._under_way = []
        if demoted:  # the name may lead to another server by now
            self._drop()

    def _drop(self) -> None:
        """Cut the connection, with whatever is still on its way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            writer = connection._writer
            connection._reader = connection._writer = None
            if writer is not None:
                # To close it would first send what the server did not take yet.
                writer.transport.abort()


def _once(host: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Return the host for one attempt at everything, in time."""
    once = {"retry": Retry(NoBackoff(), 0)}
    if "sentinels" not in host:
        return {**host, **once}
    # One that is gone must leave the others the time to answer.
    patience = timeout / (len(host["sentinels"]) + 1)
    sentinel = {"socket_timeout": patience, "socket_connect_timeout": patience, **once}
    own = host.get("sentinel_kwargs") or {}
    return {**host, **once, "sentinel_kwargs": {**sentinel, **own}}


async def _refuse_old(connection: AbstractConnection) -> None:
    await connection.send_command("HELLO")  # INFO may be forbidden
    reply = await connection.read_response()
    if isinstance(reply, dict):  # as in RESP3
        reply = [word for pair in reply.items() for word in pair]
    words = [_text(word) for word in reply]
    version = words[words.index("version") + 1]
    if too_old(version):
        raise _old(version)


def _old(version: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Redis refused: its version is {version}; accepted: 6.2 or later"
    )


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)
