"""Real clients that sign with the pair that `wirekey exec` sets, and say in no other way who they are.

The simulator recomputes the signature made with the real pair. The AWS CLI has no streaming operations of Bedrock.
"""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from tests.support.aws_signing import HOST, MODELS, REAL, proxy, simulator
from tests.support.conversation import HERE, install_node_packages, installed, run_behind_exec
from wirekey.core.call import new_call_id

__all__ = ["proxy", "simulator"]

INVOKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
MESSAGES = [{"role": "user", "content": [{"text": "hello"}]}]
OPERATIONS = ("invoke", "invoke-with-response-stream", "converse", "converse-stream")
NODE = """
  import * as aws from '@aws-sdk/client-bedrock-runtime';
  import { NodeHttpHandler } from '@smithy/node-http-handler';
  const { models, invoked, messages, http1 } = JSON.parse(process.argv[1]);
  const client = new aws.BedrockRuntimeClient({
    maxAttempts: 1, ...(http1 ? { requestHandler: new NodeHttpHandler() } : {}) });
  const said = [];
  for (const modelId of models) {
    const asked = { modelId, body: JSON.stringify(invoked), contentType: 'application/json' };
    const whole = await client.send(new aws.InvokeModelCommand(asked));
    said.push(whole.body.transformToString().length > 0);
    const pieces = await client.send(new aws.InvokeModelWithResponseStreamCommand(asked));
    let last;
    for await (const piece of pieces.body) last = new TextDecoder().decode(piece.chunk.bytes);
    said.push(last.includes('amazon-bedrock-invocationMetrics'));
    said.push((await client.send(new aws.ConverseCommand({ modelId, messages }))).usage.outputTokens > 0);
    let usage;
    for await (const event of (await client.send(new aws.ConverseStreamCommand({ modelId, messages }))).stream)
      usage = event.metadata?.usage ?? usage;
    said.push(usage.outputTokens > 0);
  }
  client.destroy();
  console.log(JSON.stringify(said));
"""
CURL = """
  next=--fail-early
  for path; do
    case $path in */invoke*) body=$INVOKED;; *) body=$CONVERSED;; esac
    set -- "$@" "$next" -sS -i --fail-with-body --aws-sigv4 aws:amz:us-east-1:bedrock \\
      --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H 'Content-Type: application/json' \\
      -d "$body" "https://$HOST/model/$path"
    next=--next
    shift
  done
  exec "$CURL" "$@"
"""
"""One curl for all paths: each start would read the roots again."""


@pytest.fixture(autouse=True)
def began(proxy, simulator):
    simulator.forget()
    proxy.began = new_call_id()


def run(proxy, *command: str, folder=None, **variables: str) -> str:
    """Run a program behind Wirekey, the proxy's URL without an agent in it; give what it printed."""
    address = f"http://{proxy.running.forward}"
    nobody = {"HTTPS_PROXY": address, "https_proxy": address, **variables}
    ended = run_behind_exec(proxy, *command, variables=nobody, folder=folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for secret in REAL:
        assert secret not in ended.stdout + ended.stderr
    return ended.stdout


def all_were_alices(proxy, simulator, targets: list[str], protocol: str | None = None):
    """Assert that these arrived in this order, signed with the real pair and with nothing of the agent's."""
    seen = simulator.seen
    assert [request.target for request in seen] == targets
    for request in seen:
        text = str(request.headers)
        assert f"Credential={REAL[0]}/" in text
        assert proxy.pair.access_key not in text
        assert protocol in (None, request.protocol)
    events = proxy.finished_events(len(targets), proxy.began)
    assert {(event["agent_id"], event["credential"], event["outcome"], event["status"]) for event in events} == {
        ("alice", "bedrock/aws", "completed", 200)
    }


@pytest.mark.parametrize(("http1", "protocol"), [(False, "h2"), (True, "h1")])
def test_the_sdk_for_node_signs_with_the_pair_over_either_handler(proxy, simulator, http1, protocol):
    install_node_packages()
    options = {"models": MODELS, "invoked": INVOKED, "messages": MESSAGES, "http1": http1}
    said = run(
        proxy,
        *(installed("node"), "--input-type=module", "-e", NODE, json.dumps(options)),
        folder=HERE / "node",
    )
    assert json.loads(said) == [True] * 12
    targets = [f"/model/{quote(model, safe='')}/{operation}" for model in MODELS for operation in OPERATIONS]
    all_were_alices(proxy, simulator, targets, protocol)


@pytest.mark.parametrize("model", MODELS)
def test_the_aws_cli_signs_with_the_pair(proxy, simulator, model):
    ask = ("converse", "--messages", json.dumps(MESSAGES))
    said = run(proxy, installed("aws"), "bedrock-runtime", *ask, "--model-id", model, "--debug")
    assert json.loads(said)["usage"]["outputTokens"]
    all_were_alices(proxy, simulator, [f"/model/{quote(model, safe='')}/converse"])


def test_the_aws_cli_invokes_too(proxy, simulator, tmp_path):
    (tmp_path / "body").write_text(json.dumps(INVOKED))
    response = tmp_path / "answer"
    ask = ("invoke-model", "--model-id", MODELS[0], "--body", f"fileb://{tmp_path / 'body'}", str(response))
    run(proxy, installed("aws"), "bedrock-runtime", *ask)
    assert json.loads(response.read_text())["usage"]["output_tokens"]
    all_were_alices(proxy, simulator, [f"/model/{quote(MODELS[0], safe='')}/invoke"])


def test_curl_signs_with_the_pair_whatever_is_encoded_in_the_path(proxy, simulator):
    spelled = [quote(model, safe="") for model in MODELS]
    # A `/` within a model's id is always encoded: else it would be one between two parts of the path.
    spelled += [quote(model, safe=":") for model in MODELS]
    paths = [f"{spelling}/{operation}" for spelling in spelled for operation in OPERATIONS]
    said = run(
        proxy,
        *(installed("sh"), "-c", CURL, "sh", *paths),
        INVOKED=json.dumps(INVOKED),
        CONVERSED=json.dumps({"messages": MESSAGES}),
        HOST=HOST,
        CURL=installed("curl"),
    )
    assert said.count("application/vnd.amazon.eventstream") == len(paths) / 2
    assert said.count(":event-type") > len(paths)
    all_were_alices(proxy, simulator, [f"/model/{path}" for path in paths])
