"""Long polling as Channels' documentation leads to it: a group member for each poll."""

import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="only for measuring, on the loopback interface of one machine",
    ALLOWED_HOSTS=["*"],
    LOGGING_CONFIG=None,
    CHANNEL_LAYERS={
        "default": {
            "BACKEND": os.environ["BENCH_LAYER"],
            "CONFIG": {"hosts": [os.environ["BENCH_REDIS"]]}
            if "BENCH_REDIS" in os.environ
            else {},
        }
    },
)
django.setup()

from channels.generic.http import AsyncHttpConsumer  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from channels.routing import URLRouter  # noqa: E402
from django.urls import re_path  # noqa: E402


class Poll(AsyncHttpConsumer):
    async def handle(self, body):
        self.group = self.scope["url_route"]["kwargs"]["channel"]
        await self.channel_layer.group_add(self.group, self.channel_name)

    async def news(self, event):
        await self.channel_layer.group_discard(self.group, self.channel_name)
        await self.send_response(200, event["text"].encode(), headers=[
            (b"Content-Length", b"%d" % len(event["text"]))
        ])  # fmt: skip

    async def http_request(self, message):
        # The base class ends the request when `handle` returns.
        await self.handle(message.get("body", b""))

    async def disconnect(self):
        await self.channel_layer.group_discard(self.group, self.channel_name)


class Publish(AsyncHttpConsumer):
    async def handle(self, body):
        group = self.scope["url_route"]["kwargs"]["channel"]
        event = {"type": "news", "text": body.decode()}
        await get_channel_layer().group_send(group, event)
        await self.send_response(201, b"", headers=[(b"Content-Length", b"0")])


app = URLRouter(
    [
        re_path(r"^updates/(?P<channel>.+)$", Poll.as_asgi()),
        re_path(r"^send-update/(?P<channel>.+)$", Publish.as_asgi()),
    ]
)
