"""The settings in effect, each with its origin."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ByteSize

from wirekey.config.addresses import HostPort, UpstreamURL
from wirekey.config.group import settings_of
from wirekey.config.secrets import SecretRef
from wirekey.config.upstream_proxy import ProxyURL
from wirekey.config.values import OwnNotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config.models import Config


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting in effect. `value` fits JSON. `source` is `default`, `file:LINE` or `env NAME`."""

    key: str
    value: Any
    source: str


def effective_settings(config: Config) -> list[EffectiveSetting]:
    """Return all settings of a configuration, in the order of the models."""
    sources = config._sources  # noqa: SLF001  # of the same package
    return [EffectiveSetting(key, value, sources.origin(key)) for key, value in flatten(config, "")]


def flatten(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted setting, value) of each single setting below `value`, whose own setting is `key`."""
    if isinstance(value, BaseModel):
        for name, attribute, _ in settings_of(type(value)):
            yield from flatten(getattr(value, attribute), f"{key}.{name}".lstrip("."))
    elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
        for index, item in enumerate(value):
            yield from flatten(item, f"{key}[{index}]")
    elif isinstance(value, dict) and any(isinstance(item, BaseModel) for item in value.values()):
        for name, item in value.items():
            yield from flatten(item, f"{key}.{name}")
    else:
        yield key, yaml_value(value)


def yaml_value(value: Any) -> Any:
    """Return a value in the form that it has in YAML."""
    if isinstance(value, ByteSize):
        return size_text(value)
    if isinstance(value, Path | SecretRef | HostPort | UpstreamURL | ProxyURL):
        return str(value)
    if isinstance(value, OwnNotation):
        return value.in_yaml()
    if isinstance(value, tuple):
        return [yaml_value(item) for item in value]
    if isinstance(value, dict):
        return {name: yaml_value(item) for name, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def size_text(size: int) -> str:
    """Return a size in bytes as a text with the largest unit that divides it."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size % (1 << power) == 0:
            return f"{size >> power}{unit}"
    return str(size)
