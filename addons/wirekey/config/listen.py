"""The setting `listen`."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from wirekey.config.addresses import HostPort
from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Listener, Network


class GatewayTLSConfig(ConfigGroup):
    """The setting `listen.gateway_tls`: the certificate that the gateway presents."""

    certificate: AbsolutePath = Field(description="PEM file with the gateway's certificate, then intermediates.")
    key: AbsolutePath = Field(description="PEM file with its private key.")


class ListenConfig(ConfigGroup):
    """The setting `listen`: the addresses of the three listeners."""

    forward: Listener = Field(
        default=HostPort("127.0.0.1", 8080),
        description="Address of the HTTP proxy, for `HTTPS_PROXY`. Port 0 selects a free port, here and below.",
    )
    gateway: Listener | None = Field(
        default=HostPort("127.0.0.1", 8000),
        description="Address of the gateway, for programs with a `base_url`. It accepts HTTP and TLS on one port. "
        "null turns the gateway off.",
    )
    console: Listener | None = Field(
        default=HostPort("127.0.0.1", 8090),
        description="Address of the live page, the metrics, the health checks and the token endpoint. null turns the "
        "console off.",
    )
    gateway_tls: GatewayTLSConfig | None = Field(
        default=None,
        description="Certificate of the gateway. Default: Wirekey's CA issues one for localhost.",
        examples=[{"certificate": "gateway.pem", "key": "gateway-key.pem"}],
    )

    proxy_protocol: tuple[Network, ...] = Field(
        default=(),
        description="Load balancers that send a header of the PROXY protocol, version 1 or 2, on every connection "
        "to any listener. It names the client's address. A connection from there without a valid header is closed.",
        examples=[["10.1.0.0/24"]],
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        description="Reverse proxies in front of the gateway whose `X-Forwarded-For` names the client's address. The "
        "header of any other client is ignored. It is never forwarded.",
        examples=[["10.1.0.0/24"]],
    )

    @model_validator(mode="after")
    def check_ports(self) -> Self:
        """Refuse two listeners on one address. Raises ValueError."""
        taken: dict[HostPort, str] = {}
        for name in ("forward", "gateway", "console"):
            address = getattr(self, name)
            if address and address.port and address in taken:
                raise ValueError(f"{taken[address]} and {name} have the same address, {address}. Change one of them")
            taken[address] = name
        return self
