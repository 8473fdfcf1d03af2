"""The proxy on the way out that a configuration or the environment names, with its password read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError, Problem
from wirekey.config.provider_hosts import provider_hosts
from wirekey.config.upstream_proxy import split_proxy
from wirekey.core.egress.upstream_proxy import Proxies, UpstreamProxy, is_loopback
from wirekey.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config.models import Config
    from wirekey.config.upstream_proxy import UpstreamProxyConfig

VARIABLES = ("https_proxy", "HTTPS_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")
OWN_TOKEN = "wk_"  # noqa: S105  # the beginning of agents' tokens


def configured_proxy(config: Config, settings: UpstreamProxyConfig | None, key: str) -> UpstreamProxy | None:
    """Return the proxy of a setting. Raises ConfigError if its password cannot be read."""
    if settings is None:
        return None
    password = config.resolve(settings.password, f"{key}.password") if settings.password else None
    if isinstance(password, Problem):
        raise ConfigError([password])
    return UpstreamProxy(settings.url.host, settings.url.port, settings.url.user, password, settings.no_proxy)


@dataclass(frozen=True, slots=True)
class EnvironmentProxy:
    """The proxy that the environment names. `ignored`: why it is not used."""

    variable: str = ""
    proxy: UpstreamProxy | None = None
    ignored: str = ""


def environment_proxy(config: Config, environ: Mapping[str, str]) -> EnvironmentProxy:
    """Return the proxy of HTTPS_PROXY and NO_PROXY. In a program run by `wirekey exec`, that is Wirekey itself."""
    variable = next((name for name in VARIABLES if environ.get(name, "").strip()), "")
    if not variable:
        return EnvironmentProxy()
    try:
        url, password = split_proxy(environ[variable])
        secret = Secret(password) if password else None
    except ValueError:
        return EnvironmentProxy(variable, ignored="it is not http://USER@HOST:PORT")
    own = (config.listen.forward, config.listen.gateway, config.listen.console)
    is_own = is_loopback(url.host) and any(listener and listener.port == url.port for listener in own)
    if is_own or (password or "").startswith(OWN_TOKEN):
        return EnvironmentProxy(variable, ignored="it is Wirekey's own proxy")
    exceptions = next((environ[name] for name in EXCEPTIONS if environ.get(name, "").strip()), "")
    no_proxy = tuple(entry.strip() for entry in exceptions.split(",") if entry.strip())
    return EnvironmentProxy(variable, UpstreamProxy(url.host, url.port, url.user, secret, no_proxy))


def proxies_in_use(config: Config) -> Proxies:
    """Return the proxies on the way out. Raises ConfigError if a password cannot be read."""
    usual = configured_proxy(config, config.upstream_proxy, "upstream_proxy")
    return Proxies(usual or environment_proxy(config, config.environ).proxy, provider_proxies(config))


def provider_proxies(config: Config) -> dict[str, UpstreamProxy]:
    """Return host → the proxy of its provider, for providers that have their own. Raises ConfigError."""
    found: dict[str, UpstreamProxy] = {}
    for name, setting, settings in config.providers.entries():
        proxy = configured_proxy(config, settings.upstream_proxy, f"{setting}.upstream_proxy")
        if proxy is None:
            continue
        found |= {host: proxy for host, provider in provider_hosts(config).items() if provider == name}
        if settings.upstream_url:
            found[settings.upstream_url.host] = proxy
    return found
