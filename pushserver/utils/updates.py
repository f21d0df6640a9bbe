"""The import path of the predecessor. Everything is the same as in ``pushserver``."""

from pushserver.links import publisher_url
from pushserver.pages import channel_url as subscriber_url
from pushserver.sending import send_update

__all__ = ["publisher_url", "send_update", "subscriber_url"]
