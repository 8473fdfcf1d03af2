"""Deletes recorded events that are older than `audit.retention`, once an hour."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

from wirekey.core.errors import user_message

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.audit.audit_log import AuditDatabase
    from wirekey.core.audit.checkpoints import CheckpointKey

logger = logging.getLogger(__name__)

INTERVAL = 3600.0


class Retention:
    """The task that deletes old events of the audit log. It does nothing without `audit.retention`."""

    def __init__(self, database: AuditDatabase, config: Config, key: CheckpointKey) -> None:
        self._database, self._key = database, key
        self._seconds = config.audit.retention_seconds
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Start the task, within the event loop."""
        if self._seconds:
            self._task = asyncio.create_task(self._repeat(self._seconds))

    async def end(self) -> None:
        """Stop the task."""
        task, self._task = self._task, None
        if task:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _repeat(self, seconds: int) -> None:
        while True:
            try:
                await asyncio.to_thread(self._database.prune, time.time() - seconds, self._key)
            except Exception as error:
                reason = user_message(error) or f"{type(error).__name__}: {error}"
                logger.error("Old recorded calls could not be deleted: %s", reason)  # noqa: TRY400  # the message is enough
            await asyncio.sleep(INTERVAL)
