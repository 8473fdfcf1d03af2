"""Every operation that an SDK calls is known, with its kind; a path that is not documented is the operation `other`."""

import functools
import re
from collections import defaultdict

import pytest
from tests.providers.sdk_operations import of_botocore, of_gemini, of_mistral, of_stainless

from wirekey.core.body import Body
from wirekey.core.operation import Kind
from wirekey.providers.anthropic import requests as anthropic
from wirekey.providers.bedrock import services as bedrock
from wirekey.providers.gemini import requests as gemini
from wirekey.providers.mistral import requests as mistral
from wirekey.providers.openai import requests as openai
from wirekey.providers.paths import PathTable, read_rows
from wirekey.providers.registry import PROVIDERS

MODULES = {"openai": openai, "gemini": gemini, "anthropic": anthropic, "bedrock": bedrock, "mistral": mistral}
TABLES = {provider: module.ROUTES for provider, module in MODULES.items()}
AWS = ("bedrock-runtime", "bedrock", "bedrock-agent-runtime")
LEAST = {"openai": 350, "anthropic": 250, "gemini": 55, "bedrock": 150, "mistral": 250}

each_provider = pytest.mark.parametrize("provider", TABLES)


@functools.cache
def called_by_sdks():
    """Return provider → the operations that its SDK calls."""
    return {
        "openai": {each._replace(path=f"/v1{each.path}") for each in of_stainless("openai")},
        "anthropic": of_stainless("anthropic"),
        "gemini": of_gemini(),
        "mistral": of_mistral(),
        "bedrock": {operation for service in AWS for operation in of_botocore(service).values()},
    }


def find(provider, method, path):
    """Return the operation of a path whose placeholders stand for a name."""
    filled = path.replace("{}", "a1").replace("{id}", "a1").replace("{model}", "a1")
    headers = {"content-type": "multipart/form-data; boundary=x"}
    return PROVIDERS[provider].operations.match_operation(method, filled, headers)


@each_provider
def test_the_sources_of_the_sdks_are_read(provider):
    assert len(called_by_sdks()[provider]) > LEAST[provider]


@each_provider
def test_every_operation_that_an_sdk_calls_is_in_the_table(provider):
    """If this fails after an update of an SDK, it lists what is new. Add it to the provider's operations.txt."""
    found = {call: find(provider, call.method, call.path) for call in called_by_sdks()[provider]}
    new = sorted(call for call, operation in found.items() if operation is None or operation.kind is Kind.OTHER)
    assert new == []


@each_provider
def test_the_body_of_an_operation_is_read_if_its_sdk_sends_json(provider):
    unread = {"json": {Body.OPAQUE}, "form": {Body.JSON, Body.NONE}, "none": {Body.MULTIPART, Body.OPAQUE}}
    wrong = []
    for call in called_by_sdks()[provider]:
        operation = find(provider, call.method, call.path)
        # The SDK sends an empty object to some operations of Gemini, and describes an upload before its bytes.
        if operation.body in unread[call.body] and operation.name != "upload":
            wrong.append((call, operation.body))
    assert wrong == []


def test_each_operation_of_aws_belongs_to_its_own_service():
    for service in AWS:
        for call in of_botocore(service).values():
            operation = find("bedrock", call.method, call.path)
            assert bedrock.service_of(operation.name) == service, call


@each_provider
def test_a_name_has_one_kind_and_one_treatment_of_its_body(provider):
    found = defaultdict(set)
    for operation in TABLES[provider]:
        found[operation.name].add((operation.kind, operation.body))
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == {}


@each_provider
def test_no_row_of_a_table_hides_behind_another(provider):
    for method, path, name, body, kind in read_rows(MODULES[provider].__file__):
        raw = path.partition(":")[2] if provider == "bedrock" else path
        versioned = provider == "gemini" and "VERSION" not in raw
        raw = f"/v1beta{raw}" if versioned else raw.replace("VERSION", "v1beta")
        found = find(provider, method, raw)
        assert (found.name, found.body, found.kind) == (name, body, kind), path


