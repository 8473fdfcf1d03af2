"""The settings. Field descriptions are the reference documentation; examples show a value worth writing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ByteSize, Field, PrivateAttr, model_validator

from wirekey.config.console import Console
from wirekey.config.gateway import Gateway
from wirekey.config.group import Settings
from wirekey.config.jwt import JWT
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.providers import Providers
from wirekey.config.routes import Affinity, Failover, Model, Route
from wirekey.config.secrets import SecretRef, resolve
from wirekey.config.sources import Sources
from wirekey.config.values import (
    AnchoredPath,
    AuditURL,
    Count,
    Flag,
    HostGlob,
    HostPort,
    Listener,
    Seconds,
    ServerURL,
    Size,
    Text,
)
from wirekey.egress import hosts
from wirekey.providers.json_size import VALUES_LIMIT
from wirekey.routing.model_name import ModelName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wirekey.secret import Secret


SHIPPED_POLICIES = Path(__file__).parents[3] / "policies"


class GatewayTLS(Settings):
    certificate: AnchoredPath = Field(description="PEM file: certificate of the gateway, then intermediates.")
    key: AnchoredPath = Field(description="PEM file: its private key.")


class Listen(Settings):
    forward: Listener = Field(
        default=HostPort("127.0.0.1", 8080),
        description="The HTTP proxy, for `HTTPS_PROXY`. Port 0, here and below, takes a free one.",
    )
    gateway: Listener | None = Field(
        default=HostPort("127.0.0.1", 8000),
        description="Where programs that are given a `base_url` call: plain HTTP, and TLS on the same port. "
        "null: none.",
    )
    console: Listener | None = Field(
        default=HostPort("127.0.0.1", 8090), description="Live page, metrics, health and token endpoint. null: none."
    )
    gateway_tls: GatewayTLS | None = Field(
        default=None,
        description="Certificate that the gateway shows. Without one, our own CA makes it, good for localhost.",
        examples=[{"certificate": "gateway.pem", "key": "gateway-key.pem"}],
    )

    @model_validator(mode="after")
    def ports_differ(self) -> Self:
        taken: dict[HostPort, str] = {}
        for name in ("forward", "gateway", "console"):
            place = getattr(self, name)
            if place and place.port and place in taken:
                raise ValueError(f"{taken[place]} and {name} both say {place}; give each a port of its own")
            taken[place] = name
        return self


class Egress(Settings):
    other_hosts: Literal["tunnel", "deny"] = Field(
        default="tunnel",
        description="What becomes of hosts that are no provider's: tunnelled undecrypted, or refused. Private "
        "addresses are refused either way.",
    )
    allow: tuple[HostGlob, ...] = Field(
        default=(),
        description="Hosts that are tunnelled to although `other_hosts` is `deny`. `*` stands for any part of a name: "
        "`*.github.com` is every name below github.com, but not github.com itself.",
        examples=[["github.com", "*.githubusercontent.com"]],
    )


class Identity(Settings):
    required: Flag = Field(
        default=True,
        description="Refuse calls of programs that do not say which agent they are. Without it they are judged as an "
        "agent without a name and role, with the permissions `web:read` and `web:write`.",
    )
    jwt: JWT = Field(default=JWT(), description="Tokens that agents get for their credentials.")


class Policy(Settings):
    path: AnchoredPath = Field(default=Path("policies"), description="Folder of the policies.")
    query: Text = Field(default="data.wirekey.authz", description="What is asked of them.")
    opa_url: ServerURL | None = Field(default=None, description="An OPA server to ask instead of the built-in engine.")
    timeout: Seconds = Field(
        default=0.25,
        description="How long a decision may take; after that the call is denied. Of the built-in engine: processor "
        "time. Of an OPA server: by the clock.",
    )
    wall_timeout: Seconds = Field(
        default=30.0,
        description="How long a decision of the built-in engine may take by the clock, waiting for the processor "
        "included.",
    )


class Audit(Settings):
    store: AuditURL | None = Field(
        default=None,
        description="Where calls are recorded. null: `audit.db` in the `state` folder.",
        examples=["sqlite:///state/audit.db"],
    )
    durability: Literal["commit", "fsync"] = Field(
        default="commit",
        description="How a record is written before its call is sent. commit: it survives the end of the process. "
        "fsync: it also survives a power failure.",
    )


class Metering(Settings):
    include_stream_usage: Flag = Field(
        default=True,
        description="Ask OpenAI for the token counts of every stream. A client that did not ask for them does not "
        "see them.",
    )


class UpstreamConnections(Settings):
    reuse: Flag = Field(
        default=True,
        description="Reuse an idle connection for the next call to the same host, from any client. Short-lived "
        "clients then save a TLS handshake. HTTP/2 clients keep their own connections.",
    )


class Timeouts(Settings):
    connect: Seconds = Field(default=10.0, description="To reach an upstream, TLS included.")
    first_byte: Seconds = Field(default=120.0, description="From the end of a request to the first byte of its answer.")
    idle: Seconds = Field(default=120.0, description="Without a byte within an answer.")
    client_first_byte: Seconds = Field(
        default=10.0, description="From the start of a client's connection to its first byte."
    )
    client_hello: Seconds = Field(
        default=10.0, description="For the ClientHello of TLS, and again for the rest of its handshake."
    )
    client_head: Seconds = Field(
        default=10.0,
        description="For the head of a request. On a connection whose client has not said who it is, from the start of "
        "the connection, or the end of the response before; else from its first byte.",
    )
    client_body: Seconds = Field(
        default=10.0, description="Over which the body of a request must come at `limits.body_rate`."
    )


class Limits(Settings):
    body_bytes: Size = Field(default=ByteSize(64 * 1024 * 1024), description="Largest request body that is read.")
    json_values: Count = Field(
        default=VALUES_LIMIT,
        description="Most values in a JSON request body: members and elements at every level. Counted before the body "
        "is decoded; a request with more gets 413.",
    )
    header_bytes: Size = Field(default=ByteSize(64 * 1024), description="Largest head of a request.")
    headers: Count = Field(default=100, description="Most headers of a request.")
    connections_per_client: Count = Field(
        default=256,
        description="Most connections of one client address at a time: of each agent, and of those that have not said "
        "who they are. Of the latter, the oldest is closed for a new one.",
    )
    body_rate: Size = Field(
        default=ByteSize(1024), description="Least bytes of a request body a second, over `timeouts.client_body`."
    )
    held_bytes: Size = Field(
        default=ByteSize(1024 * 1024 * 1024),
        description="Most bytes of request bodies that are held at a time, in memory and in the `state` folder. They "
        "are reserved before a body is read.",
    )
    held_bytes_per_agent: Size | None = Field(
        default=None,
        description="Most of them for one agent, or for one address where the agent is not known yet. null: a quarter, "
        "and at least `body_bytes`.",
        examples=["256MiB"],
    )
    disk_reserve: Size = Field(
        default=ByteSize(64 * 1024 * 1024),
        description="Free space on the disk of the `state` folder that is left to the audit: large request bodies are "
        "refused when there is less.",
    )
    refusals_per_minute: Count = Field(
        default=100,
        description="Refused requests without an agent that are recorded and logged one by one, for each client "
        "address. Of the others, one event a minute says how many there were.",
    )
    client_buffer: Size = Field(
        default=ByteSize(1024 * 1024),
        description="Bytes of answers that are kept for an HTTP/2 client that does not read. Beyond them, Wirekey "
        "stops reading from the provider until the client reads.",
    )
    stream_resets: Count = Field(
        default=200,
        description="Most streams that one HTTP/2 connection of a client may reset within 10 seconds. Beyond them, it "
        "gets GOAWAY (ENHANCE_YOUR_CALM) and is closed.",
    )


class Log(Settings):
    format: Literal["console", "json"] | None = Field(
        default=None,
        description="For people, or one JSON object a line. null: for people on a terminal, JSON elsewhere.",
        examples=["json"],
    )
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is logged.")
    file: AnchoredPath | None = Field(
        default=None,
        description="Where to. null: standard error. It is opened anew when another file takes its place, as logrotate "
        "does.",
        examples=["wirekey.log"],
    )


class Config(Settings):
    """All settings, checked. Made by `wirekey.config.load`; paths are absolute."""

    listen: Listen = Field(default=Listen(), description="Where Wirekey listens.")
    console: Console = Field(default=Console(), description="Who may see the live page.")
    state: AnchoredPath = Field(default=Path("state"), description="Folder of what Wirekey keeps: agents, audit.")
    certs: AnchoredPath = Field(default=Path("certs"), description="Folder of the CA.")
    egress: Egress = Field(default=Egress(), description="What may be reached.")
    gateway: Gateway = Field(default=Gateway(), description="Web pages that call the gateway.")
    upstream_ca_file: AnchoredPath | None = Field(
        default=None,
        description="PEM file, trusted for upstreams in addition to the public roots.",
        examples=["corp-ca.pem"],
    )
    upstream_connections: UpstreamConnections = Field(
        default=UpstreamConnections(), description="Connections to upstreams."
    )
    providers: Providers = Field(default=Providers(), description="The providers and their keys.")
    model_override: Model | None = Field(
        default=None,
        description="One model for everything, but where a route or the policy names another.",
        examples=["gpt-4o-mini"],
    )
    routes: tuple[Route, ...] = Field(
        default=(),
        description="What becomes of a model asked for; the first match wins.",
        examples=[
            [
                {"match": "gpt-4*", "model": "gpt-4o-mini"},
                {"match": "claude-*", "provider": "anthropic", "timeouts": {"first_byte": 600}},
                {
                    "match": "corp-*",
                    "upstream_url": "https://llm.corp.example",
                    "auth": "bearer",
                    "keys": ["env:CORP_KEY"],
                },
                {"match": "gemini-2.5-pro", "fallback": ["gemini-2.5-flash"]},
            ]
        ],
    )
    failover: Failover = Field(default=Failover(), description="What is tried when an attempt fails.")
    session_affinity: Affinity = Field(
        default=Affinity(), description="What a session is, for keys that are selected by session-affinity."
    )
    identity: Identity = Field(default=Identity(), description="Who calls.")
    policy: Policy | None = Field(
        default=None,
        description="Who may call what. null: as the folder `policies` beside this file says, and without one, as the "
        "policy says that Wirekey comes with.",
        examples=[{"path": "policies/"}],
    )
    audit: Audit = Field(default=Audit(), description="The record of calls.")
    metering: Metering = Field(default=Metering(), description="Counting tokens.")
    timeouts: Timeouts = Field(default=Timeouts(), description="How long things may take.")
    limits: Limits = Field(default=Limits(), description="How large things may be.")
    log: Log = Field(default=Log(), description="The log.")

    _sources: Sources = PrivateAttr(default_factory=Sources)

    @property
    def deciding(self) -> Policy:
        """What decides: the setting `policy`, or else the folder beside the file, or the policy we come with."""
        if self.policy and (self.policy.path.exists() or "path" in self.policy.model_fields_set):
            return self.policy
        beside = (self.source.parent if self.source else Path.cwd()) / "policies"
        path = beside if beside.is_dir() else SHIPPED_POLICIES
        return (self.policy or Policy()).model_copy(update={"path": path})

    @model_validator(mode="after")
    def override_names_no_provider(self) -> Self:
        if self.model_override and ModelName.parse(self.model_override).provider:
            raise ValueError("model_override is for calls of every provider, and names one; use a route with provider")
        return self

    @property
    def source(self) -> Path | None:
        """The configuration file; None where there is none."""
        return self._sources.file

    @property
    def folder(self) -> Path:
        """The folder that relative paths start at, and that `.env` is in."""
        return self._sources.folder

    @property
    def explicit(self) -> bool:
        """Whether there is a configuration file."""
        return self.source is not None

    @property
    def has_any_key(self) -> bool:
        """Whether any provider has a key or, for Bedrock, a way to AWS. It is not read for that."""
        if self.providers.bedrock.aws is not None:
            return True
        return any(getattr(self.providers, name).keys for name in Providers.model_fields)

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables that references lead to: the process's, and those of `.env`."""
        return self._sources.environ

    @property
    def dotenv(self) -> Mapping[str, str]:
        """The entries of `.env`, also those that the process's environment overrides."""
        return self._sources.dotenv

    def resolve_keys(self, provider: str) -> list[tuple[str, Secret]]:
        """Read a provider's keys as (label, key), labels like `openai/1`. Raises ConfigError naming all missing."""
        setting = "aws.bearer" if provider == "bedrock" else "keys[{}]"
        references = getattr(self.providers, provider).keys
        return self._read_keys(references, f"providers.{provider}.{setting}", provider)

    def resolve_route_keys(self, index: int) -> list[tuple[str, Secret]]:
        """Read the keys of a route as (label, key), labels like `routes[0]/1`. Raises ConfigError."""
        label = f"routes[{index}]"
        return self._read_keys(self.routes[index].keys, f"{label}.keys[{{}}]", label)

    def _read_keys(self, references: Iterable[SecretRef], setting: str, label: str) -> list[tuple[str, Secret]]:
        keys, problems = [], []
        for index, reference in enumerate(references):
            found = self.resolve(reference, setting.format(index))
            if isinstance(found, Problem):
                problems.append(found)
            else:
                keys.append((f"{label}/{index + 1}", found))
        if problems:
            raise ConfigError(problems)
        return keys

    def resolve(self, reference: SecretRef, key: str) -> Secret | Problem:
        """Read the secret that the setting `key` refers to."""
        try:
            return resolve(reference, self._sources.environ, self._sources.folder)
        except ValueError as error:
            return self._sources.problem(key, f"{reference}: {error}")

    def fingerprint(self) -> str:
        """Give a text that changes when a file that this configuration was read from changes, comes or goes."""
        return self._sources.fingerprint()


def provider_hosts(config: Config) -> dict[str, str]:
    """Give provider host → provider name: the hosts that are decrypted, and that the CA is good for."""
    return hosts.provider_hosts(config.providers.bedrock.regions)


def usual_hosts(config: Config) -> dict[str, str]:
    """Give those of `provider_hosts` that nearly all calls go to, for people and for `doctor`."""
    return hosts.usual_hosts(config.providers.bedrock.regions)
