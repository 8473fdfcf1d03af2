"""The part of a feature by which a server decides calls instead of the built-in engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wirekey.feature_registry import parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config.policy import PolicyConfig
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.core.policy.engine import PolicyEngine


@dataclass(frozen=True, slots=True)
class DecidingServer:
    """The part of a feature by which a server decides calls.

    `url` returns the URL of the server; None: the built-in engine decides. `connect` may block, and raises PolicyError.
    """

    url: Callable[[PolicyConfig], str | None]
    connect: Callable[[PolicyConfig, ProxyFor], PolicyEngine]


def deciding_server(policy: PolicyConfig) -> DecidingServer | None:
    """Return the part whose server decides, or None if the built-in engine does."""
    return next((part for part in parts(DecidingServer) if part.url(policy)), None)


def server_url(policy: PolicyConfig) -> str | None:
    """Return the URL of the server that decides, or None if the built-in engine does."""
    part = deciding_server(policy)
    return part.url(policy) if part else None
