"""What the console's page shows besides calls: keys and their health, agents, policy, and what needs attention."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from wirekey.audit.store import LONGEST_QUEUE
from wirekey.config.models import Config
from wirekey.console.gate import is_loopback
from wirekey.identity.agents import AgentsFileError
from wirekey.providers import PROVIDERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from wirekey.calls.services import Services
    from wirekey.config.console import Console
    from wirekey.console.feed import Feed
    from wirekey.credentials.pool import KeyPool
    from wirekey.identity.agents_format import AgentRecord
    from wirekey.server.lifecycle import Lifecycle

CA_ENDS_SOON = timedelta(days=30)
AUDIT_SLOW = LONGEST_QUEUE // 20
"""Rows that wait for the audit's writer: more than a healthy disk leaves it."""
MOST_AGENTS = 200

type Note = dict[str, str]


class Status:
    """`ready`: why a part is not ready, by its name."""

    def __init__(
        self, services: Services, lifecycle: Lifecycle, feed: Feed, ready: Callable[[], Mapping[str, str | None]]
    ) -> None:
        self._services = services
        self._entrance = lifecycle
        self._feed = feed
        self._ready = ready
        self._started = time.time()

    def settings(self) -> Console:
        return (self._entrance.config or Config()).console

    async def state(self) -> dict[str, Any]:
        """Give what the page shows, as JSON takes it."""
        try:
            records = await asyncio.to_thread(self._services.agents.agents)
            agents_trouble = None
        except AgentsFileError as error:
            records, agents_trouble = (), str(error)
        active = [record for record in records if record.revoked_at is None]
        authority, running = self._entrance.authority, self._entrance.running_proxy
        return {
            "started": self._started,
            "simulated": self._services.settings.simulated,
            "listeners": {name: getattr(running, name, None) for name in ("forward", "gateway", "console")},
            "ca_ends": authority.expires.timestamp() if authority else None,
            "providers": list(self._providers()),
            "agents": [agent_row(record) for record in active[:MOST_AGENTS]],
            "agent_count": len(active),
            "policy": self._policy(),
            "attention": [*self._attention(agents_trouble), *self._advice(active)],
        }

    def _providers(self) -> Iterator[dict[str, Any]]:
        settings, now = self._services.settings, time.monotonic()
        for name, provider in PROVIDERS.items():
            pool = settings.pools.get(name)
            mode = settings.key_sources.get(name, "inject")
            if name == "bedrock" and settings.aws and not (pool and pool.keys):
                mode = "aws"
            yield {
                "name": name,
                "mode": mode,
                "setting": provider.key_setting,
                "keys": [self._key(key.label, key.cooling_until - now, key.refusals) for key in keys_of(pool)],
            }

    def _key(self, label: str, cooling_seconds: float, refusals: int) -> dict[str, Any]:
        """Return the row of one key. `calls` counts those since the start."""
        calls = self._feed.used[label]
        return {"label": label, "cooling_seconds": max(0.0, cooling_seconds), "refusals": refusals, "calls": calls}

    def _policy(self) -> dict[str, Any]:
        config = self._entrance.config
        deciding = config.deciding if config else None
        place = (deciding.opa_url or str(deciding.path)) if deciding else None
        return {"revision": getattr(self._services.policy, "revision", None), "place": place}

    def _attention(self, agents_trouble: str | None) -> Iterator[Note]:
        """Give what stands in the way of calls, or will."""
        what_to_do = {
            "policy": "./run.sh policy check says what is wrong with it.",
            "audit": "No call goes out that cannot be recorded. See to the disk of the state folder.",
            "ca": "./run.sh ca renew, let the clients trust the new root, and start Wirekey anew.",
        }
        for part, reason in self._ready().items():
            if reason:
                yield note("bad", f"Not ready: {reason}.", what_to_do.get(part, ""))
        if rejected := getattr(self._services.policy, "rejected", None):
            yield note("bad", f"The changed policy is not in force: {rejected}", "./run.sh policy check says more.")
        if agents_trouble:
            yield note("bad", agents_trouble, "")
        yield from self._of_audit()
        yield from self._of_keys()
        authority = self._entrance.authority
        left = authority.expires - datetime.now(UTC) if authority else CA_ENDS_SOON
        if timedelta() < left < CA_ENDS_SOON:
            days = f"{left.days} day{'s' * (left.days != 1)}"
            yield note("warn", f"The CA ends in {days}.", what_to_do["ca"])

    def _of_audit(self) -> Iterator[Note]:
        store = self._services.store
        if store.lost:
            yield note("bad", f"{store.lost} outcomes could not be recorded.", "The log says why.")
        if store.waiting > AUDIT_SLOW:
            yield note(
                "warn", f"The audit is slow: {store.waiting} records wait.", "See to the disk of the state folder."
            )

    def _of_keys(self) -> Iterator[Note]:
        settings, now = self._services.settings, time.monotonic()
        for name, pool in settings.all_pools().items():
            cooling = [key.label for key in pool.keys if key.cooling_until > now]
            if cooling and len(cooling) == len(pool.keys):
                which = "The only key" if len(cooling) == 1 else f"All {len(cooling)} keys"
                verb = "is" if len(cooling) == 1 else "are"
                yield note("bad", f"{which} of {name} {verb} cooling down after a refusal.", "See Keys.")
            elif cooling:
                yield note("warn", f"{len(cooling)} of {len(pool.keys)} keys of {name} are cooling down.", "See Keys.")
        has_any = any(pool.keys for pool in settings.all_pools().values()) or settings.aws or settings.key_sources
        if not has_any:
            example = PROVIDERS["openai"].key_setting
            yield note("bad", "There is no provider key.", f"Set {example}, or keys in wirekey.yaml, and start anew.")

    def _advice(self, active: list[AgentRecord]) -> Iterator[Note]:
        """Give what is not wrong, and good to know."""
        settings, config = self._services.settings, self._entrance.config
        if settings.simulated:
            yield note("note", "The simulator answers every call: no provider is reached.", "Set a key and start anew.")
        if not settings.identity_required:
            yield note("warn", "Calls need no identity (identity.required is false).", "Each program may call.")
        if not active:
            yield note("note", "There are no agents yet.", "./run.sh agents add alice")
        place = config.listen.forward if config else None
        if place and not (is_loopback(place.host) or place.host == "localhost"):
            yield note("warn", "Other machines reach listen.forward: tokens travel there unencrypted.", "")


def keys_of(pool: KeyPool | None) -> list[Any]:
    return list(pool.keys) if pool else []


def note(level: str, what: str, fix: str) -> Note:
    """`level`: bad (calls fail), warn (they will, or might), note."""
    return {"level": level, "what": what, "fix": fix}


def agent_row(record: AgentRecord) -> dict[str, Any]:
    now = datetime.now(UTC)
    living = [token for token in record.tokens if token.expires_at is None or token.expires_at > now]
    return {
        "id": record.id,
        "role": record.role,
        "type": record.type,
        "tokens": len(living),
        "clients": len(record.clients),
        "aws": record.aws is not None,
        "created": record.created.timestamp(),
    }
