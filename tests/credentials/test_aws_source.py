"""The sources of AWS credentials, with real botocore and stubs of STS and instance metadata. No network."""

import hashlib
import logging
import os
import re
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.simulator.requests import request
from tests.support.company_proxy import company_proxy
from tests.support.configuration import loaded

from wirekey.config import ConfigError
from wirekey.core.call import Agent
from wirekey.core.credentials import aws_source
from wirekey.core.credentials.aws import AwsCredentialCache, CredentialsUnavailable
from wirekey.core.credentials.aws_source import (
    AwsAccess,
    AwsSource,
    aws_credentials,
    route_credentials,
    session_name,
    session_tags,
)
from wirekey.core.egress.hosts import region_of
from wirekey.core.egress.upstream_proxy import UpstreamProxy
from wirekey.core.identity.aws_pairs import key_pair
from wirekey.core.secret import Secret
from wirekey.core.signing.request import Endpoint, RequestHead, SigV4Credentials
from wirekey.core.signing.sign import RequestSigner
from wirekey_simulator.instance_metadata import InstanceMetadata
from wirekey_simulator.plain_http import serving
from wirekey_simulator.sigv4 import signature_rejection
from wirekey_simulator.sts import StsService

ALICE = Agent("alice", "dev")
ROLE = "arn:aws:iam::123456789012:role/wirekey"
PAIR = SigV4Credentials("AKIAORGANISATION0001", Secret("organisation-secret"))
FIXED = AwsAccess("us-east-1", pair=PAIR)
ASSUMING = AwsAccess("eu-west-3", pair=PAIR, role_arn=ROLE)
CHAIN = AwsAccess("us-east-1")
OURS = key_pair(Secret("ab" * 32), "alice", "cd" * 16, 1)


@pytest.fixture(autouse=True)
def a_machine_without_aws(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    # Whoever goes through a proxy of the environment fails.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")


@pytest.fixture
def sts(monkeypatch):
    service = StsService()
    with serving(service) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", url)
        yield service


@pytest.fixture
def metadata(monkeypatch):
    service = InstanceMetadata()
    with serving(service) as url:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield service


def set_environment(monkeypatch, access_key="AKIAENVIRONMENT00001", secret="environment-secret", token=None):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)


def write_profile(folder, name="work", lines="aws_access_key_id = AKIAPROFILE000000001\naws_secret_access_key = s"):
    (folder / "credentials").write_text(f"[{name}]\n{lines}\n")


def failure(way, environ=None):
    return failure_of(AwsSource(way, environ))


def failure_of(source):
    with pytest.raises(CredentialsUnavailable) as caught:
        source.fetch(ALICE)
    return caught.value


# Where they come from


def test_a_configured_pair_is_used_unchanged(monkeypatch):
    set_environment(monkeypatch)
    found = AwsSource(FIXED).fetch(ALICE)
    assert (found.credentials, found.expires) == (PAIR, None)


def test_a_configured_session_token_is_used_with_the_pair():
    pair = SigV4Credentials("ASIAORGANISATION0001", Secret("s"), Secret("the-token"))
    assert AwsSource(AwsAccess("us-east-1", pair=pair)).fetch(None).credentials == pair


def test_a_configured_profile_wins_over_the_environment(monkeypatch, tmp_path):
    set_environment(monkeypatch)
    write_profile(tmp_path)
    found = AwsSource(AwsAccess("us-east-1", profile="work")).fetch(ALICE)
    assert found.credentials.access_key == "AKIAPROFILE000000001"


def test_without_any_setting_the_environment_comes_first(monkeypatch, tmp_path):
    write_profile(tmp_path, "default")
    set_environment(monkeypatch, token="environment-token")
    found = AwsSource(CHAIN).fetch(ALICE).credentials
    assert found == SigV4Credentials("AKIAENVIRONMENT00001", Secret("environment-secret"), Secret("environment-token"))


def test_a_pair_in_the_dotenv_file_is_part_of_the_environment(monkeypatch):
    written = {"AWS_ACCESS_KEY_ID": "AKIADOTENV0000000001", "AWS_SECRET_ACCESS_KEY": "s"}
    assert AwsSource(CHAIN, written).fetch(None).credentials.access_key == "AKIADOTENV0000000001"
    set_environment(monkeypatch)
    assert AwsSource(CHAIN, written).fetch(None).credentials.access_key == "AKIAENVIRONMENT00001"