KINDS = [
    ("openai", "POST /v1/vector_stores", "vector_stores.create", "storage"),
    ("openai", "POST /v1/assistants", "assistants.create", "storage"),
    ("openai", "POST /v1/threads/t1/runs", "threads.runs.create", "storage"),
    ("openai", "POST /v1/threads/runs", "threads.create_and_run", "storage"),
    ("openai", "POST /v1/conversations", "conversations.create", "storage"),
    ("openai", "POST /v1/videos", "videos.create", "inference"),
    ("openai", "GET /v1/videos/v1/content", "videos.content", "storage"),
    ("openai", "POST /v1/containers", "containers.create", "storage"),
    ("openai", "POST /v1/evals/e1/runs", "evals.runs.create", "storage"),
    ("openai", "POST /v1/fine_tuning/jobs", "fine_tuning.jobs.create", "storage"),
    ("openai", "POST /v1/realtime/client_secrets", "realtime.client_secrets.create", "administration"),
    ("openai", "POST /v1/organization/admin_api_keys", "organization.admin_api_keys.create", "administration"),
    ("openai", "GET /v1/organization/costs", "organization.costs.list", "administration"),
    ("gemini", "GET /v1beta/batches", "batches.list", "storage"),
    ("gemini", "POST /v1beta/models/gemini-2.5-flash:batchGenerateContent", "batchGenerateContent", "storage"),
    ("gemini", "POST /v1beta/models/text-embedding-004:embedContent", "embedContent", "inference"),
    ("gemini", "POST /v1beta/models/veo-3:predictLongRunning", "predictLongRunning", "inference"),
    ("gemini", "POST /v1beta/fileSearchStores/s1:importFile", "fileSearchStores.importFile", "storage"),
    ("gemini", "POST /v1beta/interactions", "interactions.create", "inference"),
    ("gemini", "POST /v1alpha/auth_tokens", "auth_tokens.create", "administration"),
    ("gemini", "GET /v1beta/models/veo-3/operations/o1", "operations.get", "storage"),
    ("gemini", "POST /v1beta/corpora", "corpora.create", "storage"),
    ("gemini", "POST /v1beta/tunedModels", "tunedModels.create", "storage"),
    ("gemini", "DELETE /v1beta/models/a", "models.delete", "storage"),
    ("anthropic", "GET /v1/organizations/me", "organizations.me", "administration"),
    ("anthropic", "POST /v1/organizations/invites", "organizations.invites.create", "administration"),
    ("anthropic", "POST /v1/skills", "skills.create", "storage"),
    ("anthropic", "POST /v1/sessions/s1/events", "sessions.events.create", "storage"),
    ("mistral", "POST /v1/fim/completions", "fim.completions", "inference"),
    ("mistral", "POST /v1/conversations", "conversations.start", "storage"),
    ("mistral", "POST /v1/conversations/c1", "conversations.append", "storage"),
    ("mistral", "POST /v1/client/sessions", "client.sessions.create", "administration"),
    ("mistral", "GET /v1/files/f1/url", "files.url.get", "administration"),
    ("mistral", "DELETE /v1/models/ft:open-mistral-7b:x", "models.delete", "storage"),
    ("bedrock", "POST /guardrail/g/version/1/apply", "apply-guardrail", "inference"),
    ("bedrock", "POST /async-invoke", "start-async-invoke", "storage"),
    ("bedrock", "GET /custom-models", "list-custom-models", "storage"),
    ("bedrock", "PUT /logging/modelinvocations", "put-model-invocation-logging-configuration", "administration"),
    ("bedrock", "POST /retrieveAndGenerateStream", "retrieve-and-generate-stream", "storage"),
    ("bedrock", "DELETE /inference-profiles/a", "delete-inference-profile", "administration"),
    (
        "bedrock",
        "GET /guardrails/arn:aws:bedrock:us-east-1:123456789012:guardrail%2Fg1",
        "get-guardrail",
        "administration",
    ),
]


@pytest.mark.parametrize(("provider", "request_line", "name", "kind"), KINDS)
def test_the_kind_of_an_operation(provider, request_line, name, kind):
    found = PROVIDERS[provider].operations.match_operation(*request_line.split(), {})
    assert (found.name, found.kind) == (name, kind)


OTHER = [
    ("openai", "PUT /v1/chat/completions", Body.OPAQUE),
    ("openai", "POST /chat/completions", Body.OPAQUE),
    ("openai", "GET /v1/models/a/b", Body.NONE),
    ("openai", "DELETE /v1/something/new", Body.NONE),
    ("openai", "PATCH /v1/something/new", Body.OPAQUE),
    ("anthropic", "GET /v1/messages", Body.NONE),
    ("anthropic", "POST /v1/complete", Body.OPAQUE),
    ("gemini", "GET /ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic", Body.NONE),
    ("gemini", "POST /v1beta/something:new", Body.OPAQUE),
    ("mistral", "POST /v1/something/new", Body.OPAQUE),
    ("bedrock", "POST /foundation-models", Body.OPAQUE),
    ("bedrock", "GET /foundation-models/a/b", Body.NONE),
]


