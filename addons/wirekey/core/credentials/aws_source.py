"""Finds the AWS credentials: those of the configuration, or those of AWS's own chain. All of it uses botocore.

The chain: environment, web identity, SSO, the shared files of ~/.aws with their profiles, `credential_process`,
containers, instance metadata. Nothing is looked up before the first call that needs it.
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

from wirekey.config.loading import PLACEHOLDER
from wirekey.core.credentials.aws import (
    DEADLINE,
    RECHECK,
    SHORTEST_WAIT,
    AwsCredentialCache,
    CredentialsUnavailable,
    ExpiringCredentials,
)
from wirekey.core.credentials.aws_access import AwsAccess, key_pair
from wirekey.core.credentials.aws_failures import OWN_PAIR, MFAWantedError, nothing_found, unavailable
from wirekey.core.identity.aws_pairs import ACCESS_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.config import Config
    from wirekey.core.call import Agent

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
"""botocore asks these if a profile has no credentials. With a named profile, that must be an error instead."""
QUIET = {"botocore": logging.INFO, "urllib3": logging.INFO, "botocore.credentials": logging.ERROR}
"""botocore writes whole responses of STS, including secrets, into its debug log, and the output of a
`credential_process` into its warnings."""

NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+=,.@-]")
NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9 _.:/=+@-]")
LONGEST_NAME, LONGEST_TAG = 64, 256


def aws_credentials(config: Config, previous: AwsCredentialCache | None = None) -> AwsCredentialCache | None:
    """Return the cache that provides the credentials for Bedrock's calls under this configuration.

    Returns `previous` if it would find the same ones, and None if calls are not signed with the organisation's
    credentials. Searches nothing yet. Raises ConfigError if a secret cannot be read.
    """
    return _cache_for(config, AwsAccess.of(config), previous)


def route_credentials(
    config: Config, index: int, previous: AwsCredentialCache | None = None
) -> AwsCredentialCache | None:
    """Return the cache that provides a route's own credentials, as `aws_credentials` does, or None if it has none."""
    return _cache_for(config, AwsAccess.of_route(config, index), previous)


def _cache_for(config: Config, way: AwsAccess | None, previous: AwsCredentialCache | None) -> AwsCredentialCache | None:
    if way is None:
        return None
    source = AwsSource(way, config.environ)
    if previous and isinstance(previous.source, AwsSource) and previous.source.finds_same_as(source):
        return previous
    return AwsCredentialCache(source)


class AwsSource:
    """A CredentialSource that uses botocore.

    `environ`: variables that may contain a key pair, in addition to the process's own.
    """

    def __init__(self, way: AwsAccess, environ: Mapping[str, str] | None = None) -> None:
        self.way = way
        self.per_agent = way.role_arn is not None
        self._environ = {name: environ[name] for name in ENVIRONMENT_PAIR if environ and name in environ}
        self._lock = threading.Lock()
        self._login: _Login | None = None
        for name, level in QUIET.items():
            logging.getLogger(name).setLevel(max(level, logging.getLogger(name).level))

    def fetch(self, agent: Agent | None) -> ExpiringCredentials:
        """Return credentials, with a session of the role for the agent if a role is assumed.

        Raises CredentialsUnavailable.
        """
        try:
            login = self._logged_in()
            return login.assume_role(agent) if login.sts else login.found()
        except CredentialsUnavailable:
            raise
        except Exception as error:
            raise unavailable(error, self.way) from None

    def finds_same_as(self, other: AwsSource) -> bool:
        """Return whether another source would find the same credentials."""
        return (self.way, self._environ) == (other.way, other._environ)

    def forget(self) -> None:
        """Search again at the next fetch, unless the last search was a moment ago."""
        with self._lock:
            if self._login and time.monotonic() - self._login.made >= SHORTEST_WAIT:
                self._login = None

    def _logged_in(self) -> _Login:
        # One search at a time. A longer wait than DEADLINE means a `credential_process` that does not end.
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
    """A botocore session that has found credentials, and its STS client if a role is assumed."""

    way: AwsAccess
    session: Any
    credentials: Any
    fixed: bool
    """Whether only another look at files and environment can renew them."""
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
        # botocore only reports whether the expiry is near. The time itself is in this field.
        expiry = getattr(self.credentials, "_expiry_time", None)
        pair = key_pair(frozen.access_key, frozen.secret_key, frozen.token)
        return ExpiringCredentials(pair, expiry.timestamp() if expiry else None)

    def assume_role(self, agent: Agent | None) -> ExpiringCredentials:
        response = self.sts.assume_role(
            RoleArn=self.way.role_arn, RoleSessionName=session_name(agent), Tags=session_tags(agent)
        )["Credentials"]
        pair = key_pair(response["AccessKeyId"], response["SecretAccessKey"], response["SessionToken"])
        return ExpiringCredentials(pair, response["Expiration"].timestamp())


