"""The settings `egress` and `upstream_connections`: the hosts of no provider, and how connections are kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from wirekey.config.group import ConfigGroup
from wirekey.config.values import Flag, HostGlob


class EgressConfig(ConfigGroup):
    """The setting `egress`: the hosts that programs reach through the proxy and that belong to no provider."""

    other_hosts: Literal["tunnel", "deny"] = Field(
        default="tunnel",
        description="Connections to hosts of no provider. tunnel: forward them without decryption, except to known "
        "hosts of models, which only `allow` allows. deny: refuse them. Private addresses are always refused.",
    )
    allow: tuple[HostGlob, ...] = Field(
        default=(),
        description="Hosts that are allowed when `other_hosts` is `deny`, or although they serve models, which "
        "Wirekey does not see then. `*` matches any part of a name: "
        "`*.github.com` matches every name below github.com, but not github.com itself.",
        examples=[["github.com", "*.githubusercontent.com"]],
    )


class UpstreamConnectionsConfig(ConfigGroup):
    """The setting `upstream_connections`: how connections to upstreams are kept."""

    reuse: Flag = Field(
        default=True,
        description="Reuse an idle connection for the next call to the same host, from any client. Short-lived "
        "clients then save a TLS handshake. HTTP/2 clients keep their own connections.",
    )
