"""The whole configuration. The models of its larger settings are in modules of their own.

The reference documentation is made from the descriptions, and wirekey.example.yaml from the defaults and examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from wirekey.config.audit import AuditConfig
from wirekey.config.certs import CertsConfig, CertsSetting
from wirekey.config.console import ConsoleConfig
from wirekey.config.egress import EgressConfig, UpstreamConnectionsConfig
from wirekey.config.gateway import GatewayConfig
from wirekey.config.group import ConfigGroup
from wirekey.config.identity import IdentityConfig
from wirekey.config.limits import LimitsConfig, TimeoutsConfig
from wirekey.config.listen import ListenConfig
from wirekey.config.log import LogConfig
from wirekey.config.master_secret import SecretsConfig
from wirekey.config.policy import SHIPPED_POLICIES, PolicyConfig
from wirekey.config.prices import PriceConfig, PricesConfig
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.providers import ProvidersConfig
from wirekey.config.routes import FailoverConfig, ModelOverride, ProviderName, RouteConfig, SessionAffinityConfig
from wirekey.config.secrets import SecretRef, resolve, split_keys
from wirekey.config.sources import ConfigSources
from wirekey.config.upstream_proxy import ProxySetting
from wirekey.config.values import (
    AbsolutePath,
    Flag,
    Text,
    is_python,
)
from wirekey.core.model_name import ModelName
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class MeteringConfig(ConfigGroup):
    """The setting `metering`: how tokens are counted."""

    include_stream_usage: Flag = Field(
        default=True,
        description="Ask OpenAI for the token counts of every stream. A client that did not ask for them does not "
        "see them.",
    )


class BackendsConfig(ConfigGroup):
    """The setting `backends`. Features add the backends, by their names."""


class Config(ConfigGroup):
    """The whole configuration, validated. `wirekey.config.load` makes it. All paths are absolute.

    The fields are the settings of the core. `feature_settings.py` adds those of features.
    """

    listen: ListenConfig = Field(default=ListenConfig(), description="Addresses that Wirekey listens on.")
    console: ConsoleConfig = Field(default=ConsoleConfig(), description="Access to the live page and to `/metrics`.")
    state: AbsolutePath = Field(
        default=Path("state"), description="Folder of the data that Wirekey keeps: agents, audit."
    )
    certs: CertsSetting = Field(default=CertsConfig(), description="The CA.")
    secrets: SecretsConfig = Field(
        default=SecretsConfig(), description="The secret from which replicas derive their keys."
    )
    shared_state_failure: Literal["refuse", "local"] | None = Field(
        default=None,
        description="Calls while `shared_state` does not respond. refuse: refuse those that need it. local: each "
        "process decides alone. null: refuse calls with a budget, decide alone about rates and used signatures.",
        examples=["refuse"],
    )
    replica: Text | None = Field(
        default=None,
        description="Name of this replica in audit events. null: HOST:PID, its machine's name and the process id.",
        examples=["eu-1"],
    )
    egress: EgressConfig = Field(default=EgressConfig(), description="Hosts that belong to no provider.")
    gateway: GatewayConfig = Field(default=GatewayConfig(), description="Web pages that call the gateway.")
    upstream_ca_file: AbsolutePath | None = Field(
        default=None,
        description="PEM file, trusted for upstreams in addition to the public roots.",
        examples=["corp-ca.pem"],
    )
    upstream_connections: UpstreamConnectionsConfig = Field(
        default=UpstreamConnectionsConfig(), description="Connections to upstreams."
    )
    upstream_proxy: ProxySetting = Field(
        default=None,
        description="A proxy on the way to upstreams and other hosts. null: that of HTTPS_PROXY and NO_PROXY in "
        "Wirekey's own environment, if set.",
        examples=["http://user@proxy.corp.example:3128"],
    )
    providers: ProvidersConfig = Field(default=ProvidersConfig(), description="The providers and their keys.")
    backends: BackendsConfig = Field(
        default=BackendsConfig(), description="Further ways to reach Gemini models. Each is off by default."
    )
    default_backend: ProviderName | None = Field(
        default=None,
        description="Provider of models that no route matches and whose name belongs to no provider, on paths of the "
        "gateway that several providers have (`/v1/…`). A backend also gets calls in Gemini's format, and models of "
        "Gemini. null: OpenAI.",
        examples=["gemini"],
    )
    clamp_temperature: tuple[Text, ...] = Field(
        default=(),
        description="Patterns of models, with `*`, `?` and `[…]`, that accept a temperature of at most 1. A larger one "
        "in a request for such a model becomes 1.",
        examples=[["claude-*", "gemini-1.0-*"]],
    )
    model_override: ModelOverride | None = Field(
        default=None,
        description="One model for all calls, unless a route or the policy sets another. python:… calls your own "
        "function, which returns it.",
        examples=["gpt-4o-mini"],
    )
    routes: tuple[RouteConfig, ...] = Field(
        default=(),
        description="Routing rules by requested model. The first match wins.",
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
    failover: FailoverConfig = Field(
        default=FailoverConfig(), description="Further attempts after an attempt has failed."
    )
    session_affinity: SessionAffinityConfig = Field(
        default=SessionAffinityConfig(), description="Sessions, for `selection: session-affinity`."
    )
    identity: IdentityConfig = Field(default=IdentityConfig(), description="Identification of agents.")
    policy: PolicyConfig | None = Field(
        default=None,
        description="Authorization of calls. null: the folder `policies` beside the configuration file, or the policy "
        "that comes with Wirekey if there is no such folder.",
        examples=[{"path": "policies/"}],
    )
    prices: PricesConfig = Field(default=PricesConfig(), description="Own prices of models.")
    audit: AuditConfig = Field(default=AuditConfig(), description="The audit log, which records each call.")
    metering: MeteringConfig = Field(default=MeteringConfig(), description="Token counts.")
    timeouts: TimeoutsConfig = Field(default=TimeoutsConfig(), description="Time limits.")
    limits: LimitsConfig = Field(default=LimitsConfig(), description="Size limits.")
    log: LogConfig = Field(default=LogConfig(), description="The log.")

    _prices_in_file: tuple[PriceConfig, ...] = PrivateAttr(default=())
    _sources: ConfigSources = PrivateAttr(default_factory=ConfigSources)

    @property
    def own_prices(self) -> list[tuple[str, PriceConfig]]:
        """The entries of `prices.models` and of `prices.file`, each with its place: `prices.models[0]`."""
        inside = [(f"prices.models[{place}]", entry) for place, entry in enumerate(self.prices.models)]
        file = self.prices.file.name if self.prices.file else ""
        return inside + [(f"{file}: models[{place}]", entry) for place, entry in enumerate(self._prices_in_file)]

    @property
    def effective_policy(self) -> PolicyConfig:
        """The policy settings in use. `path` is the configured folder, else `policies` beside the file, else ours."""
        if self.policy and (self.policy.path.exists() or "path" in self.policy.model_fields_set):
            return self.policy
        beside = (self.source.parent if self.source else Path.cwd()) / "policies"
        path = beside if beside.is_dir() else SHIPPED_POLICIES
        return (self.policy or PolicyConfig()).model_copy(update={"path": path})

    @model_validator(mode="after")
    def check_model_override(self) -> Self:
        """Refuse a `model_override` with a provider: it applies to calls of all providers. Raises ValueError."""
        if not self.model_override or is_python(self.model_override):
            return self
        if ModelName.parse(self.model_override).destination:
            raise ValueError(
                "model_override applies to calls of every provider, so it cannot name a provider. Use a route with "
                "provider instead"
            )
        return self

    @property
    def source(self) -> Path | None:
        """The configuration file, or None if there is no file."""
        return self._sources.file

    @property
    def folder(self) -> Path:
        """The folder of `.env`. Relative paths start here."""
        return self._sources.folder

    @property
    def has_file(self) -> bool:
        """Whether there is a configuration file."""
        return self.source is not None

    @property
    def has_any_key(self) -> bool:
        """Whether a provider has credentials. They are not read."""
        return any(settings.has_credentials for _, _, settings in self.providers.entries())

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables for `env:` references: those of `.env`, overridden by those of the process."""
        return self._sources.environ

    @property
    def dotenv(self) -> Mapping[str, str]:
        """All entries of `.env`, including those that the environment of the process overrides."""
        return self._sources.dotenv

    def resolve_keys(self, provider: str) -> list[tuple[str, Secret]]:
        """Return a provider's keys as (label, key). Labels are like `openai/1`.

        Raises ConfigError with every key that cannot be read.
        """
        settings = self.providers.of(provider)
        return self._read_keys(settings.keys, f"{self.providers.setting(provider)}.{settings.keys_setting}", provider)

    def resolve_route_keys(self, index: int) -> list[tuple[str, Secret]]:
        """Return the keys of a route as (label, key). Labels are like `routes[0]/1`.

        Raises ConfigError with every key that cannot be read.
        """
        label = f"routes[{index}]"
        return self._read_keys(self.routes[index].keys, f"{label}.keys[{{}}]", label)

    def _read_keys(self, references: Iterable[SecretRef], setting: str, label: str) -> list[tuple[str, Secret]]:
        keys: list[Secret] = []
        problems = []
        for index, reference in enumerate(references):
            found = self.resolve(reference, setting.format(index))
            if isinstance(found, Problem):
                problems.append(found)
            elif reference.kind == "env":
                keys += split_keys(found)
            else:
                keys.append(found)
        if problems:
            raise ConfigError(problems)
        return [(f"{label}/{place}", key) for place, key in enumerate(keys, 1)]

    def resolve(self, reference: SecretRef, key: str) -> Secret | Problem:
        """Return the secret of a reference, or the problem. `key` is the dotted setting that has the reference."""
        try:
            return resolve(reference, self._sources.environ, self._sources.folder)
        except ValueError as error:
            return self._sources.problem(key, f"{reference}: {error}")

    def secret_of(self, value: str | SecretRef, key: str) -> Secret:
        """Return a value as a secret, or the secret to which it refers. `key`: its setting. Raises ConfigError."""
        found = self.resolve(value, key) if isinstance(value, SecretRef) else Secret(value)
        if isinstance(found, Problem):
            raise ConfigError([found])
        return found

    def problem(self, key: str, message: str) -> Problem:
        """Return a problem of a setting, with its file and line."""
        return self._sources.problem(key, message)

    def fingerprint(self) -> str:
        """Return a text that differs after a file of this configuration has changed, appeared or disappeared."""
        return self._sources.fingerprint()
