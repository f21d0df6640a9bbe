"""Scripts sent to a Redis Cluster: one connection a node, which say who owns what.

No map of the cluster is asked for: a node that does not own a slot names the one that
does, and that is remembered. There are 257 slots of ours at most.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis.asyncio.connection import parse_url
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, ResponseError

from pushserver.exceptions import StoreUnavailable
from pushserver.stores.redis.connection import Connection, refused
from pushserver.stores.redis.scripts import Script

__all__ = ["ClusterConnection"]

_REDIRECTIONS = 8  # more of them lead in a circle

Address = tuple[str, int]


class ClusterConnection:
    """A Redis Cluster as seen from one event loop; as ``connection.Connection``.

    ``hosts`` are some of its nodes. The keys of one call must be in one slot.
    """

    def __init__(self, hosts: Sequence[Mapping[str, Any]], *, timeout: float) -> None:
        places = [_place(host) for host in hosts]
        self._options = places[0][1]
        self._known = [address for address, _ in places]  # the best first
        self._owners: dict[int, Address] = {}
        self._nodes: dict[Address, Connection] = {}
        self._timeout = timeout

    async def call(
        self, script: Script, keys: Sequence[str], args: Sequence[Any]
    ) -> Any:
        """Run the script on the node that has the keys. Raises StoreUnavailable."""
        deadline = asyncio.get_running_loop().time() + self._timeout
        slot = key_slot(keys[0].encode())
        address = self._owners.get(slot, self._known[0])
        asking = False
        failed: dict[Address, StoreUnavailable] = {}
        for _ in range(_REDIRECTIONS):
            try:
                return await self._node(address).run(
                    script, keys, args, deadline=deadline, asking=asking
                )
            except MovedError as moved:
                address, asking = self._named(moved, by=address), False
                self._owners[slot] = address
            except AskError as ask:
                address, asking = self._named(ask, by=address), True
            except ResponseError as error:
                raise refused(error) from error
            except StoreUnavailable as error:
                failed[address] = error
                self._owners.pop(slot, None)
                self._known.sort(key=address.__eq__)  # others first, next time
                others = [other for other in self._known if other not in failed]
                if error.maybe_sent or not others:
                    raise
                address, asking = others[0], False
            if address in failed:  # the owner, and nobody has taken over yet
                self._owners.pop(slot, None)
                raise failed[address]
        raise StoreUnavailable("Redis refused: its nodes name one another")

    async def close(self) -> None:
        """Let go of the nodes."""
        nodes, self._nodes = list(self._nodes.values()), {}
        for node in nodes:
            await node.close()

    def _named(self, error: AskError, *, by: Address) -> Address:
        # A node that does not know how it is reached leaves out the host.
        address = error.host or by[0], error.port
        if address not in self._known:
            self._known.append(address)
        return address

    def _node(self, address: Address) -> Connection:
        node = self._nodes.get(address)
        if node is None:
            host = {**self._options, "host": address[0], "port": address[1]}
            node = self._nodes[address] = Connection(host, timeout=self._timeout)
        return node


def _place(host: Mapping[str, Any]) -> tuple[Address, dict[str, Any]]:
    options = dict(host)
    if "address" in options:
        options = {**parse_url(options.pop("address")), **options}
    options.pop("db", None)  # a cluster has one database
    return (options.pop("host", "127.0.0.1"), options.pop("port", 6379)), options
