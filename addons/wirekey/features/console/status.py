"""The live page's data other than calls: keys and their health, agents, policy, and what needs attention."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wirekey.core.audit.store import MAX_QUEUE
from wirekey.core.command_name import COMMAND
from wirekey.core.egress.addresses import is_loopback
from wirekey.core.identity.agents_file import AgentsFileError
from wirekey.core.observing.open_sessions import joined
from wirekey.core.policy.deciding_server import server_url
from wirekey.core.routing.account_health import AccountState
from wirekey.feature_registry import parts
from wirekey.features.console.config import page_access
from wirekey.providers.registry import DEFAULT_PROVIDER, PROVIDERS
from wirekey.server.feature_parts import Notices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wirekey.core.calls.services import Services
    from wirekey.core.credentials.pool import KeyPool
    from wirekey.core.identity.agents_format import AgentRecord
    from wirekey.core.observing.open_sessions import Report
    from wirekey.features.console.config import PageAccess
    from wirekey.features.console.feed import Feed
    from wirekey.server.lifecycle import Lifecycle
    from wirekey.server.readiness import Readiness

CA_EXPIRES_SOON = timedelta(days=30)
AUDIT_SLOW = MAX_QUEUE // 20
"""Rows waiting for the audit's writer. On a healthy disk there are fewer."""
MAX_AGENTS = 200

TROUBLES = {AccountState.NEEDS_LOGIN: "needs a login", AccountState.INVALID: "not served by Google"}

type Note = dict[str, str]


