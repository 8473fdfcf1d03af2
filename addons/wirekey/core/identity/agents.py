"""The agent store: finds agents by their credentials on every request, and reloads the agents file when it changes."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from msgspec import UNSET

from wirekey.core import permissions
from wirekey.core.call import Agent
from wirekey.core.identity import agents_format
from wirekey.core.identity.agents_file import AgentsFileError
from wirekey.core.identity.agents_format import AgentRecords, Suspension
from wirekey.core.identity.aws_pairs import AwsPairs
from wirekey.core.identity.clients import OAuthClient
from wirekey.core.identity.imported_credentials import imported_digest
from wirekey.core.identity.installation_keys import IMPORTED
from wirekey.core.identity.stored_agents import StoredAgents
from wirekey.core.identity.tokens import token_digest
from wirekey.core.pair_secrets import pair_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from wirekey.core.identity.agents_format import TokenRecord
    from wirekey.core.identity.aws_pairs import KeyPair
    from wirekey.core.identity.clients import ClientRecord
    from wirekey.core.identity.installation_keys import MasterSecret
    from wirekey.core.identity.private_file import FileVersion
    from wirekey.core.identity.runs import RunRecord
    from wirekey.core.identity.stored_agents import SharedAgents
    from wirekey.core.labels import LabelPairs

logger = logging.getLogger(__name__)

RUN_LABEL = "run"
"""The name of the label with the run of a call. No header and no agent's entry can change it."""


class AgentStore(StoredAgents):
    """The agents of one state folder, found by their credentials.

    For one thread. Several processes may read and change the same agents.
    """

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.time,
        masters: tuple[MasterSecret, ...] = (),
        shared: SharedAgents | None = None,
    ) -> None:
        """Read the file. Raises AgentsFileError if it exists but cannot be used."""
        super().__init__(path, clock, masters, shared)
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
        self.runs: Mapping[str, RunRecord] = {}
        """The runs that have not ended, by name."""
        self._pairs: AwsPairs | None = None
        self._version: FileVersion = None
        self._version = self.file.version()
        if self._version:
            self._use(self.file.read())

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
            version = self.file.version()
            if version == self._version:
                return
            self._version = version
            if version is None:
                logger.warning("%s was removed. There are no agents now.", self.path)
                self._use(AgentRecords())
            else:
                self._use(self.file.read())
        except AgentsFileError as error:
            logger.error("%s The previous agents stay active.", error)  # noqa: TRY400  # the message is complete

    def apply(self, change: Callable[[AgentRecords, datetime], AgentRecords]) -> None:
        """Replace the stored agents with what `change` makes of them, and use them."""
        super().apply(change)
        self.refresh()

    def _use(self, latest: AgentRecords) -> None:
        pairs = [(agent.id, agent.aws) for agent in latest.agents if agent.aws and agent.is_active]
        secrets = [master.of_pairs for master in self._all_masters()] if pairs else []
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
        runs: dict[str, RunRecord] = {}
        for record in latest.agents:
            if not record.is_active:
                continue
            permitted = permissions.DEFAULT if record.permissions is None else record.permissions
            labels = () if record.labels is UNSET else tuple(sorted(record.labels.items()))
            agent = Agent(record.id, record.role, record.type, permitted, labels=labels)
            self._by_name[record.id] = agent
            of_tokens = {run.token: run for run in record.runs if run.ended_at is UNSET}
            for token in record.tokens:
                bearer = agent
                if token.run is not UNSET:
                    run = of_tokens.get(token.id)
                    if run is None or run.name != token.run:  # its limits are unknown
                        continue
                    runs[run.name] = run
                    bearer = replace(bearer, run=run.name, labels=with_run(labels, run.name))
                if token.strict is True:
                    bearer = replace(bearer, strict=True)
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
        self.runs = runs
        self.has_guessable = any(self._imported.values())


def with_run(labels: LabelPairs, run: str) -> LabelPairs:
    """Return the verified labels of an agent in a run, whose name is one of them."""
    return tuple(sorted({**dict(labels), RUN_LABEL: run}.items()))


def end_of(record: TokenRecord | ClientRecord) -> float | None:
    """Return when a record expires, in Unix seconds, or None if it does not expire."""
    return record.expires_at.timestamp() if record.expires_at else None
