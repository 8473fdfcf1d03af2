"""A backend of Code Assist while Wirekey runs: its accounts, their projects, and which of them cool down."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from wirekey.core.credentials.google.tokens import NoTokenError
from wirekey.core.credentials.pool import SessionAffinity
from wirekey.core.errors import Fault, Refusal
from wirekey.core.secret import Secret
from wirekey.core.tracebacks import safe_traceback
from wirekey.features.google_accounts.code_assist.errors import read_error
from wirekey.features.google_accounts.code_assist.health import health_of, trouble
from wirekey.features.google_accounts.code_assist.limits import (
    LIMITED,
    OVERLOADED,
    OVERLOADS,
    RATE_LIMIT,
    CoolDown,
    cool_down_after,
)
from wirekey.features.google_accounts.code_assist.pool import AccountPool
from wirekey.features.google_accounts.code_assist.projects import ProjectError
from wirekey.features.google_accounts.code_assist.protocol import TARGETS, VALIDATION_REQUIRED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wirekey.core.credentials.google.tokens import TokenSource, UsableToken
    from wirekey.core.credentials.pool import KeyPool, ProviderKey, Selection
    from wirekey.core.routing.account_health import AccountHealth
    from wirekey.core.routing.candidate import Upstream
    from wirekey.features.google_accounts.accounts import AccountStatus
    from wirekey.features.google_accounts.code_assist.lookup import ProjectClient

logger = logging.getLogger(__name__)

MOST_MODELS = 256
"""Models whose cool-downs are kept. Clients choose the names, so there must be a limit."""
BETWEEN_LOOKUPS = 30.0
"""Seconds after a failed lookup of a project before the next one."""
NO_SECRET = Secret("account")
"""The place of a key in a pool of accounts, whose tokens are asked for at each call."""


class BackendAccounts(Protocol):
    """The accounts of one backend. All methods are for the event loop's thread."""

    def usable(self) -> Sequence[str]:
        """Return the ids of the accounts that need no person before they are used, in order."""

    def source(self, account_id: str) -> TokenSource:
        """Return the tokens of an account. Raises NoTokenError if there is no such account."""

    def note_use(self, account_id: str) -> None:
        """Note that the account is used now."""

    def keep_project(self, account_id: str, project_id: str) -> None:
        """Keep the project that was looked up for the account."""

    def mark_invalid(self, account_id: str, reason: str | None) -> None:
        """Note why Google does not serve the account; None: it does."""

    def note_limit(self, account_id: str, until: float, reason: str) -> None:
        """Note for people until when Google limits the account, in Unix seconds, and why."""

    def statuses(self) -> Mapping[str, AccountStatus]:
        """Return the status of each account, by its id."""

    def reason_for_none(self) -> str:
        """Return why no account is usable, and what to run, in sentences for the client and the operator."""


