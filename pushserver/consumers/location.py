"""What all our consumers share, with the face of Channels' AsyncHttpConsumer.

Its dispatcher delivers neither a disconnect nor anything else while ``handle`` waits,
and opens a layer channel for each request (channels issues 1249, 1302, 1350, 1747).
So ``__call__`` is our own: the request is served in the task of the server's call,
which waits in ``receive`` itself.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import ClassVar

from channels.generic.http import AsyncHttpConsumer

from pushserver.conf.locations import Location
from pushserver.consumers import endpoints
from pushserver.consumers.endpoints import Headers, Receive, Reply, Scope, Send
from pushserver.engine.waiters import Key
from pushserver.names import validate_channel_id
from pushserver.reach import serve_here

__all__ = ["LocationConsumer"]

_NO_STORE = (b"cache-control", b"no-store")


class LocationConsumer(AsyncHttpConsumer):
    """Serves one location.

    The channel id is ``channel_id``, or below a router the last argument of the URL.
    """

    channel_layer_alias: ClassVar[None] = None
    methods: ClassVar[tuple[str, ...]]

    def __init__(self, *, location: Location, channel_id: str | None = None) -> None:
        # The base class would only make what its own dispatcher needs.
        self.location = location
        self.channel_id = channel_id
        serve_here()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._send = send
        self._headers: dict[bytes, bytes] | None = None
        self._outgoing: endpoints.Outgoing | None = None
        try:
            answer = self.at_once()
            if answer is None:
                answer = await self.respond(receive)
            if answer is not None:
                await self._reply(answer)
        except endpoints.ClientGone:
            return
        except asyncio.CancelledError:
            await self.cancelled()
            raise
        except Exception as error:  # the table tells what is known from a bug
            if self.base_send.started:
                raise  # half an answer is for the server to cut off
            await self._reply(endpoints.reply_to(error))
        finally:
            # It refers back to us, and the collector would have to find that circle,
            # with all that the request was: 15 objects a poll, a tenth of its CPU.
            self._outgoing = None

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The request's headers by lower-case name, repeated ones joined."""
        if self._headers is None:
            self._headers = endpoints.headers_of(self.scope)
        return self._headers

    @property
    def base_send(self) -> endpoints.Outgoing:
        """Sends, with what every answer has; made when there is something to send."""
        if self._outgoing is None:
            self._outgoing = endpoints.Outgoing(self._send, self.complete)
        return self._outgoing

    async def _reply(self, answer: Reply) -> None:
        status, headers, body = answer
        headers = self.complete(endpoints.measured(status, headers, body))
        with suppress(endpoints.ClientGone):
            await self.base_send.answer(status, headers, body)

    def at_once(self) -> Reply | None:
        """Return the answer to what asks for no channel at all, or may not."""
        if self.scope["method"] not in self.methods:
            return endpoints.not_allowed(self.methods)
        endpoints.check_path(self.scope)
        return None

    async def cancelled(self) -> None:
        """Say something to the client before the cancellation goes on."""

    def respond(self, receive: Receive) -> Awaitable[Reply | None]:
        """Return the answer to a request of a known method, None if it is sent."""
        raise NotImplementedError

    def key(self) -> Key:
        """Return the channel of the URL. Raises InvalidChannelId."""
        channel_id = self.channel_id
        if channel_id is None:
            # The last one: routers around ours may have taken some before it.
            channel_id = self.scope["url_route"]["args"][-1]
        return self.location.store, validate_channel_id(channel_id)

    def complete(self, headers: Headers) -> Headers:
        """Return an answer's headers with those that every answer has."""
        if any(name.lower() == b"cache-control" for name, _ in headers):
            return [*headers]
        return [*headers, _NO_STORE]
