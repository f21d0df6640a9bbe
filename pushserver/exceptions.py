"""Every error a user of the package can catch.

PushError
├── InvalidChannelId     (also ValueError)  the channel id breaks a rule
├── InvalidCursor        (also ValueError)  a cursor in a request is malformed
├── NotSerializable      (also TypeError)   the update is no JSON
├── MessageTooBig                           the body is over ``max_body``
├── NobodyListens                           this process cannot reach a reader
├── DaemonUnreachable                       no answer from ``publisher_host``
├── PublishRefused                          ``publisher_host`` said no
└── StoreUnavailable                        the store did not answer
"""

__all__ = [
    "DaemonUnreachable",
    "InvalidChannelId",
    "InvalidCursor",
    "MessageTooBig",
    "NobodyListens",
    "NotSerializable",
    "PublishRefused",
    "PushError",
    "StoreUnavailable",
]


class PushError(Exception):
    """Root of everything this package raises on purpose."""


class InvalidChannelId(PushError, ValueError):
    """The channel id is empty, too long or has a character that is refused."""


class InvalidCursor(PushError, ValueError):
    """A request names a position in a channel that cannot be read."""


class NotSerializable(PushError, TypeError):
    """The update has a value that DjangoJSONEncoder cannot encode."""


class MessageTooBig(PushError):
    """The message body has more bytes than ``max_body`` allows."""


class NobodyListens(PushError):
    """A send from here could never be heard; the message was not stored."""


class DaemonUnreachable(PushError):
    """Nothing answers at ``publisher_host``; the message was not stored.

    ``maybe_sent`` is True when the connection broke after the request had been
    sent: then the message may or may not be stored.
    """

    def __init__(self, message: str, *, maybe_sent: bool = False) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class PublishRefused(PushError):
    """``publisher_host`` answered, but did not take the message.

    ``status`` is its HTTP status.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class StoreUnavailable(PushError):
    """The store did not answer in time.

    ``maybe_sent`` is True when the message may have been stored all the same:
    the connection broke after the request had been sent.
    """

    def __init__(self, message: str, *, maybe_sent: bool = False) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent
