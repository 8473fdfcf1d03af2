"""Makes the sinks of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.audit_sinks.config import AuditSinksSetting
from wirekey.features.audit_sinks.syslog import SyslogSink

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.features.audit_sinks.config import AuditSinkConfig
    from wirekey.features.audit_sinks.sink import Sink


def sinks_of(config: Config) -> dict[str, Sink]:
    """Return the sinks of a configuration, by name. Nothing is connected. Raises ConfigError, OSError."""
    return {settings.label: sink_of(settings) for settings in config.audit.part(AuditSinksSetting).sinks}


def sink_of(settings: AuditSinkConfig) -> Sink:
    """Return the sink of its settings. Raises OSError."""
    return SyslogSink(settings)