@pytest.mark.parametrize(("provider", "request_line", "body"), OTHER)
def test_a_plain_target_that_is_not_documented_is_the_operation_other(provider, request_line, body):
    found = PROVIDERS[provider].operations.match_operation(*request_line.split(), {})
    assert (found.name, found.kind, found.body, found.model) == ("other", Kind.OTHER, body, None)


NEVER_OTHER = [
    ("openai", "POST /V1/chat/completions"),
    ("openai", "POST /v1/Chat/Completions"),
    ("openai", "POST /v1/chat/completions/"),
    ("openai", "POST /v1/vector_stores/../chat/completions"),
    ("openai", "POST /v1/new;x"),
    ("mistral", "POST /v1/FIM/completions"),
    ("openai", "POST /v1/new%2Fx"),
    ("openai", "POST /v1//new"),
    ("openai", "POST /"),
    ("openai", "HEAD /v1/new"),
    ("gemini", "POST /v1beta/models/gemini-2.5-pro:GenerateContent"),
    ("gemini", "POST /v9/models/gemini-2.5-pro:generateContent"),
    ("gemini", "POST /v1beta/Models/gemini-2.5-pro:countTokens"),
    ("anthropic", "POST /v1/Messages"),
    ("bedrock", "POST /Model/a/invoke"),
    ("bedrock", "POST /model/a/b/invoke"),
    ("bedrock", "POST /retrieveandgenerate"),
    ("bedrock", "GET /guardrails/arn:aws:bedrock:us-east-1:1:guardrail%2F..%2Fx"),
]


@pytest.mark.parametrize(("provider", "request_line"), NEVER_OTHER)
def test_an_odd_spelling_of_a_documented_path_is_no_operation(provider, request_line):
    assert PROVIDERS[provider].operations.match_operation(*request_line.split(), {}) is None


def test_only_a_method_override_of_google_hides_a_path():
    override = {"x-http-method-override": "DELETE"}
    assert PROVIDERS["gemini"].operations.match_operation("GET", "/v1beta/something", override) is None


def test_a_stream_in_two_directions_names_its_model_in_the_path_and_streams_its_events():
    path = "/model/amazon.nova-sonic-v1%3A0/invoke-with-bidirectional-stream"
    found = PROVIDERS["bedrock"].operations.match_operation("POST", path, {})
    assert (found.model, found.body, found.stream) == ("amazon.nova-sonic-v1:0", Body.EVENTS, True)


ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"


@pytest.mark.parametrize("written", [ARN, ARN.replace(":", "%3A")])
def test_a_bare_slash_in_an_arn_is_written_as_aws_needs_it(written):
    found = PROVIDERS["bedrock"].operations.match_operation("POST", f"/model/{written}/converse", {})
    assert (found.name, found.model) == ("converse", ARN)
    plain = PROVIDERS["bedrock"].operations.plain_target(f"/model/{written}/converse")
    assert plain == f"/model/{written.replace('/', '%2F')}/converse"
    assert PROVIDERS["bedrock"].operations.match_operation("POST", plain, {}) == found


@pytest.mark.parametrize(
    "path", ["/model/a/b/invoke", f"/model/{ARN}/../x/invoke", f"/model/{ARN}//invoke", "/model/a/invoke"]
)
def test_no_other_path_of_a_model_changes_its_meaning(path):
    plain = PROVIDERS["bedrock"].operations.plain_target(path)
    found = PROVIDERS["bedrock"].operations.match_operation("POST", path, {})
    assert found is None or (plain == path and found.model == "a")


def test_a_table_reads_its_rows_and_ignores_comments():
    rows = list(read_rows(openai.__file__))
    assert ("POST", "/v1/chat/completions", "chat.completions", Body.JSON, Kind.INFERENCE) in rows
    assert all(re.fullmatch(r"[A-Z]+", method) for method, *_ in rows)
    assert PathTable(rows).find("GET", "/v1/models/m1").model == "m1"
