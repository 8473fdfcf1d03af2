"""AWS credentials and regions of routes, and all regions at once."""

from __future__ import annotations

import json

import boto3
import httpx
import pytest

from tests.support.configuration import loaded, problems
from tests.support.running import KEY_ENVIRONMENT, SimulatorThread, Wirekey, behind
from wirekey.core.call import new_call_id
from wirekey.core.calls.attempt import in_region
from wirekey.core.egress.hosts import all_regions, bedrock_host

ORGANISATION = ("AKIAREALORGANISATION", "real-secret-of-the-organisation-41d0aa")
TEAM = ("AKIAREALTEAMPAIR0001", "real-secret-of-one-team-77b2")
LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
BODY = {"messages": [{"role": "user", "content": [{"text": "x"}]}]}


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    running = SimulatorThread(tmp_path_factory.mktemp("aws"), aws_credentials=dict([ORGANISATION, TEAM]))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def served(tmp_path_factory, aws):
    pair = {"access_key": "env:TEAM_ID", "secret_key": "env:TEAM_SECRET"}
    route = {"match": "eu.*", "provider": "bedrock", "region": "eu-central-1", "aws": pair}
    configuration = behind(aws, listen=LISTEN, routes=[route | {"upstream_url": aws.url, "auth": "sigv4"}])
    bedrock = configuration["providers"]["bedrock"]
    bedrock["aws"] = {"access_key": "env:AWS_ID", "secret_key": "env:AWS_SECRET"}
    bedrock["regions"] = ["us-east-1", "*"]
    environ = {"TEAM_ID": TEAM[0], "TEAM_SECRET": TEAM[1], "AWS_ID": ORGANISATION[0], "AWS_SECRET": ORGANISATION[1]}
    running = Wirekey(tmp_path_factory.mktemp("wirekey"), configuration, environ=KEY_ENVIRONMENT | environ)
    running.token = running.add_agent("alice")
    yield running
    running.stop()


def converse(served, model, region=None):
    headers = {"authorization": f"Bearer {served.token}"} | ({"x-aws-region": region} if region else {})
    url = f"http://{served.running.gateway}/model/{model}/converse"
    response = httpx.post(url, json=BODY, headers=headers)
    assert response.status_code == 200, response.text


def signed_by(aws):
    """Return the key and the region of the signature of the only request."""
    (seen,) = aws.seen
    value = next(value.decode() for name, value in seen.headers if name.lower() == b"authorization")
    key, _, region, *_ = value.partition("Credential=")[2].split("/")
    return key, region


@pytest.mark.parametrize(
    ("model", "region", "signed"),
    [
        ("eu.amazon.nova-lite-v1:0", None, (TEAM[0], "eu-central-1")),
        ("eu.amazon.nova-lite-v1:0", "us-west-2", (TEAM[0], "eu-central-1")),
        ("us.amazon.nova-lite-v1:0", None, (ORGANISATION[0], "us-east-1")),
        ("us.amazon.nova-lite-v1:0", "ap-northeast-1", (ORGANISATION[0], "ap-northeast-1")),
    ],
)
def test_a_route_has_its_own_pair_and_region(served, aws, model, region, signed):
    aws.forget()
    began = new_call_id()
    converse(served, model, region)
    assert signed_by(aws) == signed
    assert served.finished_event(began)["outcome"] == "completed"


def test_every_region_is_reached_by_the_proxy_too(served, aws, monkeypatch):
    aws.forget()
    monkeypatch.setenv("HTTPS_PROXY", served.proxy_url("alice", served.token))
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "placeholder")
    client = boto3.client("bedrock-runtime", region_name="sa-east-1", verify=str(served.certs / "bundle.pem"))
    client.converse(modelId="us.amazon.nova-lite-v1:0", messages=BODY["messages"])
    assert signed_by(aws) == (ORGANISATION[0], "sa-east-1")


def test_no_secret_of_a_pair_is_written(served):
    written = served.output.read_text() + json.dumps(served.events())
    assert TEAM[1] not in written
    assert ORGANISATION[1] not in written


def test_all_regions_begin_with_the_one_that_is_named_first(tmp_path):
    text = "providers: {bedrock: {regions: [eu-west-1, '*']}}"
    regions = loaded(tmp_path, text).providers.bedrock.regions
    assert regions[0] == "eu-west-1"
    assert set(regions) == set(all_regions())
    assert len(regions) == len(set(regions)) > 25
    assert loaded(tmp_path, "providers: {bedrock: {regions: ['*']}}").providers.bedrock.regions[0] == "us-east-1"


@pytest.mark.parametrize(
    ("host", "region", "found"),
    [
        (bedrock_host("us-east-1"), "eu-central-1", "bedrock-runtime.eu-central-1.amazonaws.com"),
        ("bedrock.us-east-1.amazonaws.com", "eu-central-1", "bedrock.eu-central-1.amazonaws.com"),
        ("bedrock-runtime-fips.us-east-1.amazonaws.com", "cn-north-1", "bedrock-runtime.cn-north-1.amazonaws.com.cn"),
        ("llm.corp.example", "eu-central-1", "bedrock-runtime.eu-central-1.amazonaws.com"),
    ],
)
def test_the_host_of_the_same_service_in_another_region(host, region, found):
    assert in_region(host, region) == found


@pytest.mark.parametrize(
    ("route", "message"),
    [
        ("{match: a, region: eu-west-1}", "region needs provider: bedrock"),
        ("{match: a, provider: openai, aws: {profile: x}}", "aws needs provider: bedrock"),
        ("{match: a, provider: bedrock, aws: {profile: x}, keys: [env:A]}", "aws is never used with keys"),
        ("{match: a, provider: bedrock, aws: {bearer: env:A}}", "put the reference into keys"),
        ("{match: a, provider: bedrock, region: nowhere}", "must be the name of an AWS region"),
    ],
)
def test_aws_settings_that_a_route_cannot_use(tmp_path, route, message):
    (found,) = problems(tmp_path, f"routes: [{route}]")
    assert message in found.message
