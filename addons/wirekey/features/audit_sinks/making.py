"""Makes the sinks of a configuration."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from wirekey.config.problems import ConfigError
from wirekey.core.credentials.aws import CredentialsUnavailable
from wirekey.core.credentials.aws_access import AwsAccess
from wirekey.core.credentials.aws_source import AwsSource
from wirekey.core.signing.request import SigV4Credentials
from wirekey.features.audit_sinks.config import AuditSinksSetting
from wirekey.features.audit_sinks.otlp import OtlpSink
from wirekey.features.audit_sinks.s3 import S3Sink
from wirekey.features.audit_sinks.sink import SinkError
from wirekey.features.audit_sinks.syslog import SyslogSink

if TYPE_CHECKING:
    from collections.abc import Callable

    from wirekey.config import Config
    from wirekey.core.egress.upstream_proxy import ProxyFor
    from wirekey.features.audit_sinks.config import AuditSinkConfig
    from wirekey.features.audit_sinks.sink import Sink


def sinks_of(config: Config, proxy_for: ProxyFor) -> dict[str, Sink]:
    """Return the sinks of a configuration, by name. Nothing is connected. Raises ConfigError."""
    settings = config.audit.part(AuditSinksSetting).sinks
    return {
        each.label: sink_of(config, each, f"audit.sinks[{index}]", proxy_for) for index, each in enumerate(settings)
    }


def sink_of(config: Config, settings: AuditSinkConfig, key: str, proxy_for: ProxyFor) -> Sink:
    """Return the sink of its settings. `key`: of the setting. Raises ConfigError."""
    try:
        return sink_of_type(config, settings, key, proxy_for)
    except OSError as error:
        reason = "it is not a PEM file" if isinstance(error, ssl.SSLError) else error.strerror
        message = f"{settings.ca_file} cannot be used: {reason}. Name a PEM file of a CA"
        raise ConfigError([config.problem(f"{key}.ca_file", message)]) from error


def sink_of_type(config: Config, settings: AuditSinkConfig, key: str, proxy_for: ProxyFor) -> Sink:
    """Return the sink of its settings, as `sink_of` does. Raises ConfigError, and OSError for its `ca_file`."""
    if settings.type == "syslog":
        return SyslogSink(settings)
    if settings.type == "s3":
        return S3Sink(settings, credentials_of(config, settings, key, proxy_for), proxy_for)
    headers = {
        name: config.secret_of(reference, f"{key}.headers.{name}") for name, reference in settings.headers.items()
    }
    return OtlpSink(settings, headers, proxy_for)


def credentials_of(
    config: Config, settings: AuditSinkConfig, key: str, proxy_for: ProxyFor
) -> Callable[[], SigV4Credentials]:
    """Return the function that returns the credentials for a bucket: the configured pair, or those of AWS's chain.

    It may block, and raises SinkError. Raises ConfigError.
    """
    region = settings.region
    assert region
    if settings.access_key and settings.secret_key:
        access_key = config.secret_of(settings.access_key, f"{key}.access_key").reveal()
        pair = SigV4Credentials(access_key, config.secret_of(settings.secret_key, f"{key}.secret_key"))
        return lambda: pair
    source = AwsSource(AwsAccess(region, proxy=proxy_for(f"sts.{region}.amazonaws.com", 443)), config.environ)

    def found() -> SigV4Credentials:
        try:
            return source.fetch(None).credentials
        except CredentialsUnavailable:
            raise SinkError("AWS's chain has no credentials") from None

    return found
