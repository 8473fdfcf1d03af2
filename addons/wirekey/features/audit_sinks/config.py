"""The settings `audit.sinks` and `audit.require_sink`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Flag, OwnNotation, ValueFormat
from wirekey.features.audit_sinks.syslog_message import FACILITIES

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
PORTS = {"udp": 514, "tcp": 514, "tls": 6514}


@dataclass(frozen=True, slots=True)
class SyslogAddress(OwnNotation):
    """The address of a syslog server. `transport`: udp, tcp or tls. IPv6 hosts have no brackets."""

    transport: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    def in_yaml(self) -> str:
        """Return the URL."""
        return str(self)

    @classmethod
    def parse(cls, value: Any) -> SyslogAddress:
        """Return the address in a URL such as `tls://logs.example:6514`. Raises ValueError."""
        if isinstance(value, SyslogAddress):
            return value
        problem = "must be tls://HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT"
        if not isinstance(value, str):
            raise ValueError(problem)  # noqa: TRY004  # pydantic collects ValueErrors
        try:
            parts = urlsplit(value)
            port = parts.port
        except ValueError:
            raise ValueError(problem) from None
        is_plain = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        if parts.scheme not in PORTS or not parts.hostname or port == 0 or not is_plain:
            raise ValueError(problem)
        return cls(parts.scheme, host_name(parts.hostname, "a sink"), port or PORTS[parts.scheme])


def sink_name(value: str) -> str:
    """Check the name of a sink, which is part of metrics and of the delivery's state. Raises ValueError."""
    if not NAME.fullmatch(value):
        raise ValueError("must have at most 32 lower-case letters, digits, hyphens and underscores")
    return value


Address = Annotated[
    SyslogAddress, PlainValidator(SyslogAddress.parse), ValueFormat("tls://, tcp:// or udp://HOST:PORT")
]
SinkName = Annotated[str, AfterValidator(sink_name), ValueFormat("text")]
Facility = Literal[
    "user", "daemon", "auth", "authpriv", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
]


class AuditSinkConfig(ConfigGroup):
    """One of `audit.sinks`: a system that gets the events of the audit log."""

    type: Literal["syslog"] = Field(description="Kind of system: syslog is a server for RFC 5424.")
    name: SinkName | None = Field(
        default=None,
        description="Name in metrics and messages. The place up to which events were delivered is kept by it. null: "
        "the `type`. Two sinks of one type need names.",
        examples=["siem"],
    )
    address: Address | None = Field(
        default=None,
        description="Address of the syslog server. tls verifies its certificate. tcp and udp do not encrypt, and udp "
        "may lose events. Ports: 6514 with tls, otherwise 514.",
    )
    facility: Facility = Field(default="local0", description="Facility of syslog messages.")
    ca_file: AbsolutePath | None = Field(
        default=None,
        description="PEM file with the only CA that is trusted for this sink. null: the public roots.",
    )

    @property
    def label(self) -> str:
        """The name, or else the type."""
        return self.name or self.type

    @property
    def confirms(self) -> bool:
        """Whether the sink can show that it has received an event."""
        return self.address is None or self.address.transport != "udp"

    @model_validator(mode="after")
    def check_settings_of_type(self) -> Self:
        """Refuse a sink without a setting that its type needs. Raises ValueError."""
        if self.address is None:
            raise ValueError("a sink of type syslog needs address, such as tls://logs.example:6514")
        if self.ca_file and self.address.transport != "tls":
            raise ValueError("ca_file is only for an address that begins with tls://")
        return self


assert set(Facility.__args__) <= set(FACILITIES)  # type: ignore[attr-defined]


class AuditSinksSetting(ConfigGroup):
    """The settings that are added to `audit`."""

    sinks: tuple[AuditSinkConfig, ...] = Field(
        default=(),
        description="Systems that get each call when it has ended, in addition to the audit log.",
        examples=[[{"type": "syslog", "address": "tls://logs.example:6514", "facility": "local0"}]],
    )
    require_sink: Flag = Field(
        default=False,
        description="Refuse new calls with 503 while no sink accepts events. false: calls continue, and events wait in "
        "the audit log.",
    )

    @model_validator(mode="after")
    def check_sinks(self) -> Self:
        """Refuse two sinks of one name, and a requirement that no sink can fulfil. Raises ValueError."""
        names = [sink.label for sink in self.sinks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two sinks have the name {name}. Set a different `name` for each")
        if self.require_sink and not any(sink.confirms for sink in self.sinks):
            raise ValueError("require_sink needs a sink that confirms what it receives. UDP does not")
        return self
