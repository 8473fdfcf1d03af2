"""The types of single values: each parses and checks what the file has, and has a text for the reference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ByteSize, Field, PlainValidator, ValidationInfo

from wirekey.config.addresses import HostPort, UpstreamURL, check_https_url, host_glob, server_url
from wirekey.config.secrets import SecretRef
from wirekey.core.egress.hosts import all_regions, partition_of
from wirekey.feature_registry import is_installed, needs

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
PYTHON_NAME = re.compile(r"python:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
RETENTION = re.compile(r"[1-9][0-9]{0,5}[hdw]")
AUTHS = ("bearer", "x-goog-api-key", "x-api-key", "sigv4", "none", "client")


@dataclass(frozen=True, slots=True)
class ValueFormat:
    """The text that describes the values of a type in the reference."""

    text: str


@dataclass(frozen=True, slots=True)
class OwnNotation:
    """The base of values with a notation of their own in YAML."""

    def in_yaml(self) -> Any:
        """Return the value in the form that it has in YAML."""
        raise NotImplementedError


def region_name(value: str) -> str:
    """Check the name of an AWS region of any partition. Raises ValueError."""
    if partition_of(value) is None:
        raise ValueError("must be the name of an AWS region, such as us-east-1")
    return value


def region_or_all(value: str) -> str:
    """Check the name of an AWS region, or `*`. Raises ValueError."""
    return value if value == "*" else region_name(value)


def expanded_regions(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return the regions with `*` replaced by all others of AWS's usual partition."""
    named = tuple(region for region in values if region != "*")
    if len(named) == len(values):
        return values
    return named + tuple(region for region in all_regions() if region not in named)


def role_arn(value: str) -> str:
    """Check the ARN of an IAM role. Raises ValueError."""
    if not ROLE.fullmatch(value):
        raise ValueError("must be the ARN of a role: arn:aws:iam::123456789012:role/NAME")
    return value


def is_python(value: str) -> bool:
    """Return whether a setting names a function or a class of the operator: python:MODULE:NAME."""
    return value.startswith("python:")


def python_name(value: str) -> str:
    """Check the name of a function or a class of the operator. Raises ValueError."""
    if not PYTHON_NAME.fullmatch(value):
        raise ValueError("must be python:MODULE:CLASS, such as python:my_hooks:RateLimit")
    return value


def python_function(value: str) -> str:
    """Check the name of a function of the operator. Raises ValueError."""
    if not PYTHON_NAME.fullmatch(value):
        raise ValueError("must be python:MODULE:FUNCTION, such as python:my_keys:agent")
    return value


def route_auth(value: str) -> str:
    """Check the `auth` of a route: one of AUTHS, or an operator's own function. Raises ValueError."""
    if value not in AUTHS and not PYTHON_NAME.fullmatch(value):
        raise ValueError(f"must be one of {', '.join(AUTHS)}, or python:MODULE:FUNCTION")
    return value


def absolute_path(path: Path, info: ValidationInfo) -> Path:
    """Return an absolute path. Relative paths start at the folder of the configuration file."""
    folder = (info.context or {}).get("folder") or Path.cwd()
    return Path(folder, path.expanduser())


def one_or_more(value: Any) -> Any:
    """Return a single text as a list of one, and other values unchanged."""
    return (value,) if isinstance(value, str) else value


def lower_case(value: Any) -> Any:
    """Return a text in lower case, and other values unchanged."""
    return value.lower() if isinstance(value, str) else value


def not_boolean(value: Any) -> Any:
    """Refuse true and false, which pydantic accepts as sizes 1 and 0. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("must be a size, such as 64MiB")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


def positive_size(value: ByteSize) -> ByteSize:
    """Check that a size is not 0. Raises ValueError."""
    if value <= 0:
        raise ValueError("must be larger than 0")
    return value


def network(value: Any) -> IPv4Network | IPv6Network:
    """Return a network or a single address. Raises ValueError."""
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value) if isinstance(value, str) else ip_network("")
    except ValueError:
        raise ValueError("must be a network such as 10.1.0.0/16, or an address") from None


def money(value: Any) -> Any:
    """Refuse what is not a number of dollars. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number of US dollars, such as 50 or 0.5")  # noqa: TRY004  # pydantic collects ValueErrors
    return value


REFERENCES = ("env:", "file:", "keyring:")
DATABASES = ("postgresql://", "postgres://")
"""Beginnings of the URLs of databases of several machines."""


def audit_store(value: Any, info: ValidationInfo) -> str | SecretRef:
    """Return the URL of the audit store with an absolute path, or the reference to it. Raises ValueError."""
    if isinstance(value, str):
        if value.startswith(REFERENCES):
            return SecretRef.parse(value)
        if value.startswith("sqlite:///") and len(value) > len("sqlite:///"):
            return f"sqlite:///{absolute_path(Path(value.removeprefix('sqlite:///')), info)}"
        if value.startswith(DATABASES):
            return database_url(value)
    raise ValueError("must be sqlite:///PATH, postgresql://USER@HOST/DATABASE, or a reference (env:NAME) to one")


