"""Connects the receivers when the process is asked to listen."""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig
from django.http import HttpRequest


def break_down(request: HttpRequest, channel_id: str, **kwargs: Any) -> None:
    """A receiver with a bug that shows on some channels."""
    if "broken-receiver" in channel_id:
        raise LookupError(f"a bug in a receiver, on {channel_id}")


class SiteConfig(AppConfig):
    name = "tests.e2e.protocol.site"
    label = "protocol_site"

    def ready(self) -> None:
        if os.environ.get("PROTOCOL_SITE") == "listening":
            from pushserver.signals import channel_subscribe, channel_unsubscribe

            channel_subscribe.connect(break_down)
            channel_unsubscribe.connect(break_down)
