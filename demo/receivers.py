"""The signals of polls feed the list of who is listening."""

from functools import partial
from typing import Any

from django.http import HttpRequest

from demo.presence import Presence
from demo.updates import CHANNEL
from pushserver import asend_update

presence = Presence(partial(asend_update, CHANNEL, ignore_errors=True))


async def poll_began(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    if channel_id == CHANNEL:
        presence.arrived((await request.auser()).get_username())


async def poll_ended(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    if channel_id == CHANNEL:
        presence.left((await request.auser()).get_username())
