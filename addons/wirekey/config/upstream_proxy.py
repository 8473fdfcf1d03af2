"""The settings of a proxy of one's own on the way out, and the proxy of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, PlainValidator

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import Reference, Text, ValueFormat


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
