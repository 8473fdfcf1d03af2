"""The AWS CLI with the key pair that `wirekey exec` sets, and with a placeholder of a bearer key."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import installed, run_behind_exec
from tests.support.running import PROVIDER_KEYS

ASK = (
    "bedrock-runtime",
    "converse",
    "--model-id",
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "--messages",
    '[{"role": "user", "content": [{"text": "hello"}]}]',
)


def aws(stage, *variables: str) -> subprocess.CompletedProcess[str]:
    return run_behind_exec(stage.proxy, installed("env"), *variables, installed("aws"), *ASK)


@pytest.mark.parametrize("variables", [(), ("AWS_BEARER_TOKEN_BEDROCK=placeholder",)], ids=["pair", "bearer"])
def test_the_aws_cli_calls_converse_with_the_providers_key(stage, variables):
    response = aws(stage, *variables)
    assert response.returncode == 0, response.stderr
    assert json.loads(response.stdout)["stopReason"] == "end_turn"
    (seen,) = stage.simulator.seen
    assert (b"authorization", b"Bearer " + PROVIDER_KEYS["bedrock"].encode()) in seen.headers
    assert seen.target == "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"
    assert stage.proxy.finished_event(stage.began)["operation"] == "converse"


def test_the_aws_cli_prints_wirekeys_message_for_a_refusal(stage):
    address = f"http://{stage.proxy.running.forward}"
    response = aws(
        stage,
        f"HTTPS_PROXY={address}",
        f"https_proxy={address}",
        "AWS_MAX_ATTEMPTS=1",
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
    )
    assert response.returncode != 0
    assert "wirekey agents aws-key NAME" in response.stderr
    assert not stage.simulator.seen