def test_the_next_sources_are_the_profile_of_the_environment_and_the_default_profile(monkeypatch, tmp_path):
    write_profile(tmp_path, "default")
    assert AwsSource(CHAIN).fetch(ALICE).credentials.access_key == "AKIAPROFILE000000001"
    write_profile(tmp_path, "other", "aws_access_key_id = AKIAOTHER00000000001\naws_secret_access_key = s")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert AwsSource(CHAIN).fetch(ALICE).credentials.access_key == "AKIAOTHER00000000001"


def test_the_next_source_is_a_credential_process(tmp_path):
    printed = '{"Version": 1, "AccessKeyId": "AKIAPROGRAM000000001", "SecretAccessKey": "s"}'
    (tmp_path / "config").write_text(f"[default]\ncredential_process = echo '{printed}'\n")
    assert AwsSource(CHAIN).fetch(ALICE).credentials.access_key == "AKIAPROGRAM000000001"


def test_the_last_source_is_instance_metadata_with_an_expiry(metadata):
    source = AwsSource(CHAIN)
    assert metadata.request_count == 0
    found = source.fetch(ALICE)
    assert found.credentials.access_key in metadata.issued
    assert found.credentials.token
    assert time.time() + 5 * 3600 < found.expires <= time.time() + 6 * 3600 + 60


@pytest.mark.parametrize("way", [FIXED, AwsAccess("us-east-1", profile="work"), CHAIN])
def test_instance_metadata_is_not_used_if_another_source_is_configured(metadata, monkeypatch, tmp_path, way):
    write_profile(tmp_path)
    set_environment(monkeypatch)
    AwsSource(way).fetch(ALICE)
    assert metadata.request_count == 0


def test_a_profile_without_credentials_does_not_fall_back_to_the_instance_role(metadata, tmp_path):
    write_profile(tmp_path, lines="region = us-east-1")
    refused = failure(AwsAccess("us-east-1", profile="work"))
    assert "aws configure --profile work" in refused.sentence
    assert metadata.request_count == 0


def test_a_profile_can_name_the_instance_as_its_source(metadata, sts, tmp_path):
    (tmp_path / "config").write_text(f"[profile work]\nrole_arn = {ROLE}\ncredential_source = Ec2InstanceMetadata\n")
    found = AwsSource(AwsAccess("us-east-1", profile="work")).fetch(ALICE)
    assert found.credentials.access_key in sts.issued
    assert sts.assumed[0].access_key in metadata.issued


# The role


def test_the_role_is_assumed_in_the_name_of_the_agent_with_its_tags(sts):
    found = AwsSource(ASSUMING).fetch(ALICE)
    [assumed] = sts.assumed
    assert assumed.session_name == "wirekey-alice"
    assert assumed.tags == {"agent": "alice", "role": "dev"}
    assert (assumed.role_arn, assumed.access_key) == (ROLE, "AKIAORGANISATION0001")
    account = sts.issued[found.credentials.access_key]
    assert found.credentials == SigV4Credentials(
        found.credentials.access_key, Secret(account.secret), Secret(account.token)
    )
    assert abs(found.expires - account.expires_at) <= 1


def test_the_token_service_is_that_of_the_first_region(sts):
    AwsSource(ASSUMING).fetch(ALICE)
    assert sts.assumed[0].region == "eu-west-3"


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("us-east-1", "sts.us-east-1.amazonaws.com"),
        ("eu-west-3", "sts.eu-west-3.amazonaws.com"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
    ],
)
def test_the_token_service_has_a_regional_name_even_if_the_environment_sets_legacy(monkeypatch, region, host):
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    login = AwsSource(AwsAccess(region, pair=PAIR, role_arn=ROLE))._logged_in()
    assert login.sts.meta.endpoint_url == f"https://{host}"


def test_all_network_access_has_a_time_limit_and_no_proxy(monkeypatch):
    config = AwsSource(ASSUMING)._logged_in().sts.meta.config
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (3, 5, 2)
    assert config.proxies == {}