class SharedLimits(Protocol):
    """The limits of accounts that several processes share."""

    def report(self, pool: AccountPool, key: ProviderKey) -> None:
        """Report to the others that an account is limited for a model, or is free again."""

    async def learn(self, pool: AccountPool) -> None:
        """Ask the others, once, which accounts of a pool are limited."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """The settings of a backend, as far as calls need them.

    `project_id`: set by hand, or None. `is_billed`: whether calls are billed at list prices. `looks_up`: whether an
    account's project is asked for. `fallback`: the model for calls whose accounts are all limited, or None.
    """

    name: str
    upstream: Upstream
    user_agent: str
    models: tuple[str, ...] = ()
    project_id: str | None = None
    fallback: str | None = None
    selection: Selection = "round-robin"
    session_ttl: float = 86400.0
    session_entries: int = 10_000
    is_billed: bool = False
    is_free: bool = False
    looks_up: bool = True


@dataclass(frozen=True, slots=True)
class PreparedAccount:
    """The token and the project for one attempt."""

    token: UsableToken = field(repr=False)
    project: str | None = None


class CodeAssist:
    """One backend. All methods are for the event loop's thread."""

    operations = frozenset(TARGETS)
    """The operations of Gemini that it offers."""

    def __init__(self, settings: BackendSettings) -> None:
        self.settings = settings
        self.accounts: BackendAccounts | None = None
        self.projects: ProjectClient | None = None
        self.shared_limits: SharedLimits | None = None
        """The limits that other processes know; None until they are watched."""
        self._sessions = SessionAffinity(settings.session_ttl, settings.session_entries)
        self._pools: OrderedDict[str, AccountPool] = OrderedDict()
        self._known: dict[tuple[str, int], str | None] = {}
        """(Account, number of its login) → its project."""
        self._lookups: dict[str, asyncio.Task[str | None]] = {}
        self._failed: dict[str, tuple[float, ProjectError]] = {}

    def __repr__(self) -> str:
        return f"CodeAssist({self.name})"

    @property
    def name(self) -> str:
        """The backend's name in routes, in models' names and in the audit log."""
        return self.settings.name

    @property
    def upstream(self) -> Upstream:
        """The address of Code Assist."""
        return self.settings.upstream

    @property
    def fallback(self) -> str | None:
        """The model for calls whose accounts are all limited, or None."""
        return self.settings.fallback

    def open(self, accounts: BackendAccounts, projects: ProjectClient | None) -> None:
        """Set the accounts, and who asks for their projects (None: each token has its project)."""
        self.accounts, self.projects = accounts, projects

    # Selection.

    def pool(self, model: str) -> AccountPool:
        """Return the accounts for a model, as keys whose labels are `BACKEND/ACCOUNT`."""
        pool = self._pools.get(model)
        if pool is None:
            selection, sessions = self.settings.selection, self._sessions
            pool = self._pools[model] = AccountPool([], selection=selection, sessions=sessions, model=model)
            if len(self._pools) > MOST_MODELS:
                self._pools.popitem(last=False)
        self._pools.move_to_end(model)
        now = time.monotonic()
        ids = self.accounts.usable() if self.accounts else ()
        usable = [each for each in ids if not self._is_invalid(each, now)] or ids
        pool.use([f"{self.name}/{each}" for each in usable], NO_SECRET)
        return pool

    @property
    def pools(self) -> Collection[AccountPool]:
        """The accounts for each model that was asked for lately."""
        return self._pools.values()

    def known_pool(self, model: str) -> AccountPool | None:
        """Return the accounts for a model, if it was asked for lately."""
        return self._pools.get(model)

    def _is_invalid(self, account_id: str, now: float) -> bool:
        failed = self._failed.get(account_id)
        return failed is not None and now - failed[0] < BETWEEN_LOOKUPS

    async def learn(self, pool: KeyPool) -> None:
        """Ask other processes, once for each model, which accounts of a pool are limited."""
        if self.shared_limits and isinstance(pool, AccountPool):
            await self.shared_limits.learn(pool)

    def no_account(self) -> Refusal:
        """Return the refusal of a call for which there is no account."""
        reason = self.accounts.reason_for_none() if self.accounts else "Its accounts are not open."
        return Refusal(503, "no_account", f"The backend {self.name} has no account to use. {reason}", Fault.OPERATOR)

    def all_limited(self, model: str) -> Refusal:
        """Return the refusal of a call whose accounts all cool down."""
        wait = self.pool(model).shortest_wait(time.monotonic()) or 0.0
        return Refusal(
            429,
            "accounts_limited",
            f"Google has limited every account of the backend {self.name} for this model. Retry in {wait:.0f} s, or "
            "use another model.",
            Fault.PROVIDER,
            retry_after=max(1, round(wait)),
        )

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it lists."""
        return self.settings.models

    def health(self, now: float) -> list[AccountHealth]:
        """Return the health of each account. `now`: a time of the monotonic clock."""
        return health_of(self.name, self.accounts.statuses() if self.accounts else {}, self.pools, now)

    def trouble(self, now: float) -> str | None:
        """Return why no account can be used, in words without names; None if one can."""
        return trouble(self.health(now))

    # Tokens and projects.

    async def ready(self, key: ProviderKey) -> PreparedAccount:
        """Return the token and the project of an account. Raises Refusal(503)."""
        assert self.accounts
        account_id = account_of(key)
        try:
            token = await self.accounts.source(account_id).token()
        except NoTokenError as error:
            raise Refusal(503, "no_account", f"{self.name}: {error}", Fault.OPERATOR) from None
        project = self.settings.project_id or token.project_id
        if project is None and self.settings.looks_up:
            project = await self._project(account_id, token)
        self.accounts.note_use(account_id)
        return PreparedAccount(token, project)

    async def _project(self, account_id: str, token: UsableToken) -> str | None:
        """Return the project of an account, by one lookup that all calls share. Raises Refusal(503)."""
        if (account_id, token.login) in self._known:
            return self._known[account_id, token.login]
        failed = self._failed.get(account_id)
        if failed and time.monotonic() - failed[0] < BETWEEN_LOOKUPS:
            raise self._without_project(failed[1])
        lookup = self._lookups.get(account_id)
        if lookup is None:
            lookup = self._lookups[account_id] = asyncio.create_task(self._look_up(account_id, token))
            lookup.add_done_callback(lambda task: self._end_lookup(account_id, task))
        try:
            return await asyncio.shield(lookup)
        except ProjectError as error:
            raise self._without_project(error) from None

    async def _look_up(self, account_id: str, token: UsableToken) -> str | None:
        assert self.projects
        assert self.accounts
        try:
            found = await self.projects.find(token, self.settings.project_id, free=self.settings.is_free)
        except ProjectError as error:
            self._failed[account_id] = (time.monotonic(), error)
            link = f" Open {error.url}." if error.url else ""
            logger.warning("%s/%s has no project: %s%s", self.name, account_id, error, link)
            if error.invalid:
                self.accounts.mark_invalid(account_id, f"{error}{link}")
            if error.status == 401:
                self.accounts.source(account_id).rejected(token)
            raise
        self._failed.pop(account_id, None)
        self._known[account_id, token.login] = found.project
        if found.project:
            self.accounts.keep_project(account_id, found.project)
        return found.project

    def _end_lookup(self, account_id: str, task: asyncio.Task[str | None]) -> None:
        self._lookups.pop(account_id, None)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, ProjectError):
            logger.error("the project of %s could not be looked up: %s", account_id, safe_traceback(error))

    def _without_project(self, error: ProjectError) -> Refusal:
        link = f" Open {error.url}." if error.url else ""
        return Refusal(503, "no_account", f"The backend {self.name} cannot be used. {error}{link}", Fault.OPERATOR)

    # Responses.

    def note_status(
        self, pool: AccountPool, key: ProviderKey, token: UsableToken, status: int, wait: float | None
    ) -> None:
        """Note the status of a response at its head. `wait`: the seconds of Retry-After, or None."""
        now = time.monotonic()
        if status in LIMITED:
            usual = RATE_LIMIT if status == 429 else OVERLOADED
            pool.start_cool_down(key, CoolDown(usual if wait is None else wait), now)
        elif status == 401 and self.accounts:
            try:
                self.accounts.source(account_of(key)).rejected(token)
            except NoTokenError:
                logger.debug("%s was removed", key.label)
        elif status < 400:
            rested = key.cooling_until > 0
            pool.record_status(key, status, None, now)
            if rested and self.shared_limits:
                self.shared_limits.report(pool, key)

    def note_error(self, pool: AccountPool, key: ProviderKey, status: int, wait: float | None, body: bytes) -> None:
        """Note the body of an error whose status was noted before."""
        error = read_error(status, body)
        if cool_down := cool_down_after(error, wait, time.time()):
            now = time.monotonic()
            pool.correct_cool_down(key, cool_down, now)
            if self.shared_limits:
                self.shared_limits.report(pool, key)
            if self.accounts and status not in OVERLOADS:
                reason = f"{error.reason or error.status or status} for {pool.model[:100]}"
                self.accounts.note_limit(account_of(key), time.time() + key.cooling_until - now, reason)
        elif status == 403 and error.reason == VALIDATION_REQUIRED and self.accounts:
            self._failed[account_of(key)] = (time.monotonic(), ProjectError(error.message, invalid=True))
            self.accounts.mark_invalid(account_of(key), error.message)

    def carry_over(self, previous: CodeAssist) -> None:
        """Copy the cool-downs, the sessions and the projects of the same backend before a reload."""
        self._pools, self._known, self._failed = previous._pools, previous._known, previous._failed
        for pool in self._pools.values():
            pool.selection, pool.sessions = self.settings.selection, self._sessions
        self._sessions.kept = previous._sessions.kept
        self.shared_limits = previous.shared_limits


def account_of(key: ProviderKey) -> str:
    """Return the account's id in the label of a key."""
    return key.label.partition("/")[2]
