"""The proof that a request presented to identify its agent, kept so that the agent can be looked up again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from wirekey.core.call import Agent
    from wirekey.core.identity.agents import AgentStore


class KeptCredential(Protocol):
    """The data that a feature keeps of a credential of its own kind. It has no secret, so a tunnel may keep it."""

    kind: ClassVar[str]
    """The name of its kind, by which other processes restore it."""

    def find_agent(self, agents: AgentStore, now: float) -> Agent | None:
        """Return the agent that it identifies, or None if it is no longer valid at `now` (Unix seconds)."""

    def values(self) -> Any:
        """Return it as JSON values, for other processes."""


type TokenReference = bytes | KeptCredential
"""Identifies a token without its secret: the hash of an agent token or an imported token, or what a feature keeps."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The credentials that a request was accepted with. None of them is secret.

    `access_key`: of the agent's AWS key pair, once its signature is verified. `accepted_at`: Unix seconds.
    """

    tokens: tuple[TokenReference, ...] = field(default=(), repr=False)
    access_key: str | None = field(default=None, repr=False)
    accepted_at: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.tokens or self.access_key)


NO_PROOF = Proof()


def agent_of_token(token: TokenReference, agents: AgentStore, now: float) -> Agent | None:
    """Return the agent that a token identifies, or None if the token was revoked or expired by `now`."""
    if isinstance(token, bytes):
        return agents.find_hash(token, now)
    return token.find_agent(agents, now)


def proven_agent(proof: Proof, agents: AgentStore, now: float) -> Agent | None:
    """Return the agent that a proof identifies, or None if any part of it is no longer valid at `now`.

    If one of its parts is the token of a run, the agent has this run: a program cannot leave it with a second token.
    Pass the time of acceptance as `now` to ignore expiry and check only what was revoked since.
    """
    if len(proof.tokens) == 1 and not proof.access_key:
        return agent_of_token(proof.tokens[0], agents, now)
    found_agents: list[Agent | None] = [agent_of_token(token, agents, now) for token in proof.tokens]
    if proof.access_key:
        found = agents.find_pair(proof.access_key, now)
        found_agents.append(found[0] if found else None)
    agents_of_parts = [agent for agent in found_agents if agent is not None]
    if not found_agents or len(agents_of_parts) < len(found_agents):
        return None
    found_agent = agents_of_parts[-1] if proof.access_key else agents_of_parts[0]
    in_run = next((agent for agent in agents_of_parts if agent.run), found_agent)
    return replace(found_agent, run=in_run.run, labels=in_run.labels)
