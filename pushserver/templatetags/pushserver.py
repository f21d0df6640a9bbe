"""``{% load pushserver %}``."""

from typing import Literal

from django import template
from django.utils.html import json_script
from django.utils.safestring import SafeString

from pushserver import pages

register = template.Library()


@register.simple_tag
def channel_url(channel_id: str, since: str | Literal[True] | None = None) -> str:
    """Return the URL at which the page subscribes to the channel."""
    return pages.channel_url(channel_id, since=since)


@register.simple_tag
def channel_cursor(channel_id: str) -> str:
    """Return where the channel stands, for a page that keeps its position itself."""
    return pages.channel_cursor(channel_id)


@register.simple_tag
def push_config(*channel_ids: str, id: str = "push-config") -> SafeString:  # noqa: A002
    """Put what push.js starts from into the page; no script, so any CSP will do."""
    return json_script(pages.push_config(*channel_ids), id)
