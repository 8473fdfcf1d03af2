"""Audit sinks: events of the audit log are delivered to other systems, such as a syslog server.

The audit log is the queue: `delivery` follows it in a thread for each sink and keeps the place that was delivered, so
that nothing waits in memory and nothing is lost with the process. `service` makes one process of those that share the
log deliver, and knows whether a sink accepts events. `syslog`, `otlp` and `s3` are kinds of sinks; `http` has what the
last two share. `formats` and `ocsf` have how an event is written. `checks` are lines of `config check` and findings of
`doctor`.
"""

from __future__ import annotations

from wirekey.feature import Feature, Later


def parts() -> tuple[object, ...]:
    """Return what audit sinks add to the core."""
    from wirekey.cli.config_checks import ConfigChecks
    from wirekey.config.feature_settings import AddedSettings
    from wirekey.features.audit_sinks.config import AuditSinksSetting
    from wirekey.server.feature_parts import EventLoopPart, Measures, Notices, OpenedService

    service = f"{__name__}.service"
    return (
        AddedSettings({"audit": AuditSinksSetting}),
        OpenedService(Later(service, "open_sinks")),
        EventLoopPart(Later(service, "begin"), Later(service, "end")),
        Notices(Later(service, "warnings"), Later(service, "banner"), Later(service, "notes")),
        Measures(Later(service, "measures")),
        ConfigChecks("audit_sinks", Later(f"{__name__}.checks", "lines"), Later(f"{__name__}.checks", "findings")),
    )


FEATURE = Feature("audit_sinks", parts)
