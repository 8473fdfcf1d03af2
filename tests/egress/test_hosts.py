"""Which names are Bedrock's: those that botocore's own endpoint rules give, and no other."""

import ssl
import tempfile
from datetime import UTC, datetime

import pytest
from botocore.endpoint_provider import EndpointProvider
from botocore.loaders import Loader
from cryptography.hazmat.primitives.serialization import Encoding

from wirekey.core.ca.certificates import issue, make_certificates, read_certificates
from wirekey.core.egress.hosts import (
    DEFAULT_REGION,
    SERVICES,
    all_regions,
    bedrock_host,
    bedrock_hosts,
    partition_of,
    partitions,
    region_of,
)
from wirekey.providers.hosts import FIXED_HOSTS, provider_hosts, usual_hosts

REGIONS = sorted(region for partition in partitions() for region in partition.regions)

TABLE = [
    # host, service, region
    ("bedrock-runtime.us-east-1.amazonaws.com", "bedrock-runtime", "us-east-1"),
    ("bedrock-runtime-fips.us-east-1.amazonaws.com", "bedrock-runtime", "us-east-1"),
    ("bedrock-runtime.eu-central-2.api.aws", "bedrock-runtime", "eu-central-2"),
    ("bedrock-runtime-fips.us-west-2.api.aws", "bedrock-runtime", "us-west-2"),
    ("bedrock-runtime.us-gov-west-1.amazonaws.com", "bedrock-runtime", "us-gov-west-1"),
    ("bedrock-runtime-fips.us-gov-east-1.amazonaws.com", "bedrock-runtime", "us-gov-east-1"),
    ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "bedrock-runtime", "cn-north-1"),
    ("bedrock-runtime.cn-northwest-1.api.amazonwebservices.com.cn", "bedrock-runtime", "cn-northwest-1"),
    ("bedrock.us-east-1.amazonaws.com", "bedrock", "us-east-1"),
    ("bedrock-fips.us-gov-west-1.amazonaws.com", "bedrock", "us-gov-west-1"),
    ("bedrock-agent-runtime.ap-southeast-2.amazonaws.com", "bedrock-agent-runtime", "ap-southeast-2"),
    ("bedrock-runtime.eu-newtown-7.amazonaws.com", "bedrock-runtime", "eu-newtown-7"),
]

NO_HOSTS = [
    "",
    "amazonaws.com",
    "us-east-1.amazonaws.com",
    "bedrock-runtime.us-east-1.amazonaws.com.",
    "bedrock-runtime.us-east-1.amazonaws.com.evil.example",
    "bedrock-runtime.us-east-1.amazonaws.com.cn",
    "bedrock-runtime.us-east-1.evil.amazonaws.com",
    "evil.bedrock-runtime.us-east-1.amazonaws.com",
    "Bedrock-runtime.us-east-1.amazonaws.com",
    "bedrock-runtime.US-EAST-1.amazonaws.com",
    "bedrock-runtime.us-east-\N{DIGIT ONE}\N{COMBINING ACUTE ACCENT}.amazonaws.com",
    "bedrock-runtime.us-east-\N{ARABIC-INDIC DIGIT ONE}.amazonaws.com",
    "bedrock-runtime.us_east-1.amazonaws.com",
    "bedrock-runtime.us-east-1\n.amazonaws.com",
    "bedrock-runtime.xx-east-1.amazonaws.com",
    "bedrock-runtime.aws-global.amazonaws.com",
    "bedrock-runtime.amazonaws.com",
    "bedrock-runtime.cn-north-1.amazonaws.com",
    "bedrock-runtime.us-gov-west-1.amazonaws.com.cn",
    "bedrock-agent.us-east-1.amazonaws.com",
    "bedrock-agentcore.us-east-1.amazonaws.com",
    "bedrock-mantle.us-east-1.api.aws",
    "bedrock-runtime-fips-fips.us-east-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
    "iam.amazonaws.com",
    "s3.us-east-1.amazonaws.com",
    "bedrock-runtime.s3.us-east-1.amazonaws.com",
    "bedrock-runtime.us-east-1.vpce.amazonaws.com",
    "api.openai.com",
]