def database_problem(url: str) -> str | None:
    """Return why the URL of a database of several machines cannot be used in this installation, or None if it can."""
    if not url.startswith(DATABASES) or is_installed("postgresql"):
        return None
    return f"{needs('postgresql')}. Use sqlite:///PATH"


def database_url(url: str) -> str:
    """Check the URL of a database of several machines, which has no password. Raises ValueError without the URL."""
    if problem := database_problem(url):
        raise ValueError(problem)
    if urlsplit(url).password is not None or "password=" in url:
        raise ValueError(
            "contains a password. Put the whole URL in an environment variable or a file and write env:NAME or "
            "file:PATH here, or put the password in PGPASSWORD or ~/.pgpass"
        )
    return url


def checkpoint_file(value: Any, info: ValidationInfo) -> str:
    """Return `file:PATH` with an absolute path. Raises ValueError."""
    if isinstance(value, str) and value.startswith("file:") and value != "file:":
        return f"file:{absolute_path(Path(value.removeprefix('file:')), info)}"
    raise ValueError("must be file:PATH, such as file:/var/log/wirekey/checkpoints.jsonl")


def retention(value: Any) -> str:
    """Check a number of hours, days or weeks, such as 400d. Raises ValueError."""
    if not isinstance(value, str) or not RETENTION.fullmatch(value):
        raise ValueError("must be a number of hours, days or weeks, such as 12h, 400d or 60w")
    return value


def retention_seconds(value: str) -> int:
    """Return the seconds of a value that `retention` accepts."""
    return int(value[:-1]) * {"h": 3600, "d": 86400, "w": 7 * 86400}[value[-1]]


Listener = Annotated[HostPort, PlainValidator(HostPort.parse), ValueFormat("HOST:PORT")]
HostGlob = Annotated[str, PlainValidator(host_glob), ValueFormat("host name, `*` for any part")]
ConfiguredUpstream = Annotated[UpstreamURL, PlainValidator(UpstreamURL.parse), ValueFormat("https URL")]
RouteUpstream = Annotated[UpstreamURL, PlainValidator(UpstreamURL.parse_any), ValueFormat("https or http URL")]
Reference = Annotated[SecretRef, PlainValidator(SecretRef.parse), ValueFormat("secret reference")]
AbsolutePath = Annotated[Path, AfterValidator(absolute_path), ValueFormat("path")]
Seconds = Annotated[float, Field(strict=True, gt=0, le=86400, allow_inf_nan=False), ValueFormat("seconds")]
Pause = Annotated[float, Field(strict=True, ge=0, le=60, allow_inf_nan=False), ValueFormat("seconds")]
Size = Annotated[
    ByteSize, BeforeValidator(not_boolean), AfterValidator(positive_size), ValueFormat("bytes, or a size such as 64MiB")
]
Network = Annotated[IPv4Network | IPv6Network, PlainValidator(network), ValueFormat("network or address")]
Count = Annotated[int, Field(strict=True, gt=0), ValueFormat("whole number")]
AttemptCount = Annotated[int, Field(strict=True, ge=1, le=20), ValueFormat("whole number")]
Region = Annotated[str, AfterValidator(region_name), ValueFormat("AWS region")]
Regions = Annotated[
    tuple[Annotated[str, AfterValidator(region_or_all)], ...],
    AfterValidator(expanded_regions),
    ValueFormat("list: AWS region, or `*`"),
]
RoleARN = Annotated[str, AfterValidator(role_arn), ValueFormat("ARN of an IAM role")]
PythonClass = Annotated[str, AfterValidator(python_name), ValueFormat("python:MODULE:CLASS")]
PythonFunction = Annotated[str, AfterValidator(python_function), ValueFormat("python:MODULE:FUNCTION")]
RouteAuth = Annotated[str, AfterValidator(route_auth), ValueFormat(" \\| ".join((*AUTHS, "python:MODULE:FUNCTION")))]
HTTPSURL = Annotated[str, PlainValidator(check_https_url), ValueFormat("https URL")]
ServerURL = Annotated[str, PlainValidator(server_url), ValueFormat("URL")]
AuditURL = Annotated[
    str | SecretRef, PlainValidator(audit_store), ValueFormat("sqlite:///PATH, postgresql://… or a secret reference")
]
Retention = Annotated[str, PlainValidator(retention), ValueFormat("hours, days or weeks: 400d")]
CheckpointFile = Annotated[str, PlainValidator(checkpoint_file), ValueFormat("file:PATH")]
Flag = Annotated[bool, Field(strict=True), ValueFormat("true \\| false")]
Text = Annotated[str, Field(min_length=1), ValueFormat("text")]
Patterns = Annotated[tuple[Text, ...], BeforeValidator(one_or_more), ValueFormat("pattern, or a list of patterns")]