def session_name(agent: Agent | None) -> str:
    """Return the name of the session in CloudTrail: `wirekey-AGENT`, in AWS's grammar, unique for each agent."""
    if agent is None:
        return "wirekey"
    name = f"wirekey-{NOT_IN_NAMES.sub('-', agent.id)}"
    if name == f"wirekey-{agent.id}" and len(name) <= LONGEST_NAME:
        return name
    mark = hashlib.sha256(agent.id.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - len(mark) - 1]}-{mark}"


def session_tags(agent: Agent | None) -> list[dict[str, str]]:
    """Return the tags of the session: the agent's id and role, with `_` for characters that AWS does not accept."""
    values = {"agent": agent.id, "role": agent.role} if agent else {}
    return [
        {"Key": name, "Value": NOT_IN_TAGS.sub("_", value)[:LONGEST_TAG]} for name, value in values.items() if value
    ]


def _log_in(way: AwsAccess, environ: Mapping[str, str]) -> _Login:
    # botocore loads slowly, so it is imported only if calls are signed.
    from botocore.config import Config as ClientConfig
    from botocore.credentials import RefreshableCredentials
    from botocore.session import Session

    session = Session(profile=way.profile)
    session.set_config_variable("sts_regional_endpoints", "regional")
    if not session.get_config_variable("region"):
        session.set_config_variable("region", way.region)
    # Never that of the environment: in a shell of `wirekey env` it would be Wirekey itself.
    proxies = {"https": way.proxy.url} if way.proxy else {}
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    limits = {"connect_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
    session.set_default_client_config(ClientConfig(retries=retries, proxies=proxies, **limits))
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


def _adjust_chain(resolver: Any, way: AwsAccess, environ: Mapping[str, str]) -> None:
    """Adapt botocore's chain to a server: no prompts, and no key pairs that Wirekey issued."""
    from botocore.credentials import EnvProvider

    methods = [provider.METHOD for provider in resolver.providers]
    if EnvProvider.METHOD in methods:
        place = methods.index(EnvProvider.METHOD)
        resolver.providers[place] = EnvProvider(_without_our_pair({**environ, **os.environ}))
    resolver.get_provider("assume-role")._prompter = _nobody_to_ask  # noqa: SLF001  # the way that AWS's own CLI takes
    for method in BEYOND_PROFILES if way.profile else ():
        resolver.remove(method)


def _without_our_pair(environ: dict[str, str]) -> dict[str, str]:
    """Leave out a pair that `wirekey env` set, which AWS does not know."""
    access_key = environ.get("AWS_ACCESS_KEY_ID", "")
    if access_key != PLACEHOLDER and not ACCESS_KEY.fullmatch(access_key):
        return environ
    return {name: value for name, value in environ.items() if name not in ENVIRONMENT_PAIR}


def _nobody_to_ask(_: str) -> NoReturn:
    raise MFAWantedError
