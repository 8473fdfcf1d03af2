"""Whether this process can take a call and respond to it properly, and what of that depends on other servers.

A load balancer requests the first from each replica. A server that all replicas share must not decide it: while it is
unreachable, all replicas would leave the load balancer at once, and clients would get closed connections, not errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mitmproxy import ctx

from wirekey.core.egress.addresses import is_loopback
from wirekey.core.endpoints.readiness import ReadinessReport
from wirekey.core.policy.deciding_server import server_url
from wirekey.core.tracebacks import safe_traceback

if TYPE_CHECKING:
    from wirekey.core.calls.services import Services
    from wirekey.server.lifecycle import Lifecycle

logger = logging.getLogger(__name__)

POLICY_CHECK_INTERVAL = 1.0
"""Seconds between two checks whether the policy decides, however often /ready is requested."""
SHARED_CHECK_INTERVAL = 2.0
"""Seconds between two checks of the servers that several machines share."""
POLICY_REJECTED = "the changed policy has errors and is not in use. The previous policy decides calls"
CONFIGURATION_REJECTED = "the changed configuration has errors and is not in use. The previous one is"


class Readiness:
    """Collects the readiness of this process from its services as they are now. For one event loop."""

    def __init__(self, services: Services, lifecycle: Lifecycle) -> None:
        self._services = services
        self._lifecycle = lifecycle
        self._policy_trouble: str | None = None
        self._policy_check: asyncio.Task[None] | None = None
        self._policy_checked = -POLICY_CHECK_INTERVAL
        self._shared_state_trouble: str | None = None
        self._shared_check: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin to check the servers that several machines share."""
        self._check_policy()
        if self._services.shared_state.is_remote:
            self._shared_check = asyncio.create_task(self._ask_shared_state())

    async def end(self) -> None:
        """Stop the checks."""
        for task in (self._policy_check, self._shared_check):
            if task:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def report(self) -> ReadinessReport:
        """Return the whole report."""
        return ReadinessReport(
            self.parts(), self.workers(), self.backends(), self.dependencies(), self.rejected_changes()
        )

    def parts(self) -> dict[str, str | None]:
        """Return part of this process → why it is not ready for calls, or None if it is ready."""
        return {
            "listeners": self._listener_trouble(),
            "audit": self._services.store.refuses_here(),
            "ca": self._ca_trouble(),
            "policy": None if self._policy_is_shared else self._check_policy(),
        }

    def dependencies(self) -> dict[str, str | None]:
        """Return server that several machines share → why it cannot be used at present, or None if it can.

        Only the servers that the configuration names are listed. The reasons may be shown to anyone.
        """
        lifecycle, found = self._lifecycle, dict[str, str | None]()
        config = lifecycle.started_with
        if config is None:
            return found
        if self._services.store.is_database:
            found["audit_database"] = self._services.store.database_trouble()
        if self._services.store.also_needs:
            found["audit_sinks"] = self._services.store.also_needs()
        if self._services.shared_state.is_remote:
            found["shared_state"] = self._shared_state_trouble
        if lifecycle.agents_follower:
            away = lifecycle.agents_follower.trouble is not None
            found["agents_database"] = "the database of the agents cannot be used" if away else None
        if self._policy_is_shared:
            found["policy_server"] = self._check_policy()
        return found

    def rejected_changes(self) -> dict[str, str]:
        """Return file → that its change is not in use, in words that anyone may read. Empty if all changes are."""
        found = {}
        if self._services.policy.rejected:
            found["policy"] = POLICY_REJECTED
        if self._lifecycle.reloader.rejected:
            found["configuration"] = CONFIGURATION_REJECTED
        return found

    def workers(self) -> list[dict[str, object]]:
        """Return the state of each worker, or nothing if there is only this process."""
        return self._lifecycle.worker.states if self._lifecycle.worker else []

    def backends(self) -> dict[str, str | None]:
        """Return backend → why none of its accounts can be used, or None if one can."""
        now, backends = time.monotonic(), self._services.settings.backends
        return {name: accounts.trouble(now) for name, accounts in backends.items()}

    def _listener_trouble(self) -> str | None:
        if self._lifecycle.lock is None or (self._services.drain.has_begun and not self._lifecycle.is_replaced):
            return "Wirekey is stopping"
        if self._lifecycle.is_replaced:
            return None
        if self._lifecycle.running_proxy is None:
            return "the proxy does not listen yet"
        servers = ctx.master.addons.get("proxyserver").servers
        if not any(server.is_running for server in servers):
            return "the proxy does not listen"
        return None

    def _ca_trouble(self) -> str | None:
        authority = self._lifecycle.authority
        now = datetime.now(UTC)
        if authority is None or now >= authority.expires:
            return "the CA has expired, so no client trusts the certificates of the proxy"
        return "the CA is not valid yet" if now < authority.begins else None

    @property
    def _policy_is_shared(self) -> bool:
        """Whether a server on another machine decides. One on this machine is a part of this replica."""
        config = self._lifecycle.config
        url = server_url(config.effective_policy) if config else None
        host = urlsplit(url).hostname or "" if url else ""
        return bool(host) and not (is_loopback(host) or host == "localhost")

    def _check_policy(self) -> str | None:
        """Return the result of the last check, and start a new check: an OPA server may take long to respond."""
        now = time.monotonic()
        is_due = now - self._policy_checked >= POLICY_CHECK_INTERVAL
        if is_due and (self._policy_check is None or self._policy_check.done()):
            self._policy_checked = now
            self._policy_check = asyncio.create_task(self._ask_policy())
        return self._policy_trouble

    async def _ask_policy(self) -> None:
        self._policy_trouble = await self._services.policy.unavailable_reason()

    async def _ask_shared_state(self) -> None:
        while self._lifecycle.lock is not None:  # the shared state is closed before this ends
            try:
                await self._services.shared_state.get("health")
            except Exception as error:
                logger.debug("The shared state does not respond: %s", safe_traceback(error))
                self._shared_state_trouble = "the shared state does not respond"
            else:
                self._shared_state_trouble = None
            await asyncio.sleep(SHARED_CHECK_INTERVAL)
