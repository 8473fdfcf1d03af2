"""Where the AWS credentials come from: what the configuration names, or AWS's own chain. All of it is botocore's.

The chain: environment, web identity, SSO, the shared files of ~/.aws with their profiles, `credential_process`,
containers, instance metadata. Nothing is asked before the first call that needs it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from wirekey.config import ConfigError, Problem
from wirekey.config.loading import PLACEHOLDER
from wirekey.config.providers import AwsConfig
from wirekey.credentials.aws import (
    DEADLINE,
    RECHECK,
    SHORTEST_WAIT,
    AwsCredentialCache,
    CredentialsUnavailable,
    ExpiringCredentials,
)
from wirekey.credentials.aws_failures import OWN_PAIR, MFAWantedError, nothing_found, unavailable
from wirekey.identity.aws_pairs import ACCESS_KEY
from wirekey.secret import Secret
from wirekey.signing.request import SigV4Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.call import Agent
    from wirekey.config import Config

CONNECT_TIMEOUT, READ_TIMEOUT = 3, 5
ATTEMPTS = 2
ENVIRONMENT_PAIR = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CREDENTIAL_EXPIRATION",
)
BEYOND_PROFILES = ("ec2-credentials-file", "boto-config", "container-role", "iam-role")
"""botocore asks these where a profile holds no credentials; who named a profile wants to be told instead."""
QUIET = {"botocore": logging.INFO, "urllib3": logging.INFO, "botocore.credentials": logging.ERROR}
"""botocore writes whole answers of STS into its debug log, secrets among them, and what a `credential_process` said
into its warnings."""

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+=,.@-]")
NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")
LONGEST_NAME, LONGEST_TAG = 64, 256


@dataclass(frozen=True, slots=True)
class AwsWay:
    """What the configuration says of how to get at AWS. Equal ways lead to the same credentials."""

    region: str
    """Where STS is asked."""
    profile: str | None = None
    pair: SigV4Credentials | None = None
    role_arn: str | None = None

    @classmethod
    def of(cls, config: Config) -> AwsWay | None:
        """Read the configuration; None where Bedrock is called with a bearer key, or with the clients' credentials.

        Raises ConfigError where a secret cannot be read.
        """
        bedrock = config.providers.bedrock
        named = bedrock.aws or AwsConfig()
        if bedrock.key_source != "inject" or named.bearer:
            return None
        return cls(bedrock.regions[0], named.profile, _read_pair(config, named), named.role_arn)


def aws_credentials(config: Config, previous: AwsCredentialCache | None = None) -> AwsCredentialCache | None:
    """Give what signs Bedrock's calls under this configuration: `former` again, where it would find the same.

    None where they are not signed with the organisation's credentials. Raises ConfigError where a secret cannot be
    read. Nothing is looked for yet.
    """
    way = AwsWay.of(config)
    if way is None:
        return None
    source = AwsSource(way, config.environ)
    if previous and isinstance(previous.source, AwsSource) and previous.source.alike(source):
        return previous
    return AwsCredentialCache(source)


class AwsSource:
    """A Source that asks botocore. `environ`: variables to look for a key pair in, besides the process's own."""

    def __init__(self, way: AwsWay, environ: Mapping[str, str] | None = None) -> None:
        self.way = way
        self.per_agent = way.role_arn is not None
        self._environ = {name: environ[name] for name in ENVIRONMENT_PAIR if environ and name in environ}
        self._lock = threading.Lock()
        self._login: _Login | None = None
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(max(level, logging.getLogger(name).level))

    def fetch(self, agent: Agent | None) -> ExpiringCredentials:
        try:
            login = self._logged_in()
            return login.assume_role(agent) if login.sts else login.found()
        except CredentialsUnavailable:
            raise
        except Exception as error:
            raise unavailable(error, self.way) from None

    def alike(self, other: AwsSource) -> bool:
        return (self.way, self._environ) == (other.way, other._environ)

    def forget(self) -> None:
        with self._lock:
            if self._login and time.monotonic() - self._login.made >= SHORTEST_WAIT:
                self._login = None

    def _logged_in(self) -> _Login:
        # One search at a time; who waits longer than it may last meets a `credential_process` that does not end.
        if not self._lock.acquire(timeout=DEADLINE):
            raise TimeoutError
        try:
            previous = self._login
            if previous is None or (previous.fixed and time.monotonic() - previous.made >= RECHECK):
                latest = _log_in(self.way, self._environ)
                self._login = previous.again() if previous and previous.same_as(latest) else latest
            assert self._login
            return self._login
        finally:
            self._lock.release()


