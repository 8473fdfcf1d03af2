"""Vertex AI: Google Cloud's own paths for the models of several providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.providers.protocol import Provider


def providers() -> dict[str, Provider]:
    """Return the provider that this feature adds."""
    from wirekey.providers.vertex import Vertex

    return {"vertex": Vertex()}


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.core.calls.google_credentials import VertexSteps

    return (VertexSteps(),)


FEATURE = Feature("vertex", parts, providers=providers)