def test_sessions_of_many_agents_share_one_client(sts):
    source = AwsSource(ASSUMING)
    names = [f"agent-{number}" for number in range(5)]
    keys = {source.fetch(Agent(name)).credentials.access_key for name in names}
    assert len(keys) == 5
    assert [assumed.session_name for assumed in sts.assumed] == [f"wirekey-{name}" for name in names]
    assert source._logged_in().sts is source._logged_in().sts


def test_the_role_can_be_assumed_with_credentials_of_the_chain(sts, metadata):
    found = AwsSource(AwsAccess("us-east-1", role_arn=ROLE)).fetch(None)
    assert sts.assumed[0].access_key in metadata.issued
    assert (sts.assumed[0].session_name, sts.assumed[0].tags) == ("wirekey", {})
    assert found.credentials.access_key in sts.issued


NAMES = [
    # agent, session name
    ("alice", "wirekey-alice"),
    ("ci.build_7-x", "wirekey-ci.build_7-x"),
    ("a@b,c=d+e", "wirekey-a@b,c=d+e"),
    ("a b", r"wirekey-a-b-[0-9a-f]{8}"),
    ("a/b", r"wirekey-a-b-[0-9a-f]{8}"),
    ("größer", r"wirekey-gr--er-[0-9a-f]{8}"),
    ("x" * 56, "wirekey-" + "x" * 56),
    ("x" * 57, "wirekey-" + "x" * 47 + "-[0-9a-f]{8}"),
    ("x" * 500, "wirekey-" + "x" * 47 + "-[0-9a-f]{8}"),
    ("\n", r"wirekey---[0-9a-f]{8}"),
]


@pytest.mark.parametrize(("agent", "name"), NAMES)
def test_any_agent_name_becomes_a_valid_session_name(sts, agent, name):
    AwsSource(ASSUMING).fetch(Agent(agent, "größer & <b> " + "r" * 300))
    assert sts.assumed[0].session_name == name or re.fullmatch(name, sts.assumed[0].session_name)
    assert sts.assumed[0].tags["role"] == ("gr__er _ _b_ " + "r" * 300)[:256]


def test_two_agents_never_share_a_session_name():
    agents = [agent for agent, _ in NAMES]
    assert len({session_name(Agent(agent)) for agent in agents}) == len(agents)
    assert session_tags(Agent("alice")) == [{"Key": "agent", "Value": "alice"}]


# What is renewed


def test_a_changed_file_is_read_again(monkeypatch, tmp_path):
    write_profile(tmp_path, "default")
    source = AwsSource(CHAIN)
    assert source.fetch(ALICE).credentials.access_key == "AKIAPROFILE000000001"
    write_profile(tmp_path, "default", "aws_access_key_id = AKIAROTATED000000001\naws_secret_access_key = s")
    assert source.fetch(ALICE).credentials.access_key == "AKIAPROFILE000000001"
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert source.fetch(ALICE).credentials.access_key == "AKIAROTATED000000001"


def test_an_unchanged_file_makes_no_new_client(monkeypatch, sts):
    source = AwsSource(ASSUMING)
    before = source._logged_in().sts
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert source._logged_in().sts is before


def test_a_file_replaced_by_credentials_that_expire_makes_a_new_login(monkeypatch, tmp_path, metadata):
    write_profile(tmp_path, "default")
    source = AwsSource(CHAIN)
    assert source.fetch(ALICE).expires is None
    (tmp_path / "credentials").unlink()
    later = time.monotonic() + 301
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert source.fetch(ALICE).expires > time.time()


def test_a_search_that_does_not_end_is_not_waited_for_by_the_next(monkeypatch):
    monkeypatch.setattr(aws_source, "DEADLINE", 0.05)
    source = AwsSource(FIXED)
    with source._lock:
        refused = failure_of(source)
    assert refused.for_all
    assert source.fetch(ALICE).credentials == PAIR


def test_refused_credentials_are_read_again_but_not_immediately(monkeypatch, tmp_path):
    write_profile(tmp_path, "default")
    source = AwsSource(CHAIN)
    source.fetch(ALICE)
    write_profile(tmp_path, "default", "aws_access_key_id = AKIAROTATED000000001\naws_secret_access_key = s")
    source.forget()
    assert source.fetch(ALICE).credentials.access_key == "AKIAPROFILE000000001"
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    source.forget()
    assert source.fetch(ALICE).credentials.access_key == "AKIAROTATED000000001"


