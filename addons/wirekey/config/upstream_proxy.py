"""The settings of a proxy of one's own on the way out, and the proxy of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, PlainValidator

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.problems import ConfigError, Problem
from wirekey.config.values import Reference, Text, ValueFormat
from wirekey.egress.upstream_proxy import UpstreamProxy, is_loopback
from wirekey.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config.models import Config

VARIABLES = ("https_proxy", "HTTPS_PROXY")
EXCEPTIONS = ("no_proxy", "NO_PROXY")
OWN_TOKEN = "wk_"  # noqa: S105  # the beginning of agents' tokens


@dataclass(frozen=True, slots=True)
class ProxyURL:
    """The URL of a proxy, without a password."""

    host: str
    port: int
    user: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{self.user}@{host}:{self.port}" if self.user else f"http://{host}:{self.port}"

    @classmethod
    def parse(cls, value: Any) -> ProxyURL:
        """Return the proxy of a URL. Raises ValueError without the URL, which may have a password."""
        if isinstance(value, ProxyURL):
            return value
        url, password = split_proxy(value)
        if password is not None:
            raise ValueError("contains a password. Write {url: http://USER@HOST:PORT, password: env:NAME}")
        return url


def split_proxy(value: Any) -> tuple[ProxyURL, str | None]:
    """Return the proxy and the password of a URL. Raises ValueError without the URL."""
    wrong = "must be http://HOST:PORT or http://USER@HOST:PORT"
    if not isinstance(value, str):
        raise ValueError(wrong)  # noqa: TRY004  # pydantic collects ValueErrors
    try:
        parts = urlsplit(value.strip() if "://" in value else f"http://{value.strip()}")
        port = parts.port
    except ValueError:
        raise ValueError(wrong) from None
    if parts.scheme != "http" or not parts.hostname or not port or parts.path.strip("/") or parts.query:
        raise ValueError(wrong)
    password = unquote(parts.password) if parts.password is not None else None
    user = unquote(parts.username or "")
    if any(not character.isprintable() or character == ":" for character in user):
        raise ValueError(wrong)
    return ProxyURL(host_name(parts.hostname, "a proxy"), port, user), password


def as_group(value: Any) -> Any:
    """Return a single URL as the group of settings that it stands for."""
    return {"url": value} if isinstance(value, str) else value


class UpstreamProxyConfig(ConfigGroup):
    """The setting `upstream_proxy`. A single URL stands for the group."""

    url: Annotated[ProxyURL, PlainValidator(ProxyURL.parse), ValueFormat("http://USER@HOST:PORT")] = Field(
        description="The proxy. Wirekey opens tunnels with CONNECT; TLS to the provider is inside."
    )
    password: Reference | None = Field(default=None, description="Password of the user in `url`.")
    no_proxy: tuple[Text, ...] = Field(
        default=(),
        description="Hosts that are reached without the proxy: names, with all below them, addresses and networks. "
        "This machine always is.",
        examples=[["llm.corp.example", "10.0.0.0/8"]],
    )


ProxySetting = Annotated[
    UpstreamProxyConfig | None, BeforeValidator(as_group), ValueFormat("http://USER@HOST:PORT, or settings below")
]


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
