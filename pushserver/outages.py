"""What is down: said once in the log, and once that it is back."""

import logging
import time

__all__ = ["OncePerMinute", "Outage"]

logger = logging.getLogger(__name__)


class Outage:
    """Whether something that may fail and come back is down just now."""

    def __init__(self, what: str) -> None:
        self.down = False
        self._what = what

    def begin(self, error: Exception) -> None:
        """Note that it failed; logged when it was not known to be down."""
        if not self.down:
            reason = str(error) or type(error).__name__
            logger.warning("%s is down: %s", self._what, reason)
        self.down = True

    def end(self) -> bool:
        """Note that it works, and return whether it was down until now."""
        was_down, self.down = self.down, False
        if was_down:
            logger.warning("%s is back", self._what)
        return was_down


class OncePerMinute(logging.Filter):
    """Lets a message pass once a minute, for loggers that repeat themselves.

    ``channels_redis.pubsub`` logs a traceback every second while Redis is down.
    """

    def __init__(self) -> None:
        super().__init__()
        self._passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, text = time.monotonic(), str(record.msg)
        if now - self._passed.get(text, float("-inf")) < 60:
            return False
        self._passed[text] = now
        return True
