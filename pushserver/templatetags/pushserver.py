"""``{% load pushserver %}``."""

from django import template

from pushserver import links

register = template.Library()


@register.simple_tag
def channel_url(channel_id: str) -> str:
    """Return the URL at which the page subscribes to the channel."""
    return links.channel_url(channel_id)
