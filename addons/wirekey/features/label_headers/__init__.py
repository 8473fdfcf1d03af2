"""Labels that clients send in headers: those of known programs, and those that the operator names."""

from __future__ import annotations

from wirekey.feature import Feature


def parts() -> tuple[object, ...]:
    """Return what headers with labels add to the core."""
    from wirekey.config.feature_settings import IDENTITY_LABELS, AddedSettings
    from wirekey.core.calls.feature_values import ConfiguredValue
    from wirekey.core.calls.label_sources import HeaderLabels
    from wirekey.features.label_headers.config import HeadersOfLabels, label_headers
    from wirekey.features.label_headers.reading import read

    return AddedSettings({IDENTITY_LABELS: HeadersOfLabels}), ConfiguredValue(label_headers), HeaderLabels(read)


FEATURE = Feature("label_headers", parts)
