"""What a process does by itself for its readers: verify, forget, report.

Verification makes good what wake-ups lost: within each ``resync`` seconds the heads
of all live channels are compared with the store.
"""

import asyncio
import logging
import random
from collections import deque

from pushserver.conf import Config
from pushserver.engine.contest import Contest
from pushserver.engine.hub import Hub
from pushserver.engine.live import LiveChannel
from pushserver.engine.waiters import Key, Membership
from pushserver.exceptions import StoreUnavailable
from pushserver.outages import Outage
from pushserver.stores import get_store
from pushserver.stores.base import SharedStore

__all__ = ["Upkeep"]

logger = logging.getLogger(__name__)

_HEADS_AT_ONCE = 500  # live channels a verifying read (design, section 5)
_REPORT_EVERY = 0.9  # seconds; with `counts` no count is older than one
_TRY_AGAIN = 1.0  # seconds to the next verification while a store is down
# Of `resync`: the next verification begins within it, so that tails stay trusted.
_VERIFY_FROM, _VERIFY_TO = 0.7, 0.9


class Upkeep:
    """The tasks of one event loop that nobody waits for; the hub owns them.

    ``live`` is shared with the subscriptions, and loses the channels that nobody
    reads any more.
    """

    def __init__(
        self,
        config: Config,
        hub: Hub,
        live: dict[Key, LiveChannel],
        contest: Contest,
    ) -> None:
        self._config = config
        self._hub = hub
        self._live = live
        self._contest = contest
        self._outages = {name: Outage(f"The store {name!r}") for name in config.stores}
        self._gone: deque[Membership] = deque()  # forgotten, and not noted yet
        self._asking: set[str] = set()  # stores that are being verified
        self.verifying = hub.spawn(self._verify_forever())
        hub.spawn(self._report_forever())

    async def _verify_forever(self) -> None:
        while True:
            pause = self._config.resync * random.uniform(_VERIFY_FROM, _VERIFY_TO)
            if any(outage.down for outage in self._outages.values()):
                pause = min(pause, _TRY_AGAIN)
            await asyncio.sleep(pause)
            self._verify_soon()
            self._hub.maintain(self._forget)

    def _verify_soon(self) -> None:
        by_store: dict[str, list[str]] = {}
        for alias, channel_id in self._live:
            by_store.setdefault(alias, []).append(channel_id)
        for alias, channel_ids in by_store.items():
            # Each by itself: one that is slow or down must not delay the others.
            if alias not in self._asking:
                self._asking.add(alias)
                self._hub.spawn(self._verify(alias, channel_ids))

    async def _verify(self, alias: str, channel_ids: list[str]) -> None:
        """Compare live channels with their store, and heal what a wake-up missed."""
        try:
            for i in range(0, len(channel_ids), _HEADS_AT_ONCE):
                await self._compare(alias, channel_ids[i : i + _HEADS_AT_ONCE])
        except StoreUnavailable as error:
            self._outages[alias].begin(error)
        except Exception:
            # A bug must not end the only thing that heals lost wake-ups.
            logger.exception("Verifying the channels of the store %r failed", alias)
        else:
            if self._outages[alias].end():
                # The layer is often of the same Redis, and has forgotten us too.
                self._hub.rejoin_all()
        finally:
            self._asking.discard(alias)

    async def _compare(self, alias: str, channel_ids: list[str]) -> None:
        started = self._hub.loop.time()
        asked = {
            channel_id: live
            for channel_id in channel_ids
            if (live := self._live.get((alias, channel_id))) and live.known is not None
        }
        positions = {channel_id: live.position for channel_id, live in asked.items()}
        changed = await get_store(alias).changed(positions)
        for channel_id, live in asked.items():
            head = changed.get(channel_id)
            if head is None:
                live.verify(started=started)
            elif live.compare(head, started=started):
                self._hub.rejoin(live.membership)

    def _forget(self, membership: Membership) -> None:
        del self._live[membership.key]
        self._gone.append(membership)
        if len(self._gone) == 1:
            self._hub.spawn(self._note_requested())

    async def _note_requested(self) -> None:
        """Have the stores remember when channels were last asked for, one by one."""
        while self._gone:
            membership = self._gone[0]
            alias, channel_id = membership.key
            ago = self._hub.loop.time() - membership.requested_at
            try:
                # It is only for channel information: not worth a time-out each.
                if not self._outages[alias].down:
                    await get_store(alias).note_requested(channel_id, ago)
            except StoreUnavailable as error:
                self._outages[alias].begin(error)
            finally:
                self._gone.popleft()

    async def _report_forever(self) -> None:
        """Tell the stores that processes share how many readers this one holds."""
        while True:
            await asyncio.sleep(_REPORT_EVERY)
            try:
                await asyncio.gather(*map(self._report, self._config.stores))
                await self._contest.settle()
            except StoreUnavailable:
                pass  # verification says so; and our readers are forgotten by itself
            except Exception:
                logger.exception("Reporting the held readers failed")

    async def _report(self, alias: str) -> None:
        store = get_store(alias)
        if isinstance(store, SharedStore):
            held = {
                membership.key[1]: count
                for membership in self._hub.memberships()
                if membership.key[0] == alias and (count := len(membership.waiters))
            }
            await store.report_held(held)