@pytest.mark.parametrize(("host", "service", "region"), TABLE)
def test_a_bedrock_host_has_a_service_and_a_region(host, service, region):
    assert region_of(host) == (service, region)
    assert provider_hosts([region])[host] == "bedrock"


@pytest.mark.parametrize("host", NO_HOSTS)
def test_similar_names_are_not_bedrock_hosts(host):
    assert region_of(host) is None
    assert provider_hosts(REGIONS).get(host) != "bedrock"


@pytest.mark.parametrize("service", SERVICES)
def test_the_names_are_those_that_botocores_endpoint_rules_give(service):
    loader = Loader()
    rules = EndpointProvider(loader.load_service_model(service, "endpoint-rule-set-1"), loader.load_data("partitions"))
    assert len(REGIONS) >= 40
    for region in REGIONS:
        urls = {
            rules.resolve_endpoint(Region=region, UseFIPS=fips, UseDualStack=dual).url
            for fips in (False, True)
            for dual in (False, True)
        }
        ours = {f"https://{host}" for host, found in bedrock_hosts(region).items() if found.service == service}
        assert ours == urls
    usual = rules.resolve_endpoint(Region="cn-north-1", UseFIPS=False, UseDualStack=False).url
    assert f"https://{service}.cn-north-1.amazonaws.com.cn" == usual


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("mx-central-1", "aws"),
        ("us-gov-east-1", "aws-us-gov"),
        ("cn-northwest-1", "aws-cn"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
        ("us-later-3", "aws"),
        ("cn-later-3", "aws-cn"),
    ],
)
def test_a_region_is_of_one_partition(region, partition):
    assert partition_of(region).name == partition


def test_a_name_in_two_regions_is_never_the_same():
    names = [host for region in REGIONS for host in bedrock_hosts(region)]
    assert len(names) == len(set(names))


def test_the_default_name_of_the_runtime_comes_first():
    assert bedrock_host("us-east-1") == "bedrock-runtime.us-east-1.amazonaws.com"
    assert bedrock_host("cn-north-1") == "bedrock-runtime.cn-north-1.amazonaws.com.cn"
    assert usual_hosts(["eu-west-1"]) == FIXED_HOSTS | {"bedrock-runtime.eu-west-1.amazonaws.com": "bedrock"}


def test_all_regions_are_those_of_the_usual_partition_and_begin_with_the_default_one():
    first, *others = all_regions()
    assert first == DEFAULT_REGION
    assert others == sorted(set(others) - {first})
    usual = {region for region in REGIONS if partition_of(region).name == "aws"}
    assert {first, *others} == usual
    assert "us-gov-west-1" not in usual


def test_an_invalid_region_has_no_hosts():
    with pytest.raises(ValueError, match="no AWS region"):
        bedrock_hosts("evil.example/")


def test_a_ca_for_every_region_of_aws_still_makes_handshakes():
    hosts = list(provider_hosts(REGIONS))
    pem = make_certificates(hosts, datetime.now(UTC))
    working, root = read_certificates(pem)
    # Java's clients take at most 32 KiB of certificates in a handshake.
    assert len(working.public_bytes(Encoding.DER)) < 28 * 1024
    for host in (bedrock_host("us-east-1"), "bedrock-agent-runtime-fips.us-gov-west-1.api.aws"):
        assert hand_shake(issue(pem, host, datetime.now(UTC)), root.public_bytes(Encoding.PEM).decode(), host)


def hand_shake(server_pem: bytes, root: str, host: str) -> bool:
    """Let OpenSSL's client check a server's chain for `host`, without a network."""
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(server_pem)
        file.flush()
        server_context.load_cert_chain(file.name)
    client_context = ssl.create_default_context(cadata=root)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname=host)
    waiting = {client, server}
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
    return not waiting
