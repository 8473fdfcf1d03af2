"""The settings `audit.sinks` and `audit.require_sink`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from wirekey.config.addresses import host_name
from wirekey.config.group import ConfigGroup
from wirekey.config.values import AbsolutePath, Flag, OwnNotation, Reference, Region, Seconds, ServerURL, ValueFormat
from wirekey.features.audit_sinks.syslog_message import FACILITIES

HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}", re.ASCII)
BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", re.ASCII)
PREFIX = re.compile(r"(?:[A-Za-z0-9!_.*'()-][A-Za-z0-9!_.*'() /-]{0,199})?", re.ASCII)
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


OF_TYPES = {
    "address": ("syslog",),
    "facility": ("syslog",),
    "endpoint": ("otlp", "s3"),
    "headers": ("otlp",),
    **dict.fromkeys(
        ("bucket", "prefix", "region", "mode", "retention_days", "flush_seconds", "access_key", "secret_key"), ("s3",)
    ),
}
"""Settings of some types only."""
NEEDED = {
    "syslog": {"address": "tls://logs.example:6514"},
    "otlp": {"endpoint": "https://otel.example/v1/logs"},
    "s3": {"bucket": "wirekey-audit", "region": "eu-west-1", "retention_days": "400"},
}
"""The settings that each type needs, with examples."""
RESERVED = (
    "host",
    "user-agent",
    "content-type",
    "content-encoding",
    "content-length",
    "transfer-encoding",
    "connection",
)


def header_name(value: str) -> str:
    """Check the name of a header that Wirekey does not set itself. Raises ValueError."""
    if not HEADER.fullmatch(value) or value.lower() in RESERVED:
        raise ValueError("must be the name of a header that Wirekey does not set itself, such as authorization")
    return value


def bucket_name(value: str) -> str:
    """Check the name of a bucket, which may be part of a host name. Raises ValueError."""
    if not BUCKET.fullmatch(value):
        raise ValueError("must be the name of a bucket: 3 to 63 lower-case letters, digits and hyphens")
    return value


def prefix_of_objects(value: str) -> str:
    """Check the beginning of the names of objects. Raises ValueError."""
    if not PREFIX.fullmatch(value) or ".." in value or "//" in value:
        raise ValueError("must be a prefix of at most 200 visible characters and spaces, such as wirekey/")
    return value


def sink_name(value: str) -> str:
    """Check the name of a sink, which is part of metrics and of the delivery's state. Raises ValueError."""
    if not NAME.fullmatch(value):
        raise ValueError("must have at most 32 lower-case letters, digits, hyphens and underscores")
    return value


Address = Annotated[
    SyslogAddress, PlainValidator(SyslogAddress.parse), ValueFormat("tls://, tcp:// or udp://HOST:PORT")
]
Bucket = Annotated[str, AfterValidator(bucket_name), ValueFormat("name of a bucket")]
Prefix = Annotated[str, AfterValidator(prefix_of_objects), ValueFormat("text")]
Days = Annotated[int, Field(strict=True, gt=0, le=36500), ValueFormat("whole number")]
HeaderName = Annotated[str, AfterValidator(header_name)]
SinkName = Annotated[str, AfterValidator(sink_name), ValueFormat("text")]
Facility = Literal[
    "user", "daemon", "auth", "authpriv", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"
]


class AuditSinkConfig(ConfigGroup):
    """One of `audit.sinks`: a system that gets the events of the audit log."""

    type: Literal["syslog", "otlp", "s3"] = Field(
        description="Kind of system. syslog: a server for RFC 5424. otlp: an OpenTelemetry collector, by OTLP over "
        "HTTP. s3: a bucket with an object lock."
    )
    name: SinkName | None = Field(
        default=None,
        description="Name in metrics and messages. The place up to which events were delivered is kept by it. null: "
        "the `type`. Two sinks of one type need names.",
        examples=["siem"],
    )
    format: Literal["wirekey", "ocsf"] = Field(
        default="wirekey",
        description="Form of an event. wirekey: that of the audit log. ocsf: API Activity of OCSF 1.8.",
    )
    address: Address | None = Field(
        default=None,
        description="Address of the syslog server. tls verifies its certificate. tcp and udp do not encrypt, and udp "
        "may lose events. Ports: 6514 with tls, otherwise 514.",
    )
    facility: Facility = Field(default="local0", description="Facility of syslog messages.")
    endpoint: ServerURL | None = Field(
        default=None,
        description="otlp: URL of the collector's logs. s3: URL of a service that is compatible with S3, without the "
        "bucket. https, or http to this machine. null, with s3: AWS.",
        examples=["https://otel.example/v1/logs"],
    )
    headers: Annotated[
        dict[HeaderName, Reference], Field(max_length=20), ValueFormat("names, each with a secret reference")
    ] = Field(default={}, description="Further headers of requests to the collector, such as `authorization`.")
    bucket: Bucket | None = Field(default=None, description="Bucket of S3. Its object lock must be enabled.")
    prefix: Prefix = Field(default="", description="Beginning of the names of objects.", examples=["wirekey/"])
    region: Region | None = Field(default=None, description="Region of the bucket.")
    mode: Literal["compliance", "governance"] = Field(
        default="compliance", description="Mode of the object lock. Only with governance can some users delete objects."
    )
    retention_days: Days | None = Field(
        default=None, description="Days for which nobody can change or delete an object."
    )
    flush_seconds: Seconds = Field(
        default=60.0, description="Time after which an object is stored even if it has fewer than 2,500 calls."
    )
    access_key: Reference | None = Field(
        default=None, description="Access key id for the bucket. null: the credentials of AWS's chain."
    )
    secret_key: Reference | None = Field(default=None, description="Secret access key for the bucket.")
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
        """Refuse a sink without a setting that its type needs, or with one of another type. Raises ValueError."""
        for name, kinds in OF_TYPES.items():
            if name in self.model_fields_set and self.type not in kinds:
                raise ValueError(f"{name} is not for a sink of type {self.type}")
        for name, example in NEEDED[self.type].items():
            if getattr(self, name) is None:
                raise ValueError(f"a sink of type {self.type} needs {name}, such as {example}")
        if (self.access_key is None) != (self.secret_key is None):
            raise ValueError("access_key and secret_key belong together")
        if self.ca_file and not self.uses_tls:
            raise ValueError("ca_file is only for a sink with TLS")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted, and the certificate of the sink verified."""
        return self.address.transport == "tls" if self.address else not (self.endpoint or "").startswith("http://")


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
