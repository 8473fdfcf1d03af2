"""The credentials of a machine at Google and those of another issuer's workload, from their file to Code Assist.

The hosts of Google are the simulator, behind a proxy that leads every tunnel there. Nothing else is replaced.
"""

from __future__ import annotations

import json
from contextlib import ExitStack

import httpx
import pytest

from tests.support.company_proxy import company_proxy
from tests.support.google import stand_ins
from tests.support.running import KEY_ENVIRONMENT, PROVIDER_KEYS, SimulatorThread, Wirekey, behind
from tests.threats.conftest import beginning
from wirekey_simulator.google_identity import AUDIENCE, PROJECT, federated_token_of, service_account_token_of
from wirekey_simulator.google_metadata import GoogleMetadata
from wirekey_simulator.plain_http import serving

LISTEN = {"forward": "127.0.0.1:0", "gateway": "127.0.0.1:0", "console": None}
SUBJECT = "eyJ.canary-token-of-another-issuer.9f"
ROBOT = "robot@other-project.iam.gserviceaccount.com"
BODY = {"contents": [{"parts": [{"text": "Hi"}]}]}
EXTERNAL = {
    "type": "external_account",
    "audience": AUDIENCE,
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
}
IMPERSONATION = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ROBOT}:generateAccessToken"
TOKENS = {"federated": federated_token_of(SUBJECT), "impersonated": service_account_token_of(ROBOT)}


@pytest.fixture(scope="module")
def metadata():
    return GoogleMetadata()


@pytest.fixture(scope="module")
def simulator(tmp_path_factory, metadata):
    class Known:
        """The tokens that Google has issued."""

        def __contains__(self, token):
            return token in metadata.issued or token in TOKENS.values()

    keys = {name: [key] for name, key in PROVIDER_KEYS.items()}
    accepted = {"code_assist": Known(), "google_identity": [SUBJECT]}
    running = SimulatorThread(tmp_path_factory.mktemp("simulator"), keys=keys | accepted)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def start(tmp_path_factory, simulator):
    """A function that starts a Wirekey whose environment has credentials."""
    with ExitStack() as stack:
        proxy = stack.enter_context(company_proxy(("127.0.0.1", simulator.simulator.port)))

        def started(environ, **backend):
            folder = tmp_path_factory.mktemp("wirekey")
            settings = behind(
                simulator,
                listen=LISTEN,
                upstream_proxy=proxy.url,
                backends={"gemini-cli-cloud-project": {"enabled": True, **backend}},
            )
            own = {"HOME": str(folder), "CLOUDSDK_CONFIG": str(folder / "gcloud")}
            own |= stand_ins(code_assist=simulator.url)
            running = Wirekey(folder / "wirekey", settings, environ=KEY_ENVIRONMENT | own | environ)
            stack.callback(running.stop)
            running.token = running.add_agent("alice")
            return running

        yield started


def sent(simulator, running):
    """Make a call. Return its audit event, and the token and the project that Code Assist got."""
    simulator.forget()
    since = beginning()
    url = f"http://{running.running.gateway}/v1beta/models/gemini-cli-cloud-project%3Agemini-2.5-pro:generateContent"
    response = httpx.post(url, json=BODY, headers={"x-goog-api-key": running.token}, timeout=60)
    assert response.status_code == 200, response.text
    (seen,) = [seen for seen in simulator.seen if seen.provider == "code_assist"]
    headers = {name.decode().lower(): value.decode() for name, value in seen.headers}
    token = headers["authorization"].removeprefix("Bearer ")
    return running.finished_event(since), token, json.loads(seen.body)["project"]


def nowhere(running, *secrets):
    """Whether secrets are in no file of a Wirekey."""
    files = [path.read_bytes() for path in running.folder.rglob("*") if path.is_file()]
    return not any(secret.encode() in content for secret in secrets for content in files)


def test_a_machine_at_google_has_its_own_project_and_token(simulator, start, metadata):
    with serving(metadata) as url:
        place = url.removeprefix("http://")
        running = start({"GCE_METADATA_HOST": place, "GCE_METADATA_IP": place})
        event, token, project = sent(simulator, running)
        assert sent(simulator, running)[1] == token
    assert project == metadata.project
    assert metadata.issued == [token]
    assert event["credential"] == "gemini-cli-cloud-project/gemini-cli-cloud-project"
    assert nowhere(running, token)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("how", TOKENS)
def test_a_workload_of_another_issuer_exchanges_its_token(simulator, start, tmp_path, how, form):
    (tmp_path / "subject").write_text(SUBJECT if form == "text" else json.dumps({"own_token": SUBJECT}))
    source = {"file": str(tmp_path / "subject")}
    if form == "json":
        source["format"] = {"type": "json", "subject_token_field_name": "own_token"}
    content = EXTERNAL | {"credential_source": source}
    if how == "impersonated":
        content["service_account_impersonation_url"] = IMPERSONATION
    (tmp_path / "external.json").write_text(json.dumps(content))
    running = start(
        {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "external.json")},
        **({"project_id": "my-project"} if form == "json" else {}),
    )
    _, token, project = sent(simulator, running)
    assert token == TOKENS[how]
    assert project == ("my-project" if form == "json" else PROJECT)
    assert nowhere(running, SUBJECT, *TOKENS.values())


def test_a_token_that_google_does_not_exchange_is_said_at_the_start_without_a_quote(start, tmp_path):
    (tmp_path / "subject").write_text("canary-of-a-wrong-subject")
    content = EXTERNAL | {"credential_source": {"file": str(tmp_path / "subject")}}
    (tmp_path / "external.json").write_text(json.dumps(content))
    with pytest.raises(AssertionError, match="ended with") as failed:
        start({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "external.json")})
    assert "Google's credentials cannot be used" in str(failed.value)
    assert "canary-of-a-wrong-subject" not in str(failed.value)
