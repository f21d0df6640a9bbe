"""Push for Django: what happens on the server reaches the page, in order, once."""

from pushserver.exceptions import (
    DaemonUnreachable,
    InvalidChannelId,
    MessageTooBig,
    NobodyListens,
    NotSerializable,
    PublishRefused,
    PushError,
    StoreUnavailable,
)
from pushserver.links import publisher_url
from pushserver.pages import (
    achannel_cursor,
    apush_config,
    channel_cursor,
    channel_url,
    push_config,
)
from pushserver.sending import (
    ChannelInfo,
    Sent,
    achannel_info,
    adelete_channel,
    asend_message,
    asend_update,
    channel_info,
    delete_channel,
    send_message,
    send_update,
)

__all__ = [
    "ChannelInfo",
    "DaemonUnreachable",
    "InvalidChannelId",
    "MessageTooBig",
    "NobodyListens",
    "NotSerializable",
    "PublishRefused",
    "PushError",
    "Sent",
    "StoreUnavailable",
    "achannel_cursor",
    "achannel_info",
    "adelete_channel",
    "apush_config",
    "asend_message",
    "asend_update",
    "channel_cursor",
    "channel_info",
    "channel_url",
    "delete_channel",
    "publisher_url",
    "push_config",
    "send_message",
    "send_update",
]
