"""The stored agents, and every change to them.

The agents of one machine are in a file. Readers never wait for writers, because each change replaces the whole file.

The agents of several machines are in a database, and the file is a copy of it. Calls read the copy. Changes are made in
the database. So no call waits for the database, and the copy is the last known state while the database is unreachable.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from wirekey.core.errors import UserError
from wirekey.core.identity import agents_changes, agents_format
from wirekey.core.identity.agents_file import AgentsFile, AgentsFileError
from wirekey.core.identity.agents_format import AgentError, AgentRecord, AgentRecords, Suspension
from wirekey.core.identity.agents_import import ImportReport, import_agents
from wirekey.core.identity.aws_pairs import current_pair
from wirekey.core.identity.clients import ClientCredentials, new_credentials
from wirekey.core.identity.installation_keys import IMPORTED, MasterSecret
from wirekey.core.identity.master_file import MasterSecretError, load_master
from wirekey.core.identity.tokens import new_token
from wirekey.core.labels import NO_LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from wirekey.core.identity.aws_pairs import KeyPair
    from wirekey.core.identity.import_file import AgentEntry

MASTER_FILE = "aws-master.key"
"""Name of the file beside the agents file: the secret of the AWS key pairs and of the hashes of imported tokens."""


class SharedAgents(Protocol):
    """The agents of several machines. Each operation blocks, and raises UserError if the agents cannot be reached."""

    place: str
    """Its name in messages."""

    def read(self) -> AgentRecords:
        """Return all agents."""

    def change(self, change: Callable[[AgentRecords], AgentRecords]) -> None:
        """Replace the agents with what `change` makes of them, as one transaction."""

    def may_pass(self, error: UserError) -> bool:
        """Return whether the cause of an error can end by itself."""


class StoredAgents:
    """The agents of one state folder, as they are stored. Several processes may read and change them."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        masters: tuple[MasterSecret, ...] = (),
        shared: SharedAgents | None = None,
    ) -> None:
        """Set the places of the agents and of their master secrets.

        `masters`: the secrets of `secrets.master` and, for verification only, `secrets.previous`. Without any, the
        secret is a file beside the agents file. With some, that file is never created. If it exists, what was issued
        with it is still verified. `shared`: the agents of which the file is a copy.
        """
        self.file = AgentsFile(path)
        self.shared = shared
        self.masters = masters
        self._clock = clock

    @property
    def path(self) -> Path:
        """The path of the agents file."""
        return self.file.path

    def agents(self) -> tuple[AgentRecord, ...]:
        """Return all agents as stored now, including revoked ones. Raises AgentsFileError."""
        return self._stored().agents

    def copied_agents(self) -> tuple[AgentRecord, ...]:
        """Return all agents of the file, including revoked ones. Raises AgentsFileError."""
        return self.file.read().agents

    def agent(self, name: str) -> AgentRecord:
        """Return one agent as stored now. Raises AgentError if it does not exist, and AgentsFileError."""
        return self._stored().agent(name)

    def export(self) -> bytes:
        """Return all agents as stored now, with the hashes of their credentials. Raises AgentsFileError."""
        return agents_format.encode(self._stored())

    def copy(self, read: Callable[[], AgentRecords] | None = None) -> bool:
        """Copy the shared agents into the file, and return whether it has changed. `read` returns them.

        They are read while the file is locked, so that an older copy never replaces a newer one.
        """
        assert self.shared
        with self.file.locked():
            latest = agents_format.encode((read or self.shared.read)())
            if self.file.has(latest):
                return False
            self.file.write(latest)
        return True

    # The master secrets.

    def derived_key(self, use: bytes) -> bytes:
        """Return the key for one use. Raises AgentsFileError."""
        return self._all_masters()[0].key_for(use)

    def derived_keys(self, use: bytes) -> list[bytes]:
        """Return the keys for one use: that of new signatures and hashes, then those of earlier ones."""
        return [master.key_for(use) for master in self._all_masters()]

    def _all_masters(self) -> list[MasterSecret]:
        file = self.path.with_name(MASTER_FILE)
        if self.masters and not os.path.lexists(file):
            return list(self.masters)
        try:
            return [*self.masters, MasterSecret(load_master(file), is_stored=True)]
        except MasterSecretError as error:
            raise AgentsFileError(str(error)) from error

    # Changes. Each raises AgentError if it is not possible and AgentsFileError if the file cannot be changed. Those
    # that create a secret return it: this is the only time that it can be seen.

    def add(
        self,
        name: str,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> str:
        """Add an agent and return its token. `permissions`: None means the default ones."""
        token = new_token()
        self.apply(
            lambda old, now: agents_changes.add(
                old, name, token, now, role=role, type_=type, permitted=permissions, labels=labels
            )
        )
        return token

    def add_client(
        self,
        name: str,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> ClientCredentials:
        """Add an agent without a token, and return OAuth client credentials with which it gets JWTs."""
        new = new_credentials()
        self.apply(
            lambda old, now: agents_changes.add(
                old, name, new, now, role=role, type_=type, permitted=permissions, labels=labels
            )
        )
        return new

    def ensure_agent(self, name: str) -> None:
        """Add an agent without a token, unless an agent of that name exists. A revoked one stays revoked."""
        self.apply(lambda old, now: agents_changes.ensure(old, name, now))

    def change(
        self,
        name: str,
        *,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
        suspended: bool | None = None,
        labels: Mapping[str, str] = NO_LABELS,
    ) -> None:
        """Change attributes of an agent. Its credentials stay. None keeps a value, an empty one resets it."""
        self.apply(
            lambda old, now: agents_changes.change(
                old, name, now, role=role, type_=type, permitted=permissions, suspended=suspended, labels=labels
            )
        )

    def revoke(self, name: str) -> None:
        """Revoke an agent. All its credentials stop working immediately."""
        self.apply(lambda old, now: agents_changes.revoke(old, name, now))

    def revoke_all(self, revoked: Mapping[str, datetime]) -> None:
        """Revoke agents that were revoked on other machines, given when. One that was added later stays active."""
        self.apply(lambda old, _: agents_changes.revoke_all(old, revoked))

    def suspend_all(self, changes: Mapping[str, Suspension]) -> None:
        """Suspend and resume agents as on other machines. One that was changed here after that stays as it is."""
        self.apply(lambda old, _: agents_changes.suspend_all(old, changes))

    def rotate(self, name: str, overlap_seconds: float = 0) -> str:
        """Replace all tokens of the agent with a new one. The previous tokens expire after `overlap_seconds`."""
        token = new_token()
        self.apply(lambda old, now: agents_changes.rotate(old, name, token, now, overlap_seconds))
        return token

    def issue_token(
        self, name: str, label: str, lifetime: float | None, *, strict: bool = False, renewable: float | None = None
    ) -> str:
        """Add a token to the agent, valid for `lifetime` seconds, and return it. None means no expiry.

        `strict`: the token reaches only the hosts that `egress.other_hosts: deny` allows. `renewable`: for how many
        seconds `renew_token` may be called.
        """
        token = new_token()
        self.apply(
            lambda old, now: agents_changes.issue(
                old, name, token, now, label=label, lifetime=lifetime, strict=strict, renewable=renewable
            )
        )
        return token

    def renew_token(self, name: str, token: str, lifetime: float) -> None:
        """Make a renewable token valid for `lifetime` seconds from now, even if it expired a while ago.

        Raises AgentError if it was revoked, or the agent's tokens were rotated.
        """
        self.apply(lambda old, now: agents_changes.renew(old, name, token, now, lifetime))

    def drop_token(self, name: str, token: str) -> None:
        """Revoke one token, given as the token itself or as its id."""
        self.apply(lambda old, now: agents_changes.drop(old, name, token, now))

    def rotate_client(self, name: str, overlap_seconds: float = 0) -> ClientCredentials:
        """Replace the agent's client credentials, or create its first ones. Its tokens stay valid."""
        new = new_credentials()
        self.apply(lambda old, now: agents_changes.rotate_client(old, name, new, now, overlap_seconds))
        return new

    def pair(self, name: str) -> KeyPair:
        """Return the agent's AWS key pair. Creates the first one if it has none."""
        self.apply(lambda old, now: agents_changes.ensure_pair(old, name, now))
        return self._current_pair(name)

    def rotate_pair(self, name: str, overlap_seconds: float = 0) -> KeyPair:
        """Replace the agent's AWS key pair with the next one. The previous pair expires after `overlap_seconds`."""
        self.apply(lambda old, now: agents_changes.rotate_pair(old, name, now, overlap_seconds))
        return self._current_pair(name)

    def _current_pair(self, name: str) -> KeyPair:
        record = self._stored().agent(name).aws
        if record is None:
            raise AgentError(f"The AWS key pair of {name} was removed at the same time.")
        return current_pair(self._all_masters()[0].of_pairs, name, record)

    def import_agents(self, entries: Sequence[AgentEntry]) -> ImportReport:
        """Add agents with credentials that exist already, all of them or none. Raises ImportRefusedError."""
        keys, reports = self.derived_keys(IMPORTED), []

        def change(old: AgentRecords, now: datetime) -> AgentRecords:
            latest, report = import_agents(old, entries, keys, now)
            reports.append(report)
            return latest

        self.apply(change)
        return reports[0]

    def import_exported(self, exported: AgentRecords) -> ImportReport:
        """Add the agents of an export, all of them or none. Raises AgentError if one exists and differs."""
        existed: list[AgentRecords] = []

        def change(old: AgentRecords, _: datetime) -> AgentRecords:
            existed.append(old)
            return agents_changes.add_exported(old, exported)

        self.apply(change)
        known = {agent.id for agent in existed[-1].agents}
        report = ImportReport()
        for agent in exported.agents:
            (report.unchanged if agent.id in known else report.added).append(agent.id)
        return report

    def apply(self, change: Callable[[AgentRecords, datetime], AgentRecords]) -> None:
        """Replace the stored agents with what `change` makes of them at the present time."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        if self.shared:
            self.shared.change(lambda old: change(old, now))
            with contextlib.suppress(UserError):  # the change is made; a running Wirekey copies it as well
                self.copy()
        else:
            with self.file.locked():
                self.file.write(agents_format.encode(change(self.file.read(), now)))

    def _stored(self) -> AgentRecords:
        return self.shared.read() if self.shared else self.file.read()