def test_botocore_renews_the_instances_credentials_before_they_expire(metadata):
    source = AwsSource(CHAIN)
    first = source.fetch(ALICE)
    assert source.fetch(ALICE) == first
    source._logged_in().credentials._expiry_time = datetime.now(UTC) + timedelta(minutes=13)
    second = source.fetch(ALICE)
    assert second.credentials != first.credentials
    assert second.expires > time.time() + 5 * 3600


# What goes wrong


def test_the_error_without_any_credentials_says_what_to_set():
    refused = failure(CHAIN)
    assert "No AWS credentials were found" in refused.sentence
    assert "providers.bedrock.aws" in refused.sentence
    assert refused.for_all


def test_an_unresponsive_metadata_service_delays_only_seconds(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert "No AWS credentials were found" in failure(CHAIN).sentence


def test_an_agents_own_pair_in_the_environment_is_not_used_as_the_organisations(monkeypatch, tmp_path):
    set_environment(monkeypatch, OURS.access_key, OURS.secret.reveal())
    assert "No AWS credentials were found" in failure(CHAIN).sentence
    write_profile(tmp_path, "default")
    assert AwsSource(CHAIN).fetch(ALICE).credentials.access_key == "AKIAPROFILE000000001"


def test_an_agents_own_pair_in_a_profile_is_refused_with_the_profiles_name(tmp_path):
    write_profile(
        tmp_path, lines=f"aws_access_key_id = {OURS.access_key}\naws_secret_access_key = {OURS.secret.reveal()}"
    )
    refused = failure(AwsAccess("us-east-1", profile="work"))
    assert "Wirekey itself issued" in refused.sentence
    assert OURS.secret.reveal() not in refused.sentence


SSO_PROFILE = """
[profile work]
sso_session = s
sso_account_id = 1
sso_role_name = r
[sso-session s]
sso_region = us-east-1
sso_start_url = https://x.example
"""
MFA_PROFILE = f"""
[profile work]
role_arn = {ROLE}
source_profile = base
mfa_serial = arn:aws:iam::1:mfa/x
[profile base]
aws_access_key_id = AKIABASE000000000001
aws_secret_access_key = s
"""
FILES = [
    # ~/.aws/config, profile, words of the sentence
    ("", "work", "There is no profile 'work'"),
    ("[profile work]\naws_access_key_id = AKIAHALF000000000001\n", "work", "half a key pair"),
    ("[profile work\n", "work", "cannot be read as AWS's format"),
    (
        SSO_PROFILE,
        "work",
        "aws sso login --profile work",
    ),
    ("[profile work]\ncredential_process = false\n", "work", "(custom-process)"),
    ("[profile work]\ncredential_process = echo the-secret-in-the-output\n", "work", "providers.bedrock.aws"),
    (
        MFA_PROFILE,
        "work",
        "MFA code",
    ),
    (f"[profile work]\nrole_arn = {ROLE}\nsource_profile = none\n", "work", "providers.bedrock.aws|~/.aws"),
]


@pytest.mark.parametrize(("config", "profile", "words"), FILES)
def test_a_bad_profile_is_reported_with_a_fix(sts, tmp_path, config, profile, words):
    (tmp_path / "config").write_text(config)
    refused = failure(AwsAccess("us-east-1", profile=profile))
    assert re.search(re.escape(words) if "|" not in words else words, refused.sentence), refused.sentence
    assert "the-secret" not in refused.sentence


def test_a_missing_profile_of_the_environment_is_reported(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "gone")
    assert "AWS_PROFILE" in failure(CHAIN).sentence


@pytest.mark.parametrize(
    ("code", "words", "for_all"),
    [
        ("AccessDenied", "sts:AssumeRole and sts:TagSession", False),
        ("ExpiredToken", "Renew them", True),
        ("InvalidClientTokenId", "Renew them", True),
        ("SignatureDoesNotMatch", "clock", True),
        ("RegionDisabledException", "providers.bedrock.regions", True),
        ("PackedPolicyTooLarge", "AWS returned no session of arn:", False),
        ("<b>", "an unknown error", False),
    ],
)
def test_a_refusal_of_the_token_service_is_reported_with_a_fix(sts, code, words, for_all):
    sts.refuse_with = code
    refused = failure(ASSUMING)
    assert words in refused.sentence
    assert refused.for_all is for_all


def test_an_unreachable_token_service_is_reported(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    refused = failure(ASSUMING)
    assert "token service for eu-west-3 could not be reached" in refused.sentence
    assert refused.for_all


def test_source_credentials_unknown_to_the_token_service_are_reported(sts):
    sts.known = {"AKIAANOTHER000000001"}
    assert "providers.bedrock.aws.access_key" in failure(ASSUMING).sentence


async def test_each_agents_calls_use_its_own_session_end_to_end(sts):
    credentials = AwsCredentialCache(AwsSource(ASSUMING))
    found = [await credentials.fetch(agent) for agent in (ALICE, Agent("bob"), ALICE)]
    assert found[0] is found[2]
    assert [assumed.tags["agent"] for assumed in sts.assumed] == ["alice", "bob"]


def test_no_secret_is_logged_even_at_level_debug(sts, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG)
    for name in ("botocore", "urllib3"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.NOTSET)
    source = AwsSource(ASSUMING)
    found = source.fetch(ALICE)
    logging.getLogger("wirekey.test").debug("the log is taken")
    assert "the log is taken" in caplog.text
    account = sts.issued[found.credentials.access_key]
    for secret in (account.secret, account.token, PAIR.secret.reveal()):
        assert secret not in caplog.text
        assert secret not in repr((source, source.way, found, sts))


def test_a_request_signed_with_an_agents_session_is_valid_until_the_session_expires(sts):
    found = AwsSource(ASSUMING).fetch(ALICE)
    host = "bedrock-runtime.eu-west-3.amazonaws.com"
    head = RequestHead("POST", b"/model/amazon.nova-lite-v1%3A0/converse", [(b"Host", host.encode())])
    empty = hashlib.sha256(b"").hexdigest()
    now = time.time()
    added = RequestSigner().sign(head, empty, found.credentials, Endpoint(region_of(host).region), now)
    headers = {name.decode(): value.decode() for name, value in (*head.headers, *added)}
    arrived = request("POST", head.target.decode(), headers=headers, authority=host)
    assert signature_rejection(arrived, sts.issued, lambda: now) is None
    assert signature_rejection(arrived, {}, lambda: now).kind == "UnrecognizedClientException"
    account = sts.issued[found.credentials.access_key]
    ended = {found.credentials.access_key: replace(account, expires_at=now - 1)}
    assert signature_rejection(arrived, ended, lambda: now).kind == "ExpiredTokenException"


# What the configuration leads to


CONFIGURED = [
    ("{}", CHAIN),
    ("{key_source: inject}", CHAIN),
    ("{aws: {}}", CHAIN),
    ("{aws: {profile: work}}", AwsAccess("us-east-1", profile="work")),
    (f"{{aws: {{role_arn: '{ROLE}'}}, regions: [eu-west-3, us-east-1]}}", AwsAccess("eu-west-3", role_arn=ROLE)),
    (
        "{aws: {access_key: env:A, secret_key: env:B, session_token: env:C}}",
        AwsAccess("us-east-1", pair=SigV4Credentials("AKIA", Secret("b"), Secret("c"))),
    ),
    ("{aws: {bearer: env:B}}", None),
    ("{key_source: client}", None),
    ("{key_source: passthrough}", None),
]


@pytest.mark.parametrize(("bedrock", "way"), CONFIGURED)
def test_the_configuration_selects_the_source(tmp_path, bedrock, way):
    config = loaded(tmp_path, f"providers: {{bedrock: {bedrock}}}", {"A": "AKIA", "B": "b", "C": "c"})
    assert AwsAccess.of(config) == way
    made = aws_credentials(config)
    assert (made is None) is (way is None)


def test_a_route_may_have_an_account_of_its_own(tmp_path):
    text = """
routes:
- match: fast
  provider: bedrock
  region: eu-west-3
  aws: {{access_key: env:A, secret_key: {secret}}}
- {{match: slow, provider: bedrock, aws: {{profile: work}}}}
- {{match: other, provider: bedrock}}
providers: {{bedrock: {{regions: [us-west-2]}}}}
"""
    config = loaded(tmp_path, text.format(secret="env:B"), {"A": "AKIA", "B": "b"})
    ways = [AwsAccess.of_route(config, index) for index in range(3)]
    assert ways[0] == AwsAccess("eu-west-3", pair=SigV4Credentials("AKIA", Secret("b")))
    assert ways[1:] == [AwsAccess("us-west-2", profile="work"), None]
    caches = [route_credentials(config, index) for index in range(3)]
    assert [cache.source.way if cache else None for cache in caches] == ways
    assert route_credentials(config, 1, caches[1]) is caches[1]
    assert route_credentials(config, 1, caches[0]) is not caches[0]
    with pytest.raises(ConfigError) as caught:
        AwsAccess.of_route(loaded(tmp_path, text.format(secret="env:ABSENT"), {"A": "AKIA"}), 0)
    assert [problem.key for problem in caught.value.problems] == ["routes[0].aws.secret_key"]


def test_a_bearer_key_of_the_environment_precedes_the_chain_but_not_the_file(tmp_path):
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "b"}
    assert AwsAccess.of(loaded(tmp_path, "{}", environ)) is None
    assert AwsAccess.of(loaded(tmp_path, "providers: {bedrock: {aws: {profile: work}}}", environ)).profile == "work"


def test_all_missing_secrets_are_reported(tmp_path):
    config = loaded(tmp_path, "providers: {bedrock: {aws: {access_key: env:A, secret_key: env:B}}}")
    with pytest.raises(ConfigError) as caught:
        AwsAccess.of(config)
    assert [problem.key for problem in caught.value.problems] == [
        "providers.bedrock.aws.access_key",
        "providers.bedrock.aws.secret_key",
    ]


def test_a_reload_keeps_the_credentials_if_their_source_is_unchanged(tmp_path):
    text = "providers: {bedrock: {aws: {access_key: env:A, secret_key: env:B}}}"
    previous = aws_credentials(loaded(tmp_path, text, {"A": "AKIA", "B": "b"}))
    assert (
        aws_credentials(loaded(tmp_path, f"{text}\nlog: {{level: debug}}", {"A": "AKIA", "B": "b"}), previous)
        is previous
    )
    assert aws_credentials(loaded(tmp_path, text, {"A": "AKIA", "B": "new"}), previous) is not previous
    chain = aws_credentials(loaded(tmp_path, "{}", {}))
    assert aws_credentials(loaded(tmp_path, "{}", {"AWS_ACCESS_KEY_ID": "AKIA"}), chain) is not chain


@pytest.mark.parametrize(
    ("more", "environ", "used"),
    [
        ("", {}, None),
        ("upstream_proxy: http://user@proxy:3128", {}, "proxy"),
        ("", {"HTTPS_PROXY": "http://proxy:3128"}, "proxy"),
        ("upstream_proxy: {url: 'http://proxy:3128', no_proxy: [amazonaws.com]}", {}, None),
        ("upstream_proxy: http://proxy:3128", {"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}, None),
        ("upstream_proxy: http://proxy:3128", {"AWS_ENDPOINT_URL": "https://sts.corp.example"}, "proxy"),
        ("providers: {bedrock: {upstream_proxy: 'http://other:1'}}\nupstream_proxy: http://proxy:1", {}, "other"),
    ],
)
def test_the_token_service_is_reached_through_the_proxy_of_bedrocks_calls(tmp_path, more, environ, used):
    way = AwsAccess.of(loaded(tmp_path, f"{more}\n", environ))
    assert (way.proxy.host if way.proxy else None) == used


def test_a_proxy_that_opens_no_tunnel_to_the_token_service_is_named():
    with company_proxy(("127.0.0.1", 1), answer=b"HTTP/1.1 403 Forbidden\r\n\r\n") as proxy:
        upstream = UpstreamProxy("127.0.0.1", proxy.port, "user", Secret("password-of-the-proxy"))
        said = failure(replace(ASSUMING, proxy=upstream))
    assert set(proxy.asked) == {"CONNECT sts.eu-west-3.amazonaws.com:443 HTTP/1.1"}
    assert f"through the upstream proxy 127.0.0.1:{proxy.port}" in str(said)
    assert "password-of-the-proxy" not in str(said)
