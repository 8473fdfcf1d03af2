"""Lines of `config check`, and findings of doctor, about audit sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.cli.config_checks import Finding, Level
from wirekey.config import proxies_in_use
from wirekey.config.problems import ConfigError
from wirekey.features.audit_sinks.config import AuditSinksSetting
from wirekey.features.audit_sinks.http import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wirekey.config import Config
    from wirekey.features.audit_sinks.config import AuditSinkConfig
    from wirekey.features.audit_sinks.sink import Sink

PLAIN = "not encrypted: anyone on the way can read and change events"


def lines(config: Config) -> list[str]:
    """Return a line for each sink, and one for what happens if none accepts events."""
    settings = config.audit.part(AuditSinksSetting)
    found = [line_of(sink) for sink in settings.sinks]
    if settings.require_sink:
        found.append("calls are refused with 503 while no audit sink accepts events")
    return found


def line_of(sink: AuditSinkConfig) -> str:
    """Return what a sink gets, and what its connection does not ensure."""
    place = sink.address or place_of(sink.endpoint or f"https://{sink.bucket}.s3.{sink.region}.amazonaws.com")
    note = f" ({PLAIN})" if sink.address and not sink.uses_tls else ""
    return f"calls are also sent to the audit sink {sink.label}, {place}{note}"


def findings(config: Config) -> Iterator[Finding]:
    """Check whether each sink would accept events. Blocks for some seconds for each that does not respond."""
    from wirekey.features.audit_sinks.making import sink_of

    proxy_for = proxies_in_use(config).proxy_for
    for index, settings in enumerate(config.audit.part(AuditSinksSetting).sinks):
        try:
            sink = sink_of(config, settings, f"audit.sinks[{index}]", proxy_for)
        except ConfigError as error:
            yield Finding("audit_sinks", settings.label, Level.WRONG, str(error), "change the setting, or the file")
        else:
            yield finding_of(settings.label, sink)


def finding_of(name: str, sink: Sink) -> Finding:
    """Check one sink, and close it. Blocks for some seconds if it does not respond."""
    from wirekey.features.audit_sinks.sink import SinkError

    try:
        sink.check()
    except SinkError as error:
        fix = "check its address, and the network on the way to it. Events wait in the audit log"
        return Finding("audit_sinks", name, Level.WRONG, f"{sink.place} does not accept events: {error}", fix)
    finally:
        sink.close()
    reached = "can be used" if sink.confirms else "has an address. UDP does not show whether it listens"
    return Finding("audit_sinks", name, Level.OK, f"{sink.place} {reached}")
