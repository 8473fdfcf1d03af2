"""The access to AWS that a configuration names, with its secrets read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wirekey.config import ConfigError, Problem, configured_proxy, environment_proxy
from wirekey.config.aws import AwsConfig
from wirekey.core.egress.hosts import partition_of
from wirekey.core.secret import Secret
from wirekey.core.signing.request import SigV4Credentials

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import UpstreamProxy

HTTPS_PORT = 443
STS_ENDPOINTS = ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL")


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """The configured access to AWS. Equal values lead to the same credentials."""

    region: str
    """The region whose STS is used."""
    profile: str | None = None
    pair: SigV4Credentials | None = None
    role_arn: str | None = None
    proxy: UpstreamProxy | None = None
    """The proxy through which STS and SSO are reached."""

    @classmethod
    def of(cls, config: Config) -> AwsAccess | None:
        """Return the configured access, or None if Bedrock uses a bearer key or credentials of the clients.

        Raises ConfigError if a secret cannot be read.
        """
        bedrock = config.providers.bedrock
        named = bedrock.aws or AwsConfig()
        if bedrock.key_source != "inject" or named.bearer:
            return None
        pair = _read_pair(config, named, "providers.bedrock.aws")
        region = bedrock.regions[0]
        return cls(region, named.profile, pair, named.role_arn, _proxy_for(config, region))

    @classmethod
    def of_route(cls, config: Config, index: int) -> AwsAccess | None:
        """Return the access that a route has configured, or None. Raises ConfigError if a secret cannot be read."""
        route = config.routes[index]
        if route.aws is None:
            return None
        region = route.region or config.providers.bedrock.regions[0]
        pair = _read_pair(config, route.aws, f"routes[{index}].aws")
        return cls(region, route.aws.profile, pair, route.aws.role_arn, _proxy_for(config, region))


def _proxy_for(config: Config, region: str) -> UpstreamProxy | None:
    """Return the proxy for STS, which is that of Bedrock's calls, or None. Raises ConfigError."""
    own = config.providers.bedrock.upstream_proxy
    proxy = (
        configured_proxy(config, own, "providers.bedrock.upstream_proxy")
        or configured_proxy(config, config.upstream_proxy, "upstream_proxy")
        or environment_proxy(config, config.environ).proxy
    )
    endpoint = next((config.environ[name] for name in STS_ENDPOINTS if config.environ.get(name)), None)
    partition = partition_of(region)
    host = urlsplit(endpoint).hostname if endpoint else f"sts.{region}.{partition.suffix if partition else ''}"
    return proxy if proxy and proxy.is_used_for(host or "", HTTPS_PORT) else None


def _read_pair(config: Config, named: AwsConfig, setting: str) -> SigV4Credentials | None:
    if not (named.access_key and named.secret_key):
        return None
    problems, read = [], {}
    for name in ("access_key", "secret_key", "session_token"):
        if reference := getattr(named, name):
            found = config.resolve(reference, f"{setting}.{name}")
            if isinstance(found, Problem):
                problems.append(found)
            else:
                read[name] = found
    if problems:
        raise ConfigError(problems)
    return SigV4Credentials(read["access_key"].reveal(), read["secret_key"], read.get("session_token"))


def key_pair(access_key: str, secret_key: str, token: str | None) -> SigV4Credentials:
    """Return a key pair as the credentials that sign requests."""
    return SigV4Credentials(access_key, Secret(secret_key), Secret(token) if token else None)
