"""The agents' file: found by token on every request, followed when it changes, changed by the commands.

Readers never wait for writers: a change replaces the file whole.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from wirekey import permissions
from wirekey.call import Agent
from wirekey.credentials.agent_tokens import pair_secrets
from wirekey.errors import UserError
from wirekey.identity import agents_format, private_file
from wirekey.identity.agents_format import AgentError, AgentRecord, AgentRecords, AgentRecordsError
from wirekey.identity.aws_master import MasterSecretError, load_master
from wirekey.identity.aws_pairs import AwsPairs, current_pair
from wirekey.identity.clients import ClientCredentials, OAuthClient, new_credentials
from wirekey.identity.tokens import new_token, token_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wirekey.identity.agents_format import TokenRecord
    from wirekey.identity.aws_pairs import KeyPair
    from wirekey.identity.clients import ClientRecord
    from wirekey.identity.private_file import FileVersion
    from wirekey.secret import Secret

logger = logging.getLogger(__name__)

MASTER_FILE = "aws-master.key"
"""Beside the agents' file: what the AWS key pairs are derived from."""
UNKNOWN_TOKEN_REFRESH = 0.05
"""Seconds between looks at the file because of unknown tokens, which anyone can send as fast as they like."""

__all__ = ["AgentError", "AgentStore", "AgentsFileError"]


class AgentsFileError(UserError):
    """The agents' file cannot be read or written: names the file and the fix."""


