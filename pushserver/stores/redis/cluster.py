"""Commands to a Redis Cluster: redis-py finds the node, we bound and explain."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from pushserver.exceptions import StoreUnavailable
from pushserver.stores.redis.scripts import Script

__all__ = ["ClusterConnection"]


class ClusterConnection:
    """A Redis Cluster as seen from one event loop; as `connection.Connection`.

    ``host`` is any node of it. The keys of one call must be in one slot.
    """

    def __init__(self, host: Mapping[str, Any], *, timeout: float) -> None:
        options = {**host, "retry": Retry(NoBackoff(), 0)}
        if "address" in options:
            url = options.pop("address")
            self._client = RedisCluster.from_url(url, **options)
        else:
            self._client = RedisCluster(**options)
        self._timeout = timeout

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run the script and return its reply. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._client.evalsha(
                        script.digest, len(keys), *keys, *args
                    )
                except NoScriptError:  # each node learns it by itself
                    return await self._client.eval(
                        script.source, len(keys), *keys, *args
                    )
        except ResponseError as error:
            raise StoreUnavailable(f"Redis refused: {error}") from error
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis does not answer: {str(error) or 'no reply in time'}",
                maybe_sent=True,
            ) from error

    async def close(self) -> None:
        """Let go of the nodes."""
        await self._client.aclose()
