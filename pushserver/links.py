"""URLs of channels, for pages and for publishers."""

from django.urls import get_script_prefix

from pushserver.conf import Config, get_config
from pushserver.exceptions import NobodyListens
from pushserver.locations import Location
from pushserver.names import validate_channel_id

__all__ = ["channel_url", "publisher_url", "publishing_terms"]


def channel_url(channel_id: str) -> str:
    """Return the URL at which a page subscribes to the channel.

    At ``subscriber_host`` when that is set, else a path below the script prefix of
    the site. Raises InvalidChannelId (a ValueError), also for an id that the
    location's pattern cannot match.
    """
    config = get_config()
    location = _first(config, "subscriber")
    path = location.reverse(validate_channel_id(channel_id))
    if config.subscriber_host is None:
        return get_script_prefix().rstrip("/") + path
    return config.subscriber_host.url + path


def publisher_url(channel_id: str) -> str:
    """Return the URL at which others publish to the channel. Raises ValueError."""
    path = publishing_terms().reverse(validate_channel_id(channel_id))
    return get_config().publisher_host.url + path


def publishing_terms() -> Location:
    """Return the location on whose terms the project itself sends: the first one.

    Raises NobodyListens when there is none.
    """
    return _first(get_config(), "publisher")


def _first(config: Config, role: str) -> Location:
    for location in config.locations:
        if location.type == role:
            return location
    raise NobodyListens(f"PUSH_SERVER['locations'] has no {role} location.")
