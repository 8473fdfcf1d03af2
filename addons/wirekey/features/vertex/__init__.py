"""Vertex AI: Google Cloud's own paths for the models of several providers."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.core.calls.google_credentials import VertexSteps

    return (VertexSteps(),)


FEATURE = Feature("vertex", parts)
