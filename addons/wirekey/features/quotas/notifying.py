"""Sends notices of totals that are nearly used up: outside of calls, bounded, with retries, once for all processes."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING

from wirekey.core.daemon_thread import in_daemon_thread
from wirekey.core.egress.http_client import WHOLE, HttpError
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.features.quotas.notice import notice_of
from wirekey.features.quotas.restoring import PERIOD_MARGIN
from wirekey.features.quotas.webhook import send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.shared_state import SharedState
    from wirekey.features.quotas.thresholds import ReachedShare
    from wirekey.features.quotas.webhook import Webhook

logger = logging.getLogger(__name__)

MOST_WAITING = 200
"""The number of notices that wait. Further ones are not sent."""
AT_ONCE = 2
"""The number of notices that are sent to one receiver at the same time."""
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0)
"""Seconds before each further attempt."""
PATIENCE = 600.0
"""Seconds after which a notice is not tried again."""
ENDING = 2.0
"""Seconds for notices at the end of the process."""
ATTEMPT = WHOLE + 5.0
"""Seconds after which an attempt is abandoned, even in the resolver."""


class Notifier:
    """The notices of one process.

    `webhook_of` returns the receiver that a quota has now, by its name. `state` returns the shared state.
    """

    def __init__(
        self,
        webhook_of: Callable[[str], Webhook | None],
        state: Callable[[], SharedState],
        proxy_for: ProxyFor,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._webhook_of = webhook_of
        self._state = state
        self._proxy_for = proxy_for
        self._pauses = pauses
        self._tasks: set[asyncio.Task[None]] = set()
        self._slots: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))
        self.extra_ca: Path | None = None
        """The additional CA that is trusted."""

    def notify(self, reached: ReachedShare) -> None:
        """Begin to send a notice to the receiver of its quota, if it has one. Neither blocks nor raises."""
        webhook = self._webhook_of(reached.limit.applied.quota.name)
        if webhook is None or reached.limit.applied.quota.per == "run":
            return
        if len(self._tasks) >= MOST_WAITING:
            self._report(reached, webhook, f"{MOST_WAITING} other notices wait")
            return
        task = asyncio.get_running_loop().create_task(self._deliver(reached, webhook))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for a moment until the notices are sent, and end those that are not."""
        tasks = tuple(self._tasks)
        if not tasks:
            return
        _, waiting = await asyncio.wait(tasks, timeout=ENDING)
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)

    async def _deliver(self, reached: ReachedShare, webhook: Webhook) -> None:
        try:
            if not await self._claim(reached):
                return
            async with asyncio.timeout(PATIENCE):
                await self._send(reached, webhook)
        except TimeoutError:
            self._report(reached, webhook, f"it is not accepted within {PATIENCE:g} s")
        except asyncio.CancelledError:
            self._report(reached, webhook, "Wirekey stops")
            raise
        except HttpError as error:
            self._report(reached, webhook, str(error))
        except Exception as error:  # the message may quote the URL
            self._report(reached, webhook, type(error).__name__)

    async def _claim(self, reached: ReachedShare) -> bool:
        """Return whether this process is the first of those that share a state to send a notice."""
        state, limit = self._state(), reached.limit
        if state.is_local:
            return True
        assert limit.period
        key = f"notice:{limit.budget.key}:{limit.limit}:{reached.share:g}"
        ttl = limit.period.end - time.time() + PERIOD_MARGIN
        try:
            return await state.add(key, b"sent", ttl) is None
        except SharedStateUnavailableError:
            return True  # rather twice than never

    async def _send(self, reached: ReachedShare, webhook: Webhook) -> None:
        """Send a notice until it is accepted. Raises the HttpError of the last attempt."""
        notice_id = f"msg_{os.urandom(16).hex()}"
        body = notice_of(reached, notice_id, time.time())
        for pause in (*self._pauses, None):
            webhook = self._webhook_of(reached.limit.applied.quota.name) or webhook
            attempt = partial(send, webhook, notice_id, body, self.extra_ca, self._proxy_for)
            try:
                async with self._slots[webhook.shown], asyncio.timeout(ATTEMPT):
                    await in_daemon_thread(attempt, "wirekey-notice")
            except (HttpError, TimeoutError) as error:
                failure = error if isinstance(error, HttpError) else HttpError("it does not respond in time")
                if pause is None:
                    raise failure from error
                logger.info("A notice to %s is sent again later: %s", webhook.shown, failure)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  # no secret
            else:
                return

    def _report(self, reached: ReachedShare, webhook: Webhook, reason: str) -> None:
        logger.warning(
            "The notice that %g %% of the %s is spent is not sent to %s (notify): %s",
            reached.share * 100,
            reached.limit.applied.quota.title,
            webhook.shown,
            reason,
        )
