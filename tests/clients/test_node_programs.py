"""Node programs that `wirekey exec` makes use the proxy, whatever module they take their connections from."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.conversation import HERE, install_node_packages, installed, run_behind_exec

AWS = """
  const { BedrockRuntimeClient, ConverseCommand } = %s('@aws-sdk/client-bedrock-runtime');
  const client = new BedrockRuntimeClient({ maxAttempts: 1 });
  const call = () => client.send(new ConverseCommand({
    modelId: 'amazon.nova-lite-v1:0', messages: [{ role: 'user', content: [{ text: 'hello' }] }] }));
"""
COUNT = (
    "(answers) => console.log(JSON.stringify(answers.map((answer) => answer.output.message.content[0].text.length)))"
)


def node(stage, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    install_node_packages()
    return run_behind_exec(stage.proxy, installed("node"), *arguments, "-e", text, folder=HERE / "node")


@pytest.mark.parametrize(
    ("load", "arguments"),
    [("require", ["--input-type=commonjs"]), ("await import", ["--input-type=module"])],
    ids=["commonjs", "module"],
)
def test_a_program_that_leaves_its_http2_session_open_ends_when_its_work_is_done(stage, load, arguments):
    said = node(stage, AWS % load + f"call().then((answer) => [answer]).then({COUNT})", *arguments)
    assert said.returncode == 0, said.stderr
    assert len(json.loads(said.stdout)) == 1
    assert [seen.protocol for seen in stage.simulator.seen] == ["h2"]


def test_concurrent_calls_over_http2_get_their_own_responses(stage):
    for kib in range(1, 21):
        stage.script(f"size={kib}KiB")
    said = node(
        stage,
        AWS % "require" + f"Promise.all(Array.from({{ length: 20 }}, call)).then({COUNT})",
        "--input-type=commonjs",
    )
    assert said.returncode == 0, said.stderr
    assert sorted(json.loads(said.stdout)) == [kib << 10 for kib in range(1, 21)]


def test_a_large_response_arrives_whole_although_the_sdk_sends_goaway_at_its_head(stage):
    """The SDK sends GOAWAY once it has the head of a response, and window updates for the rest of it after that."""
    stage.script("size=8MiB")
    said = node(stage, AWS % "require" + f"Promise.all([call()]).then({COUNT})", "--input-type=commonjs")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout) == [8 << 20]


@pytest.mark.parametrize(
    "call",
    [
        "fetch('https://api.openai.com/v1/models').then((answer) => answer.text())",
        "new Promise((_, fail) => require('node:https').get('https://api.openai.com/v1/models').on('error', fail))",
        "new Promise((_, fail) => require('node:http2').connect('https://api.openai.com').on('error', fail))",
    ],
    ids=["fetch", "https", "http2"],
)
def test_a_token_that_the_proxy_refuses_is_named_in_the_error(stage, call):
    text = f"{call}.catch((error) => console.log(String(error.cause ?? error)))"
    wrong = f"http://alice:wk_wrong@{stage.proxy.running.forward}"
    install_node_packages()
    variables = {"HTTPS_PROXY": wrong, "https_proxy": wrong}
    said = run_behind_exec(stage.proxy, installed("node"), "-e", text, variables=variables)
    sentence = "407 Proxy Authentication Required: unknown agent, see wirekey agents add"
    if call.startswith("fetch") and major_version() >= 24:
        sentence = "Request was cancelled"  # all that Node's own proxy support tells
    assert sentence in said.stdout


def major_version() -> int:
    version = subprocess.run([installed("node"), "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").partition(".")[0])


def test_what_never_goes_through_the_proxy_does_not(stage):
    url = f"{stage.simulator.url}/v1/models"
    text = f"""
      const call = (headers) => fetch('{url}', {{ headers }}).then((answer) => console.log(answer.status));
      call({{ authorization: 'Bearer not-a-key' }});
    """
    variables = {"NODE_EXTRA_CA_CERTS": str(stage.simulator.ca_file)}
    said = run_behind_exec(stage.proxy, installed("node"), "-e", text, variables=variables)
    assert said.stdout.strip() == "401", said.stderr
    assert not [event for event in stage.proxy.events() if event["id"] > stage.began]
