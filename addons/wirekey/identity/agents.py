"""The agent store: finds agents by token on every request, reloads the agents file when it changes, and edits it.

Readers never wait for writers, because each change replaces the whole file.

The agents of several machines are in a database. The file is then a copy of it: calls read the copy, changes are made
in the database. So no call waits for the database, and the copy is the last known state while the database is away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from msgspec import UNSET

from wirekey import permissions
from wirekey.call import Agent
from wirekey.errors import UserError
from wirekey.identity import agents_format, private_file
from wirekey.identity.agents_format import (
    AgentError,
    AgentRecord,
    AgentRecords,
    AgentRecordsError,
    Suspension,
    UnknownAgentError,
)
from wirekey.identity.agents_import import ImportReport, import_agents
from wirekey.identity.aws_pairs import AwsPairs, current_pair
from wirekey.identity.clients import ClientCredentials, OAuthClient, new_credentials
from wirekey.identity.imported_credentials import imported_digest
from wirekey.identity.installation_keys import IMPORTED, MasterSecret
from wirekey.identity.master_file import MasterSecretError, load_master
from wirekey.identity.tokens import new_token, token_digest
from wirekey.pair_secrets import pair_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from wirekey.identity.agents_format import TokenRecord
    from wirekey.identity.aws_pairs import KeyPair
    from wirekey.identity.clients import ClientRecord
    from wirekey.identity.import_file import AgentEntry
    from wirekey.identity.private_file import FileVersion

logger = logging.getLogger(__name__)

MASTER_FILE = "aws-master.key"
"""Name of the file beside the agents file: the secret of the AWS key pairs and of the hashes of imported tokens."""

__all__ = ["AgentError", "AgentStore", "AgentsFileError", "UnknownAgentError"]


class AgentsFileError(UserError):
    """The agents file cannot be read or written. The message names the file and the fix."""


class SharedAgents(Protocol):
    """The agents of several machines. Each operation blocks, and raises UserError if the agents cannot be reached."""

    place: str
    """Its name in messages."""

    def read(self) -> AgentRecords:
        """Return all agents."""

    def change(self, change: Callable[[AgentRecords], AgentRecords]) -> None:
        """Replace the agents with what `change` makes of them, as one transaction."""


class AgentStore:
    """The agents of one state folder. Raises AgentsFileError if the file exists but cannot be used.

    For one thread. Several processes may read and write the same file.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        masters: tuple[MasterSecret, ...] = (),
        shared: SharedAgents | None = None,
    ) -> None:
        """Read the file. `masters`: the secrets of `secrets.master` and, for verification only, `secrets.previous`.

        Without any, the secret is a file beside the agents file. With some, that file is never made. If there is one,
        what was issued with it is still verified. `shared`: the agents that the file is a copy of.
        """
        self.path = path
        self.shared = shared
        self.masters = masters
        self._clock = clock
        self._agents: dict[bytes, tuple[Agent, float | None]] = {}
        self._imported: dict[bytes, bool] = {}
        """Digest of an imported token → whether it is guessable."""
        self._import_keys: tuple[bytes, ...] = ()
        """The keys of these digests. Empty: nothing was imported."""
        self.has_guessable = False
        """Whether an imported token has so little entropy that guesses must be slowed down."""
        self._clients: dict[str, OAuthClient] = {}
        self._names: frozenset[str] = frozenset()
        self._by_name: dict[str, Agent] = {}
        self.revocations: Mapping[str, datetime] = {}
        """The agents that are revoked, and when they were."""
        self._added: Mapping[str, datetime] = {}
        """All other agents, and when they were added."""
        self.suspensions: Mapping[str, Suspension] = {}
        """The agents, revoked ones aside, that were ever suspended: when they were suspended or resumed last."""
        self._pairs: AwsPairs | None = None
        self._version: FileVersion = None
        self._version = self._file_version()
        if self._version:
            self._use(self._read())

    def find(self, token: str) -> Agent | None:
        """Return the agent a token identifies, or None if the token is unknown or expired, or its agent is revoked."""
        return self.find_hash(token_digest(token))

    def find_hash(self, digest: bytes, now: float | None = None) -> Agent | None:
        """Return the agent of a token, given its `tokens.token_digest`. A tunnel keeps this hash instead of the token.

        `now`, here and below: Unix seconds at which the token must be valid; None means the present time.

        The timing of the lookup reveals at most how much of a hash matches, which does not help to find a token.
        """
        entry = self._agents.get(digest)
        if entry is None:
            self.refresh()  # the agent may have been added a moment ago
            entry = self._agents.get(digest)
            if entry is None:
                return None
        agent, expires = entry
        return agent if expires is None or self._at(now) < expires else None

    @property
    def has_imported(self) -> bool:
        """Whether any token was imported. Until then, only values with the form of a token have to be looked up."""
        return bool(self._imported)

    def imported_digest(self, token: str) -> bytes:
        """Return the digest of a text as an imported token, for `find_hash`. Some token must have been imported."""
        digests = self.imported_digests(token)
        return next((digest for digest in digests if digest in self._imported), digests[0])

    def imported_digests(self, token: str) -> list[bytes]:
        """Return the digest of a text as an imported token with each key. Some token must have been imported."""
        return [imported_digest(key, token) for key in self._import_keys]

    def is_imported(self, digest: bytes) -> bool:
        """Return whether a digest is that of an imported token."""
        return digest in self._imported

    def is_guessable(self, digest: bytes) -> bool:
        """Return whether a digest is that of an imported token with little entropy."""
        return self._imported.get(digest, False)

    def find_client(self, client_id: str, now: float | None = None) -> OAuthClient | None:
        """Return the OAuth client of an id, or None if it is unknown or expired, or its agent is revoked."""
        client = self._clients.get(client_id)
        if client is None:
            self.refresh()  # the agent may have been added a moment ago
            client = self._clients.get(client_id)
            if client is None:
                return None
        return client if client.expires is None or self._at(now) < client.expires else None

    def find_pair(self, access_key: str, now: float | None = None) -> tuple[Agent, KeyPair] | None:
        """Return the agent and the key pair of an AWS access key id, or None if it is unknown or expired."""
        owner = self._pairs.find(access_key, self._at(now)) if self._pairs else None
        if owner is None:
            self.refresh()  # the agent may have been added a moment ago
            owner = self._pairs.find(access_key, self._at(now)) if self._pairs else None
            if owner is None:
                return None
        return self._by_name[owner.agent_id], owner.pair

    def find_name(self, name: str) -> Agent | None:
        """Return the agent of a name, or None if it is unknown, suspended or revoked."""
        if name not in self._by_name:
            self.refresh()  # the agent may have been added a moment ago
        return self._by_name.get(name)

    def has(self, name: str) -> bool:
        """Return whether an agent of that name exists or existed. Such a name is never free again."""
        return name in self._names

    def is_revoked_by(self, name: str, moment: datetime) -> bool:
        """Return whether a revocation of another machine, at this moment, concerns an agent that is not revoked here.

        An agent that is not known here is concerned too, so that no issuer of JWTs can name it.
        """
        added = self._added.get(name)
        return name not in self.revocations and (added is None or added <= moment)

    def is_changed_by(self, name: str, change: Suspension) -> bool:
        """Return whether a suspension, or its end, on another machine concerns an agent of this one."""
        own = self.suspensions.get(name) or Suspension(self._added[name], False) if name in self._added else None
        return own is not None and own.moment < change.moment

    def _at(self, now: float | None) -> float:
        return self._clock() if now is None else now

    def refresh(self) -> None:
        """Reload the file if it changed. Costs one `stat` if it did not. Never raises.

        It is called twice a second and for each unknown token.

        If the file cannot be used, the current agents stay and the reason is logged once. Without a file there are no
        agents.
        """
        try:
            version = self._file_version()
            if version == self._version:
                return
            self._version = version
            if version is None:
                logger.warning("%s was removed. There are no agents now.", self.path)
                self._use(AgentRecords())
            else:
                self._use(self._read())
        except AgentsFileError as error:
            logger.error("%s The previous agents stay active.", error)  # noqa: TRY400  # the message is complete

    def agents(self) -> tuple[AgentRecord, ...]:
        """Return all agents as stored now, including revoked ones. Raises AgentsFileError."""
        return self._stored().agents

    def copied_agents(self) -> tuple[AgentRecord, ...]:
        """Return all agents of the file, including revoked ones. Raises AgentsFileError."""
        return self._read().agents

    def agent(self, name: str) -> AgentRecord:
        """Return one agent as stored now. Raises AgentError if it does not exist, and AgentsFileError."""
        return self._stored().agent(name)

    # Changes. Each raises AgentError if it is not possible and AgentsFileError if the file cannot be changed. Those
    # that create a secret return it: this is the only time that it can be seen.

    def add(
        self,
        name: str,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
    ) -> str:
        """Add an agent and return its token. `permissions`: None means the default ones."""
        token = new_token()
        self._change(
            lambda old, now: agents_format.add(old, name, token, now, role=role, type_=type, permitted=permissions)
        )
        return token

    def add_client(
        self,
        name: str,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
    ) -> ClientCredentials:
        """Add an agent without a token, and return OAuth client credentials with which it gets JWTs."""
        new = new_credentials()
        self._change(
            lambda old, now: agents_format.add(old, name, new, now, role=role, type_=type, permitted=permissions)
        )
        return new

    def ensure_agent(self, name: str) -> None:
        """Add an agent without a token, unless an agent of that name exists. A revoked one stays revoked."""
        self._change(lambda old, now: agents_format.ensure(old, name, now))

    def change(
        self,
        name: str,
        *,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
        suspended: bool | None = None,
    ) -> None:
        """Change attributes of an agent. Its credentials stay. None keeps a value, an empty one resets it."""
        self._change(
            lambda old, now: agents_format.change(
                old, name, now, role=role, type_=type, permitted=permissions, suspended=suspended
            )
        )

    def import_agents(self, entries: Sequence[AgentEntry]) -> ImportReport:
        """Add agents with credentials that exist already, all of them or none. Raises ImportRefusedError."""
        keys, reports = self.derived_keys(IMPORTED), []

        def change(old: AgentRecords, now: datetime) -> AgentRecords:
            latest, report = import_agents(old, entries, keys, now)
            reports.append(report)
            return latest

        self._change(change)
        return reports[0]

    def rotate(self, name: str, overlap_seconds: float = 0) -> str:
        """Replace all tokens of the agent with a new one. The previous tokens expire after `overlap_seconds`."""
        token = new_token()
        self._change(lambda old, now: agents_format.rotate(old, name, token, now, overlap_seconds))
        return token

    def rotate_client(self, name: str, overlap_seconds: float = 0) -> ClientCredentials:
        """Replace the agent's client credentials, or create its first ones. Its tokens stay valid."""
        new = new_credentials()
        self._change(lambda old, now: agents_format.rotate_client(old, name, new, now, overlap_seconds))
        return new

    def pair(self, name: str) -> KeyPair:
        """Return the agent's AWS key pair. Creates the first one if it has none."""
        self._change(lambda old, now: agents_format.ensure_pair(old, name, now))
        return self._current_pair(name)

    def rotate_pair(self, name: str, overlap_seconds: float = 0) -> KeyPair:
        """Replace the agent's AWS key pair with the next one. The previous pair expires after `overlap_seconds`."""
        self._change(lambda old, now: agents_format.rotate_pair(old, name, now, overlap_seconds))
        return self._current_pair(name)

    def _current_pair(self, name: str) -> KeyPair:
        record = self._stored().agent(name).aws
        if record is None:
            raise AgentError(f"The AWS key pair of {name} was removed at the same time.")
        return current_pair(self._masters()[0].of_pairs, name, record)

    def derived_key(self, use: bytes) -> bytes:
        """Return the key for one use. Raises AgentsFileError."""
        return self._masters()[0].key_for(use)

    def derived_keys(self, use: bytes) -> list[bytes]:
        """Return the keys for one use: that of new signatures and hashes, then those of earlier ones."""
        return [master.key_for(use) for master in self._masters()]

    def _masters(self) -> list[MasterSecret]:
        file = self.path.with_name(MASTER_FILE)
        if self.masters and not os.path.lexists(file):
            return list(self.masters)
        try:
            return [*self.masters, MasterSecret(load_master(file), is_stored=True)]
        except MasterSecretError as error:
            raise AgentsFileError(str(error)) from error

    def revoke(self, name: str) -> None:
        """Revoke an agent. All its credentials stop working immediately."""
        self._change(lambda old, now: agents_format.revoke(old, name, now))

    def revoke_all(self, revoked: Mapping[str, datetime]) -> None:
        """Revoke agents that were revoked on other machines, given when. One that was added later stays active."""
        self._change(lambda old, _: agents_format.revoke_all(old, revoked))

    def suspend_all(self, changes: Mapping[str, Suspension]) -> None:
        """Suspend and resume agents as on other machines. One that was changed here after that stays as it is."""
        self._change(lambda old, _: agents_format.suspend_all(old, changes))

    def issue_token(self, name: str, label: str, lifetime: float | None, *, strict: bool = False) -> str:
        """Add a token to the agent, valid for `lifetime` seconds, and return it. None means no expiry.

        `strict`: the token reaches only the hosts that `egress.other_hosts: deny` allows.
        """
        token = new_token()
        self._change(
            lambda old, now: agents_format.issue(old, name, token, now, label=label, lifetime=lifetime, strict=strict)
        )
        return token

    def drop_token(self, name: str, token: str) -> None:
        """Revoke one token, given as the token itself or as its id."""
        self._change(lambda old, now: agents_format.drop(old, name, token, now))

    def export(self) -> bytes:
        """Return all agents as stored now, with the hashes of their credentials. Raises AgentsFileError."""
        return agents_format.encode(self._stored())

    def import_exported(self, exported: AgentRecords) -> ImportReport:
        """Add the agents of an export, all of them or none. Raises AgentError if one exists and differs."""
        existed: list[AgentRecords] = []

        def change(old: AgentRecords, _: datetime) -> AgentRecords:
            existed.append(old)
            return agents_format.add_exported(old, exported)

        self._change(change)
        known = {agent.id for agent in existed[-1].agents}
        report = ImportReport()
        for agent in exported.agents:
            (report.unchanged if agent.id in known else report.added).append(agent.id)
        return report

    def copy(self, read: Callable[[], AgentRecords] | None = None) -> bool:
        """Copy the shared agents into the file, and return whether it has changed. `read` returns them.

        They are read while the file is locked, so that an older copy never replaces a newer one.
        """
        assert self.shared
        with self._locked():
            latest = agents_format.encode((read or self.shared.read)())
            with contextlib.suppress(OSError):
                if private_file.read(self.path) == latest:
                    return False
            self._write(latest)
        return True

    def _change(self, change: Callable[[AgentRecords, datetime], AgentRecords]) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        if self.shared:
            self.shared.change(lambda old: change(old, now))
            with contextlib.suppress(UserError):  # the change is made; a running Wirekey copies it as well
                self.copy()
        else:
            with self._locked():
                self._write(agents_format.encode(change(self._read(), now)))
        self.refresh()

    def _stored(self) -> AgentRecords:
        return self.shared.read() if self.shared else self._read()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(private_file.exclusive(self.path))
            except OSError as error:
                raise AgentsFileError(f"{self.path} cannot be locked: {error.strerror}.") from error
            yield

    def _write(self, data: bytes) -> None:
        try:
            private_file.replace(self.path, data)
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be written: {error.strerror}. Nothing was changed.") from error

    def _read(self) -> AgentRecords:
        try:
            data = private_file.read(self.path)
        except FileNotFoundError:
            return AgentRecords()
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be read: {error.strerror}.") from error
        try:
            return agents_format.decode(data)
        except AgentRecordsError as error:
            raise AgentsFileError(
                f"{self.path} {error}. The file was not changed. Repair it, restore a copy, or move it away to start "
                "without agents."
            ) from error

    def _file_version(self) -> FileVersion:
        try:
            return private_file.file_version(self.path)
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be read: {error.strerror}.") from error

    def _use(self, latest: AgentRecords) -> None:
        pairs = [(agent.id, agent.aws) for agent in latest.agents if agent.aws and agent.is_active]
        secrets = [master.of_pairs for master in self._masters()] if pairs else []
        self._pairs = AwsPairs(secrets[0], pairs, secrets[1:]) if pairs else None
        pair_secrets.use(self._pairs.secrets() if self._pairs else ())
        has_imported = any(
            any(token.imported is True for token in agent.tokens)
            or any(client.imported is True for client in agent.clients)
            for agent in latest.agents
        )
        keys = self._import_keys = tuple(self.derived_keys(IMPORTED)) if has_imported else ()
        self._agents, self._clients, self._by_name, self._imported = {}, {}, {}, {}
        self._names = frozenset(agent.id for agent in latest.agents)
        self.revocations = {agent.id: agent.revoked_at for agent in latest.agents if agent.revoked_at}
        self._added = {agent.id: agent.created for agent in latest.agents if not agent.revoked_at}
        self.suspensions = {
            agent.id: agents_format.last_suspension(agent)
            for agent in latest.agents
            if agent.suspension_changed is not UNSET and not agent.revoked_at
        }
        for record in latest.agents:
            if not record.is_active:
                continue
            permitted = permissions.DEFAULT if record.permissions is None else record.permissions
            agent = Agent(record.id, record.role, record.type, permitted)
            self._by_name[record.id] = agent
            for token in record.tokens:
                bearer = replace(agent, strict=True) if token.strict is True else agent
                digest = bytes.fromhex(token.hash)
                self._agents[digest] = bearer, end_of(token)
                if token.imported is True:
                    self._imported[digest] = token.guessable is True
            for client in record.clients:
                self._clients[client.id] = OAuthClient(
                    client.id,
                    agent,
                    bytes.fromhex(client.hash),
                    end_of(client),
                    keys if client.imported is True else (),
                    client.guessable is True,
                )
        self.has_guessable = any(self._imported.values())


def end_of(record: TokenRecord | ClientRecord) -> float | None:
    """Return when a record expires, in Unix seconds, or None if it does not expire."""
    return record.expires_at.timestamp() if record.expires_at else None
