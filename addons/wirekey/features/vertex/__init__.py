"""Vertex AI: Google Cloud's own paths for the models of several providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.feature import Feature

if TYPE_CHECKING:
    from wirekey.providers.protocol import Provider


def providers() -> dict[str, Provider]:
    """Return the provider that this feature adds."""
    from wirekey.features.vertex.provider import VERTEX

    return {"vertex": VERTEX}


def parts() -> tuple[object, ...]:
    """Return what this feature adds to the core."""
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.core.calls.conversations import LiveApi
    from wirekey.core.calls.feature_values import RenewedValue
    from wirekey.features.vertex.config import VertexSetting
    from wirekey.features.vertex.credentials import VertexSteps, vertex_access
    from wirekey.features.vertex.live import with_bare_model

    return (
        AddedSettings({"providers": VertexSetting}),
        RenewedValue(vertex_access),
        VertexSteps(),
        LiveApi("vertex", with_bare_model),
    )


FEATURE = Feature("vertex", parts, providers=providers)