@dataclass(slots=True)
class _Login:
    """A botocore session that has found credentials, and its client of STS where a role is assumed."""

    way: AwsWay
    session: Any
    credentials: Any
    fixed: bool
    """Whether nothing renews them but a look into file and environment."""
    made: float
    sts: Any = None

    def again(self) -> _Login:
        self.made = time.monotonic()
        return self

    def same_as(self, other: _Login) -> bool:
        if not (self.fixed and other.fixed):
            return False
        return bool(self.credentials.get_frozen_credentials() == other.credentials.get_frozen_credentials())

    def found(self) -> ExpiringCredentials:
        frozen = self.credentials.get_frozen_credentials()
        # botocore tells of the end only whether it is near; the moment itself is kept in this field.
        expiry = getattr(self.credentials, "_expiry_time", None)
        pair = _key_pair(frozen.access_key, frozen.secret_key, frozen.token)
        return ExpiringCredentials(pair, expiry.timestamp() if expiry else None)

    def assume_role(self, agent: Agent | None) -> ExpiringCredentials:
        answer = self.sts.assume_role(
            RoleArn=self.way.role_arn, RoleSessionName=session_name(agent), Tags=session_tags(agent)
        )["Credentials"]
        pair = _key_pair(answer["AccessKeyId"], answer["SecretAccessKey"], answer["SessionToken"])
        return ExpiringCredentials(pair, answer["Expiration"].timestamp())


def session_name(agent: Agent | None) -> str:
    """Give what CloudTrail calls the session: `wirekey-AGENT`, in AWS's grammar, and of two agents never the same."""
    if agent is None:
        return "wirekey"
    name = f"wirekey-{NOT_IN_NAMES.sub('-', agent.id)}"
    if name == f"wirekey-{agent.id}" and len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(agent.id.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(mark) - 1]}-{mark}"


def session_tags(agent: Agent | None) -> list[dict[str, str]]:
    """Give the tags of the session: the agent's id and role, other characters than AWS takes as `_`."""
    values = {"agent": agent.id, "role": agent.role} if agent else {}
    return [
        {"Key": name, "Value": NOT_IN_TAGS.sub("_", value)[:LONGEST_TAG]} for name, value in values.items() if value
    ]


def _read_pair(config: Config, named: AwsConfig) -> SigV4Credentials | None:
    if not (named.access_key and named.secret_key):
        return None
    problems, read = [], {}
    for name in ("access_key", "secret_key", "session_token"):
        if reference := getattr(named, name):
            found = config.resolve(reference, f"providers.bedrock.aws.{name}")
            if isinstance(found, Problem):
                problems.append(found)
            else:
                read[name] = found
    if problems:
        raise ConfigError(problems)
    return SigV4Credentials(read["access_key"].reveal(), read["secret_key"], read.get("session_token"))


def _log_in(way: AwsWay, environ: Mapping[str, str]) -> _Login:
    # botocore takes a while to load: only those who sign pay for it.
    from botocore.config import Config as ClientConfig
    from botocore.credentials import RefreshableCredentials
    from botocore.session import Session

    session = Session(profile=way.profile)
    session.set_config_variable("sts_regional_endpoints", "regional")
    if not session.get_config_variable("region"):
        session.set_config_variable("region", way.region)
    # No proxy: in a shell made by `wirekey env` that would be Wirekey itself.
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    limits = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
    session.set_default_client_config(ClientConfig(retries=retries, proxies={}, **limits))
    if way.pair:
        token = way.pair.token.reveal() if way.pair.token else None
        session.set_credentials(way.pair.access_key, way.pair.secret.reveal(), token)
    else:
        _adjust_chain(session.get_component("credential_provider"), way, environ)
    credentials = session.get_credentials()
    if credentials is None:
        raise nothing_found(way)
    if ACCESS_KEY.fullmatch(credentials.get_frozen_credentials().access_key or ""):
        raise CredentialsUnavailable(OWN_PAIR)
    fixed = not isinstance(credentials, RefreshableCredentials)
    sts = session.create_client("sts", region_name=way.region) if way.role_arn else None
    return _Login(way, session, credentials, fixed, time.monotonic(), sts)


def _adjust_chain(resolver: Any, way: AwsWay, environ: Mapping[str, str]) -> None:
    """Make of botocore's chain one that a server can ask: nobody is there to type, and our own pairs do not count."""
    from botocore.credentials import EnvProvider

    methods = [provider.METHOD for provider in resolver.providers]
    if EnvProvider.METHOD in methods:
        place = methods.index(EnvProvider.METHOD)
        resolver.providers[place] = EnvProvider(_without_our_pair({**environ, **os.environ}))
    resolver.get_provider("assume-role")._prompter = _nobody_to_ask  # noqa: SLF001  # the way that AWS's own CLI takes
    for method in BEYOND_PROFILES if way.profile else ():
        if method in methods:
            resolver.remove(method)


def _without_our_pair(environ: dict[str, str]) -> dict[str, str]:
    """Leave out a pair that `wirekey env` set: Wirekey must not take it for one of AWS's."""
    access_key = environ.get("AWS_ACCESS_KEY_ID", "")
    if access_key != PLACEHOLDER and not ACCESS_KEY.fullmatch(access_key):
        return environ
    return {name: value for name, value in environ.items() if name not in ENVIRONMENT_PAIR}


def _nobody_to_ask(_: str) -> NoReturn:
    raise MFAWantedError


def _key_pair(access_key: str, secret_key: str, token: str | None) -> SigV4Credentials:
    return SigV4Credentials(access_key, Secret(secret_key), Secret(token) if token else None)
