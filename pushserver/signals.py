"""The signals a project can listen to.

Receivers may be sync or async; a sync one runs in a thread and may use the
database. What a receiver raises is logged and changes nothing.
"""

from django.dispatch import Signal

__all__ = [
    "channel_subscribe",
    "channel_unsubscribe",
    "post_send_update",
    "pre_send_update",
]

channel_subscribe = Signal()
"""A poll has begun to wait for news of a channel.

Sent only for polls that were held: one that is answered at once subscribes to
nothing. ``sender`` is the consumer class.

``request``
    The ``HttpRequest`` of that poll, as the project's ``MIDDLEWARE`` left it:
    ``request.user`` in a sync receiver, ``await request.auser()`` in an async one.
``channel_id``
    The id of the channel, text.
"""

channel_unsubscribe = Signal()
"""A poll that was held has ended, whatever ended it.

Sent exactly once for each ``channel_subscribe``, after all of that one's
receivers have finished, with the same ``sender``, ``request`` and ``channel_id``.
"""

pre_send_update = Signal()
"""An update is about to be sent.

``sender`` is the function that sends.

``channel_id``
    The id of the channel, text.
``data``
    What the caller passed.
``already_serialized``
    True when ``data`` is JSON text already.
``request``
    What the caller passed as ``request``, else None.
"""

post_send_update = Signal()
"""An update has been sent, or could not be.

The arguments of ``pre_send_update``, and

``response``
    What the send returned, or the exception that it raised.
"""
