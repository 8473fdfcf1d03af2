"""Makes the sinks of a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.features.audit_sinks.config import AuditSinksSetting
from wirekey.features.audit_sinks.otlp import OtlpSink
from wirekey.features.audit_sinks.syslog import SyslogSink

if TYPE_CHECKING:
    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.features.audit_sinks.config import AuditSinkConfig
    from wirekey.features.audit_sinks.sink import Sink


def sinks_of(config: Config, proxy_for: ProxyFor) -> dict[str, Sink]:
    """Return the sinks of a configuration, by name. Nothing is connected. Raises ConfigError, OSError."""
    settings = config.audit.part(AuditSinksSetting).sinks
    return {
        each.label: sink_of(config, each, f"audit.sinks[{index}]", proxy_for) for index, each in enumerate(settings)
    }


def sink_of(config: Config, settings: AuditSinkConfig, key: str, proxy_for: ProxyFor) -> Sink:
    """Return the sink of its settings. `key`: of the setting. Raises ConfigError, OSError."""
    if settings.type == "syslog":
        return SyslogSink(settings)
    headers = {
        name: config.secret_of(reference, f"{key}.headers.{name}") for name, reference in settings.headers.items()
    }
    return OtlpSink(settings, headers, proxy_for)
