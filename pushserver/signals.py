"""The signals a project can listen to.

Receivers may be sync or async; a sync one runs in a thread and may use the
database. What a receiver raises is logged here, with its traceback, and changes
nothing for the other receivers or for the sender.
"""

import logging
from typing import Any

from django.dispatch import Signal

__all__ = [
    "channel_subscribe",
    "channel_unsubscribe",
    "post_send_update",
    "pre_send_update",
]

logger = logging.getLogger(__name__)


class _PushSignal(Signal):
    # Django's version reads __qualname__, which a partial and an object with
    # __call__ do not have: one of them that raises would end the whole round.
    def _log_robust_failure(self, receiver: Any, err: Exception) -> None:
        name = getattr(receiver, "__qualname__", repr(receiver))
        logger.error("The receiver %s raised %r", name, err, exc_info=err)


channel_subscribe: Signal = _PushSignal()
"""A poll has begun to wait for news of a channel.

Sent only for polls that were held: one that is answered at once subscribes to
nothing. ``sender`` is the consumer class.

``request``
    The ``HttpRequest`` of that poll, as the project's ``MIDDLEWARE`` left it:
    ``request.user`` in a sync receiver, ``await request.auser()`` in an async one.
``channel_id``
    The id of the channel, text.
"""

channel_unsubscribe: Signal = _PushSignal()
"""A poll that was held has ended, whatever ended it.

Sent exactly once for each ``channel_subscribe``, after all of that one's
receivers have finished, with the same ``sender``, ``request`` and ``channel_id``.
"""

pre_send_update: Signal = _PushSignal()
"""An update is about to be sent.

``sender`` is None. What is refused before it goes anywhere, such as an update that
is no JSON, gets no signal.

``channel_id``
    The id of the channel, text.
``data``
    What the caller passed.
``already_serialized``
    True when ``data`` is JSON text already.
``request``
    The ``urllib.request.Request`` that goes to ``publisher_host``, to which a
    receiver may add headers; None where no HTTP request is made.
"""

post_send_update: Signal = _PushSignal()
"""An update has been sent, or could not be.

The arguments of ``pre_send_update``, and

``response``
    What the send returned, or the exception that it raised.
"""
