"""The features of this installation. The core asks here, and never imports a feature itself."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.feature import MODULE, Feature

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEATURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "translation": ("translation", "routes.translation"),
        "rollup": ("rollup", "routes.rollup"),
        "quotas": ("quotas",),  # behind rollup, so that the shortened body counts
        "batches": (),
        "realtime": ("limits.websocket",),
        "load_shedding": ("limits.load_shedding",),
        "redis": ("shared_state",),
        "postgresql": ("agents", "audit.timeout", "audit.on_failure"),
        "audit_sinks": ("audit.sinks", "audit.require_sink"),
        "body_log": ("log.bodies",),
        "flow_views": (),
        "traces": (),
        "metrics": ("console.metrics_from", "console.metrics_labels"),
        "workers": ("workers",),
        "console": ("console.sign_in", "console.remote"),
        "doctor": (),
        "demo": (),
        "reconciliation": (),
        "version": (),
        "extensions": ("extensions", "identity.check"),
        "opa_server": ("policy.opa_url",),
        "jwt": ("identity.jwt", "identity.labels.claims"),
        "label_headers": ("identity.labels.known_headers", "identity.labels.headers"),
        "vertex": ("providers.vertex",),
        "google_accounts": (
            "google",
            "providers.code_assist",
            "backends.gemini-oauth-plan",
            "backends.gemini-oauth-free",
            "backends.gemini-oauth-auto",
            "backends.gemini-cli-cloud-project",
        ),
        "custom_providers": ("providers.custom",),
        "local_programs": ("backends.gemini-cli-acp",),
        "aws_signatures": (),
    }
)
"""Each feature, in the order in which the core asks them, with its settings in `wirekey.yaml`.

The settings are also known if the feature is missing, so that a configuration with one of them is refused with the
reason.
"""


def is_installed(name: str) -> bool:
    """Return whether the folder of a feature exists. A folder that has only Python's cache does not count."""
    spec = find_spec(MODULE) and find_spec(f"{MODULE}.{name}")
    return spec is not None and spec.origin is not None


@cache
def features() -> tuple[Feature, ...]:
    """Return the installed features, in order."""
    found = []
    for name in FEATURES:
        if is_installed(name):
            feature = import_module(f"{MODULE}.{name}").FEATURE
            assert isinstance(feature, Feature)
            found.append(feature)
    return tuple(found)


def parts[P](kind: type[P]) -> Iterator[P]:
    """Yield the parts of one type that the installed features hand over, in order."""
    for feature in features():
        for part in feature.parts():
            if isinstance(part, kind):
                yield part


def installed_settings(group: str) -> tuple[str, ...]:
    """Return the names of the settings that the installed features have in a group, in order."""
    prefix = f"{group}."
    known = (setting for name, settings in FEATURES.items() if is_installed(name) for setting in settings)
    return tuple(setting.removeprefix(prefix) for setting in known if setting.startswith(prefix))


def missing_feature_of(setting: str) -> str | None:
    """Return the feature that a setting needs and that is not installed; None for any other setting."""
    return next((name for name, settings in FEATURES.items() if setting in settings and not is_installed(name)), None)


def missing_feature_of_destination(name: str) -> str | None:
    """Return the feature that adds a provider or backend of this name and that is not installed, or None."""
    return missing_feature_of(f"providers.{name}") or missing_feature_of(f"backends.{name}")


def needs(feature: str) -> str:
    """Return the words that refuse what a missing feature has. They follow its name."""
    return f"needs the feature {feature}, which is missing in this installation"