class AgentStore:
    """The agents of one state folder. Raises AgentsFileError where the file is there but cannot be used.

    For one thread; several processes may read and write the same file.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._agents: dict[bytes, tuple[Agent, float | None]] = {}
        self._clients: dict[str, OAuthClient] = {}
        self._names: frozenset[str] = frozenset()
        self._by_name: dict[str, Agent] = {}
        self._pairs: AwsPairs | None = None
        self._signature: FileVersion = None
        self._looked_at = 0.0
        self._signature = self._read_signature()
        if self._signature:
            self._use(self._read())

    def find(self, token: str) -> Agent | None:
        """Give the agent whose token this is; None where it is nobody's, expired, or its agent revoked."""
        return self.find_hash(token_digest(token))

    def find_hash(self, digest: bytes, now: float | None = None) -> Agent | None:
        """Find again by `tokens.token_digest`, so that a tunnel need not keep the token.

        `now`, here and below: Unix seconds at which the token must not have expired; None: the present time.

        A dict tells by its timing at most how much of a hash fits, from which no token follows.
        """
        found = self._agents.get(digest)
        if found is None:
            self._look_again()
            found = self._agents.get(digest)
            if found is None:
                return None
        agent, expires = found
        return agent if expires is None or self._at(now) < expires else None

    def find_client(self, client_id: str, now: float | None = None) -> OAuthClient | None:
        """Give the client of that id; None where there is none, its time is over, or its agent revoked."""
        client = self._clients.get(client_id)
        if client is None:
            self._look_again()
            client = self._clients.get(client_id)
            if client is None:
                return None
        return client if client.expires is None or self._at(now) < client.expires else None

    def find_pair(self, access_key: str, now: float | None = None) -> tuple[Agent, KeyPair] | None:
        """Give whose AWS access key id this is, and the pair; None where it is nobody's, or its time is over."""
        owner = self._pairs.find(access_key, self._at(now)) if self._pairs else None
        if owner is None:
            self._look_again()
            owner = self._pairs.find(access_key, self._at(now)) if self._pairs else None
            if owner is None:
                return None
        return self._by_name[owner.agent_id], owner.pair

    def has(self, name: str) -> bool:
        """Tell whether there is, or was, an agent of that name: such a name is taken for good."""
        return name in self._names

    def _at(self, now: float | None) -> float:
        return self._clock() if now is None else now

    def _look_again(self) -> None:
        now = time.monotonic()
        if now - self._looked_at >= UNKNOWN_TOKEN_REFRESH:
            self._looked_at = now
            self.refresh()

    def refresh(self) -> None:
        """Follow the file. One `stat` where nothing changed; call it twice a second. Never raises.

        A file that cannot be used leaves the agents as they were, and says so once. No file: no agents.
        """
        try:
            signature = self._read_signature()
            if signature == self._signature:
                return
            self._signature = signature
            if signature is None:
                logger.warning("%s is gone: there are no agents now", self.path)
                self._use(AgentRecords())
            else:
                self._use(self._read())
        except AgentsFileError as error:
            logger.error("%s The agents known before stay in force.", error)  # noqa: TRY400  # a sentence says it all

    def agents(self) -> tuple[AgentRecord, ...]:
        """Read all agents, revoked ones too, as stored now. Raises AgentsFileError."""
        return self._read().agents

    def agent(self, name: str) -> AgentRecord:
        """Raise AgentError where there is no agent of that name."""
        return self._read().agent(name)

    # Changes. Each raises AgentError where it cannot be made, AgentsFileError where the file forbids it, and gives
    # a new token where it makes one: that is the only time that it can be seen.

    def add(
        self,
        name: str,
        role: str | None = None,
        type: str | None = None,  # noqa: A002  # the event's word
        permissions: tuple[str, ...] | None = None,
    ) -> str:
        """Add an agent; `permissions` None: the usual ones."""
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
        """Add an agent that has no token, and gets itself JWTs with these credentials."""
        new = new_credentials()
        self._change(
            lambda old, now: agents_format.add(old, name, new, now, role=role, type_=type, permitted=permissions)
        )
        return new

    def ensure_agent(self, name: str) -> None:
        """Add an agent without a token, unless there is one of that name; a revoked one stays revoked."""
        self._change(lambda old, now: agents_format.ensure(old, name, now))

    def rotate(self, name: str, overlap_seconds: float = 0) -> str:
        """Replace all tokens of the agent by one new; the former end after `overlap_seconds`."""
        token = new_token()
        self._change(lambda old, now: agents_format.rotate(old, name, token, now, overlap_seconds))
        return token

    def rotate_client(self, name: str, overlap_seconds: float = 0) -> ClientCredentials:
        """Replace the client credentials of the agent, or give it its first ones; its tokens stay."""
        new = new_credentials()
        self._change(lambda old, now: agents_format.rotate_client(old, name, new, now, overlap_seconds))
        return new

    def pair(self, name: str) -> KeyPair:
        """Give the agent's AWS key pair, the first one where it has none yet."""
        self._change(lambda old, now: agents_format.ensure_pair(old, name, now))
        return self._current_pair(name)

    def rotate_pair(self, name: str, overlap_seconds: float = 0) -> KeyPair:
        """Replace the agent's AWS key pair by its next; the former ends after `overlap_seconds`."""
        self._change(lambda old, now: agents_format.rotate_pair(old, name, now, overlap_seconds))
        return self._current_pair(name)

    def _current_pair(self, name: str) -> KeyPair:
        record = self._read().agent(name).aws
        if record is None:
            raise AgentError(f"The AWS key pair of {name} was just taken away.")
        return current_pair(self._master(), name, record)

    def _master(self) -> Secret:
        try:
            return load_master(self.path.with_name(MASTER_FILE))
        except MasterSecretError as error:
            raise AgentsFileError(str(error)) from error

    def revoke(self, name: str) -> None:
        self._change(lambda old, now: agents_format.revoke(old, name, now))

    def issue_token(self, name: str, label: str, lifetime: float | None, *, strict: bool = False) -> str:
        """Add a token to the agent, valid for `lifetime` seconds. None means no expiry.

        `strict`: with it, only the hosts can be reached that `egress.other_hosts: deny` leaves.
        """
        token = new_token()
        self._change(
            lambda old, now: agents_format.issue(old, name, token, now, label=label, lifetime=lifetime, strict=strict)
        )
        return token

    def drop_token(self, name: str, token: str) -> None:
        """End one token, given itself or by its id."""
        self._change(lambda old, now: agents_format.drop(old, name, token, now))

    def _change(self, change: Callable[[AgentRecords, datetime], AgentRecords]) -> None:
        with self._locked():
            latest = change(self._read(), datetime.fromtimestamp(self._clock(), UTC))
            self._write(agents_format.encode(latest))
        self.refresh()

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
                f"{self.path} {error}. It was left as it is: mend it, put a copy back, or move it away to start "
                "without agents."
            ) from error

    def _read_signature(self) -> FileVersion:
        try:
            return private_file.file_version(self.path)
        except OSError as error:
            raise AgentsFileError(f"{self.path} cannot be read: {error.strerror}.") from error

    def _use(self, latest: AgentRecords) -> None:
        pairs = [(agent.id, agent.aws) for agent in latest.agents if agent.aws and agent.revoked_at is None]
        self._pairs = AwsPairs(self._master(), pairs) if pairs else None
        pair_secrets.use(self._pairs.secrets() if self._pairs else ())
        self._agents, self._clients, self._by_name = {}, {}, {}
        self._names = frozenset(agent.id for agent in latest.agents)
        for record in latest.agents:
            if record.revoked_at is not None:
                continue
            permitted = permissions.DEFAULT if record.permissions is None else record.permissions
            agent = Agent(record.id, record.role, record.type, permitted)
            self._by_name[record.id] = agent
            for token in record.tokens:
                bearer = replace(agent, strict=True) if token.strict is True else agent
                self._agents[bytes.fromhex(token.hash)] = bearer, end_of(token)
            for client in record.clients:
                self._clients[client.id] = OAuthClient(client.id, agent, bytes.fromhex(client.hash), end_of(client))


def end_of(record: TokenRecord | ClientRecord) -> float | None:
    return record.expires_at.timestamp() if record.expires_at else None
