"""URLs of channels, for pages and for publishers."""

from django.urls import get_script_prefix

from pushserver.conf import Config, get_config
from pushserver.conf.locations import Location
from pushserver.exceptions import InvalidChannelId, NobodyListens
from pushserver.names import validate_channel_id

__all__ = ["channel_url", "publisher_url", "publishing_terms"]


def channel_url(channel_id: str) -> str:
    """Return the URL at which a page subscribes to the channel.

    At ``subscriber_host`` when that is set, else a path below the script prefix of
    the site. Raises InvalidChannelId (a ValueError), also for an id that the
    location's pattern cannot match.
    """
    config = get_config()
    path = _path(_first(config, "subscriber"), channel_id)
    if config.subscriber_host is None:
        return get_script_prefix().rstrip("/") + path
    return config.subscriber_host.url + path


def publisher_url(channel_id: str) -> str:
    """Return the URL at which others publish to the channel.

    Raises InvalidChannelId as ``channel_url`` does, and NobodyListens when there is
    no publisher location.
    """
    config = get_config()
    path = _path(_first(config, "publisher"), channel_id)
    return config.publisher_host.url + path


def publishing_terms() -> Location:
    """Return the location on whose terms the project itself sends.

    The first publisher location; where nobody may publish over HTTP, the first
    subscriber location: its pages are to hear it. Raises NobodyListens when there
    is none of either.
    """
    return _first(get_config(), "publisher", "subscriber")


def _first(config: Config, *roles: str) -> Location:
    for role in roles:
        for location in config.locations:
            if location.type == role:
                return location
    wanted = " or ".join(roles)
    raise NobodyListens(f"PUSH_SERVER['locations'] has no {wanted} location.")


def _path(location: Location, channel_id: str) -> str:
    validate_channel_id(channel_id)
    try:
        return location.reverse(channel_id)
    except ValueError as error:
        raise InvalidChannelId(str(error)) from None