class Status:
    """Collects what the live page shows, from the services as they are now."""

    def __init__(self, services: Services, lifecycle: Lifecycle, feed: Feed, readiness: Readiness) -> None:
        self._services = services
        self._lifecycle = lifecycle
        self._feed = feed
        self._readiness = readiness
        self._started = time.time()
        self._used: Counter[str] = Counter()
        """The calls of each key, of all workers."""

    def access(self) -> PageAccess:
        """Return who may see the page, by the configuration in use."""
        assert self._lifecycle.config
        return page_access(self._lifecycle.config.console)

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return what is shown of runs, the latest first. Blocks. Raises UserError."""
        assert self._lifecycle.config
        return self._services.usage_limits.run_rows(self._lifecycle.config)

    async def state(self) -> dict[str, Any]:
        """Return what the page shows, as JSON values."""
        try:
            records = await asyncio.to_thread(self._services.agents.copied_agents)
            agents_trouble = None
        except AgentsFileError as error:
            records, agents_trouble = (), str(error)
        active = [record for record in records if record.revoked_at is None]
        worker = self._lifecycle.worker
        pages: list[tuple[int, dict[str, int], Report]] = await worker.ask("page") if worker else []
        self._used = sum((Counter(used) for _, used, _ in pages), Counter(self._feed.used))
        authority, running = self._lifecycle.authority, self._lifecycle.running_proxy
        return {
            "started": self._started,
            "in_progress_elsewhere": sum(in_progress for in_progress, _, _ in pages),
            "sessions": joined([self._services.open_sessions.report(), *(report for _, _, report in pages)]),
            "workers": worker.states if worker else [],
            "command": COMMAND,
            "simulated": self._services.settings.simulated,
            "listeners": {name: getattr(running, name, None) for name in ("forward", "gateway", "console")},
            "ca_ends": authority.expires.timestamp() if authority else None,
            "providers": list(self._providers()),
            "agents": [agent_row(record) for record in active[:MAX_AGENTS]],
            "agent_count": len(active),
            "quotas": list(self._services.usage_limits.rows()),
            "policy": self._policy(),
            "attention": [*self._attention(agents_trouble), *self._advice(active)],
        }

    def _providers(self) -> Iterator[dict[str, Any]]:
        settings, now = self._services.settings, time.monotonic()
        for name, pool in settings.pools.items():
            provider = PROVIDERS[name]
            mode = settings.key_sources.get(name, "inject")
            if provider.credentials.uses_aws and settings.aws and not pool.keys:
                mode = "aws"
            elif provider.credentials.uses_google and mode == "inject" and not pool.keys:
                mode = "google"
            yield {
                "name": name,
                "mode": mode,
                "setting": provider.credentials.setting,
                "keys": [self._key(key.label, key.cooling_until - now, key.refusals) for key in keys_of(pool)],
            }

        for name, backend in settings.backends.items():
            yield {
                "name": name,
                "mode": "accounts",
                "setting": f"backends.{name}",
                "keys": [
                    self._key(each.label, each.limited_for, 0) | {"trouble": TROUBLES.get(each.state)}
                    for each in backend.health(now)
                ],
            }

    def _key(self, label: str, cooling_seconds: float, refusals: int) -> dict[str, Any]:
        """Return the row of one key. `calls` counts those since the start."""
        calls = self._used[label]
        return {"label": label, "cooling_seconds": max(0.0, cooling_seconds), "refusals": refusals, "calls": calls}

    def _policy(self) -> dict[str, Any]:
        config = self._lifecycle.config
        deciding = config.effective_policy if config else None
        place = (server_url(deciding) or str(deciding.path)) if deciding else None
        return {"revision": getattr(self._services.policy, "revision", None), "place": place}

    def _attention(self, agents_trouble: str | None) -> Iterator[Note]:
        """Yield what makes calls fail, or will."""
        what_to_do = {
            "policy": f"Run {COMMAND} policy check to see what is wrong with it.",
            "audit": "Calls that cannot be recorded are refused. Check the disk of the state folder.",
            "ca": f"Run {COMMAND} ca renew, make the clients trust the new root, and restart Wirekey.",
        }
        for state in self._lifecycle.worker.states if self._lifecycle.worker else ():
            if state["trouble"]:
                yield note("warn", f"Worker {state['number']} is not ready: {state['trouble']}.", "The log has more.")
        for part, reason in self._readiness.parts().items():
            if reason:
                yield note("bad", f"Not ready: {reason}.", what_to_do.get(part, ""))
        yield from self._dependency_notes()
        if rejected := self._services.policy.rejected:
            yield note("bad", f"The changed policy is not in use: {rejected}", f"Run {COMMAND} policy check.")
        if rejected := self._lifecycle.reloader.rejected:
            yield note("bad", f"The changed configuration is not in use: {rejected}", f"Run {COMMAND} config check.")
        for moved in self._lifecycle.reloader.moves():
            fix = "If this was not you, stop Wirekey. Otherwise a restart ends this message."
            yield note("bad", f"By a reload, {moved.sentence}.", fix)
        if agents_trouble:
            yield note("bad", agents_trouble, "")
        yield from self._audit_notes()
        yield from self._key_notes()
        authority = self._lifecycle.authority
        left = authority.expires - datetime.now(UTC) if authority else CA_EXPIRES_SOON
        if timedelta() < left < CA_EXPIRES_SOON:
            days = f"{left.days} day{'s' * (left.days != 1)}"
            yield note("warn", f"The CA expires in {days}.", what_to_do["ca"])

    def _dependency_notes(self) -> Iterator[Note]:
        """Yield which shared servers are unreachable. The follower of the agents has a note of its own."""
        spools = not self._services.store.refuses_without_database
        effects = {
            "audit_database": f"Until it is back, calls {'are recorded in a local file' if spools else 'get 503'}.",
            "shared_state": "Until it responds, the setting shared_state_failure decides on calls.",
            "policy_server": "Until it responds, calls get 503.",
        }
        for name, reason in self._readiness.dependencies().items():
            if reason and name in effects:
                level = "warn" if name == "audit_database" and spools else "bad"
                yield note(level, f"{reason[0].upper()}{reason[1:]}.", effects[name])

    def _audit_notes(self) -> Iterator[Note]:
        store = self._services.store
        if store.lost:
            yield note("bad", f"{store.lost} outcomes could not be recorded.", "The log has the reason.")
        if store.waiting > AUDIT_SLOW:
            yield note(
                "warn", f"The audit log is slow: {store.waiting} events wait.", "Check the disk of the state folder."
            )

    def _key_notes(self) -> Iterator[Note]:
        settings, now = self._services.settings, time.monotonic()
        for name, pool in settings.all_pools().items():
            cooling = [key.label for key in pool.keys if key.cooling_until > now]
            if cooling and len(cooling) == len(pool.keys):
                which = "The only key" if len(cooling) == 1 else f"All {len(cooling)} keys"
                verb = "is" if len(cooling) == 1 else "are"
                yield note("bad", f"{which} of {name} {verb} cooling down after a refusal.", "See Keys.")
            elif cooling:
                yield note("warn", f"{len(cooling)} of {len(pool.keys)} keys of {name} are cooling down.", "See Keys.")
        for name, backend in settings.backends.items():
            accounts = backend.health(now)
            limited = sum(each.state is AccountState.LIMITED for each in accounts)
            if reason := backend.trouble(now):
                yield note("bad", f"{name}: {reason}.", f"Run {COMMAND} accounts list." if accounts else "")
            elif limited:
                yield note("warn", f"Google limits {limited} of {len(accounts)} accounts of {name}.", "See Keys.")
        has_any = (
            any(pool.keys for pool in settings.all_pools().values())
            or settings.aws
            or any(PROVIDERS[name].credentials.uses_google for name in settings.pools)
            or settings.key_sources
            or settings.backends
        )
        if not has_any:
            example = DEFAULT_PROVIDER.credentials.setting
            yield note("bad", "There is no provider key.", f"Set {example}, or keys in wirekey.yaml, and restart.")

    def _advice(self, active: list[AgentRecord]) -> Iterator[Note]:
        """Yield what is not wrong but useful to know."""
        settings, config = self._services.settings, self._lifecycle.config
        if settings.simulated:
            yield note("note", "The simulator handles all calls. No provider is reached.", "Set a key and restart.")
        for notices in parts(Notices):
            for level, what, fix in notices.notes(self._services.opened):
                yield note(level, what, fix)
        follower = self._lifecycle.agents_follower
        if follower and follower.trouble:
            yield note("warn", follower.trouble, "Until then, changes of agents have no effect here.")
        if not settings.identity_required:
            yield note(
                "bad",
                "Everybody may call: calls need no identity (identity.required is false).",
                "Remove the setting, or make sure that only trusted programs reach the listeners.",
            )
        if not active:
            yield note("note", "There are no agents yet.", f"{COMMAND} agents add alice")
        place = config.listen.forward if config else None
        if place and not (is_loopback(place.host) or place.host == "localhost"):
            yield note("warn", "Other machines can reach listen.forward. Tokens travel there unencrypted.", "")


def keys_of(pool: KeyPool | None) -> list[Any]:
    """Return the keys of a pool; none if there is no pool."""
    return list(pool.keys) if pool else []


def note(level: str, what: str, fix: str) -> Note:
    """Return an entry of the section "attention".

    `level` is `bad` (calls fail), `warn` (calls will fail, or might) or `note`.
    """
    return {"level": level, "what": what, "fix": fix}


def agent_row(record: AgentRecord) -> dict[str, Any]:
    """Return what the page shows of an agent."""
    now = datetime.now(UTC)
    valid = [token for token in record.tokens if token.expires_at is None or token.expires_at > now]
    return {
        "id": record.id,
        "role": record.role,
        "type": record.type,
        "suspended": record.suspended is True,
        "tokens": len(valid),
        "clients": len(record.clients),
        "aws": record.aws is not None,
        "created": record.created.timestamp(),
    }
