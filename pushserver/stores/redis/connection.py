"""Commands to one Redis server over one connection, pipelined by themselves.

While a batch is under way, what is asked for meanwhile gathers, and goes out as the
next batch: a burst of appends costs one round trip each batch, and no second
connection. Nothing is ever sent twice: with redis-py's own retries one append whose
replies were cut became four messages (design, section 9).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from pushserver.exceptions import StoreUnavailable
from pushserver.stores.redis.scripts import Script

__all__ = ["Connection", "too_old"]

_OLDEST = (6, 2)  # XTRIM MINID and exclusive ranges came with it


def too_old(version: str) -> bool:
    """Say whether a server of that version cannot keep our streams."""
    numbers = version.split(".")[:2]
    return not all(n.isdigit() for n in numbers) or tuple(map(int, numbers)) < _OLDEST


class _Request:
    """One command on its way; ``sent`` once its bytes may have reached the server."""

    __slots__ = ("command", "reply", "sent")

    def __init__(self, command: Sequence[Any], reply: asyncio.Future[Any]) -> None:
        self.command = command
        self.reply = reply
        self.sent = False


class Connection:
    """One Redis server as seen from one event loop.

    ``host`` are keyword arguments as channels-redis takes them (an ``address``, a
    Sentinel's ``master_name``, or host and port). ``timeout`` in seconds bounds each
    call, connecting included.
    """

    def __init__(self, host: Mapping[str, Any], *, timeout: float) -> None:
        self._pool = create_pool({**host, "retry": Retry(NoBackoff(), 0)})
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Request] = []
        self._sender: asyncio.Task[None] | None = None

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run the script and return its reply.

        Raises StoreUnavailable; ``maybe_sent`` unless it surely did not run.
        """
        try:
            return await self._request(
                "EVALSHA", script.digest, len(keys), *keys, *args
            )
        except NoScriptError:  # a new server, or SCRIPT FLUSH: it did not run
            return await self._request("EVAL", script.source, len(keys), *keys, *args)

    async def close(self) -> None:
        """Let go of the server; what is under way fails."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await self._drop()
        await self._pool.disconnect()

    async def _request(self, *command: Any) -> Any:
        loop = asyncio.get_running_loop()
        request = _Request(command, loop.create_future())
        self._waiting.append(request)
        if self._sender is None:
            self._sender = loop.create_task(self._send())
        try:
            async with asyncio.timeout(self._timeout):
                return await request.reply
        except NoScriptError:
            raise
        except ResponseError as error:  # it said no: nothing was done
            raise StoreUnavailable(f"Redis refused: {error}") from error
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise StoreUnavailable(
                f"Redis does not answer: {str(error) or 'no reply in time'}",
                maybe_sent=request.sent,
            ) from error

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = [r for r in self._waiting if not r.reply.done()]
                self._waiting = []
                try:
                    async with asyncio.timeout(self._timeout):
                        await self._exchange(batch)
                except (RedisError, OSError) as error:
                    await self._drop()
                    for request in batch:
                        if not request.reply.done():
                            request.reply.set_exception(error)
        finally:
            self._sender = None

    async def _exchange(self, batch: list[_Request]) -> None:
        connection = await self._connected()
        packed = connection.pack_commands([request.command for request in batch])
        for request in batch:
            request.sent = True
        await connection.send_packed_command(packed)
        for request in batch:
            try:
                reply = await connection.read_response(timeout=self._timeout)
            except ResponseError as error:
                if not request.reply.done():
                    request.reply.set_exception(error)
            else:
                if not request.reply.done():
                    request.reply.set_result(reply)

    async def _connected(self) -> AbstractConnection:
        if self._connection is None:
            connection = await self._pool.get_connection()
            self._connection = connection
            await connection.send_command("INFO", "server")
            info = await connection.read_response(timeout=self._timeout)
            _refuse_old(info)
        return self._connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


def _refuse_old(info: bytes | str) -> None:
    text = info.decode() if isinstance(info, bytes) else info
    facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = facts.get("redis_version", "")
    if too_old(version):
        raise ResponseError(f"it is version {version}; accepted: 6.2 or later")
