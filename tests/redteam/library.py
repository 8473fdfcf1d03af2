"""All techniques, in the order of their numbers."""

from __future__ import annotations

from tests.redteam.families import (
    clock,
    commands,
    console,
    http2,
    labels,
    names,
    process,
    provider,
    proxy,
    requests,
    tls,
    tokens,
    uploads,
    websocket,
)

FAMILIES = (
    requests, proxy, process, tokens, names, provider, http2, websocket, tls, labels, console, uploads, commands, clock,
)  # fmt: skip
ALL = tuple(technique for family in FAMILIES for technique in family.TECHNIQUES)
