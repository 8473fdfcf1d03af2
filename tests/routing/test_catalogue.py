"""The models in the list, the call by which policy decides each, and the list in each format."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirekey.core.call import Agent, Call
from wirekey.core.model_name import ModelName
from wirekey.core.policy.input import build_input
from wirekey.core.routing.catalogue import as_call, catalogue
from wirekey.core.routing.routes import Route
from wirekey.providers.model_list import MOST_MODELS, MOST_ROWS, ListedModel, read_list
from wirekey.providers.registry import PROVIDERS

OPENAI = {"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1715367049, "owned_by": "system"}]}
GEMINI = {
    "models": [
        {
            "name": "models/gemini-2.5-flash",
            "displayName": "Gemini 2.5 Flash",
            "inputTokenLimit": 1048576,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
    ]
}
ANTHROPIC = {
    "data": [
        {
            "type": "model",
            "id": "claude-sonnet-4-5",
            "display_name": "Claude Sonnet 4.5",
            "created_at": "2025-09-29T00:00:00Z",
        }
    ],
    "has_more": False,
}
BEDROCK = {
    "modelSummaries": [
        {"modelId": "amazon.nova-lite-v1:0", "modelName": "Nova Lite", "inferenceTypesSupported": ["ON_DEMAND"]},
        {"modelId": "anthropic.claude-sonnet-4-5-v1:0", "inferenceTypesSupported": ["INFERENCE_PROFILE"]},
    ]
}
PROFILES = {
    "inferenceProfileSummaries": [
        {"inferenceProfileId": "us.anthropic.claude-sonnet-4-5-v1:0", "inferenceProfileName": "US Claude Sonnet 4.5"}
    ]
}

READ = [
    ("openai", OPENAI, [("gpt-4o", "", 1715367049)]),
    ("gemini", GEMINI, [("gemini-2.5-flash", "Gemini 2.5 Flash", 0)]),
    ("anthropic", ANTHROPIC, [("claude-sonnet-4-5", "Claude Sonnet 4.5", 1759104000)]),
    ("bedrock", BEDROCK, [("amazon.nova-lite-v1:0", "Nova Lite", 0)]),
    ("bedrock", PROFILES, [("us.anthropic.claude-sonnet-4-5-v1:0", "US Claude Sonnet 4.5", 0)]),
    (
        "openai",
        {"data": [{"id": "a"}, {"id": "a"}, {"id": 1}, {}, None, {"id": "x" * 300}, {"id": "ü"}]},
        [("a", "", 0)],
    ),
    ("anthropic", {"data": [{"id": "a", "created_at": "once"}]}, [("a", "", 0)]),
    ("openai", {"data": "a"}, []),
    ("openai", ["a"], []),
    ("openai", None, []),
]


@pytest.mark.parametrize(("provider", "document", "expected"), READ)
def test_a_list_is_read_as_far_as_it_can_be(provider, document, expected):
    entries = read_list(PROVIDERS[provider].models.read_model, document)
    assert [(entry.id, entry.name, entry.created) for entry in entries] == expected
    assert {entry.provider for entry in entries} <= {provider}


@pytest.mark.parametrize("row", [{"id": "gpt-4o"}, {"id": 7}], ids=["the same model", "no model"])
def test_only_so_many_rows_of_a_list_are_looked_at(row):
    looked_at = []

    def read_model(row):
        looked_at.append(row)
        return PROVIDERS["openai"].models.read_model(row)

    assert len(read_list(read_model, {"data": [{"id": "first"}, *[row] * 10 * MOST_ROWS]})) <= 2
    assert len(looked_at) == MOST_ROWS


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["data", "models", "id", "name", "created_at"]), inner)
    ),
)


@given(st.sampled_from(list(PROVIDERS)), json)
def test_reading_a_list_never_fails(provider, document):
    for entry in read_list(PROVIDERS[provider].models.read_model, document):
        assert PROVIDERS["openai"].models.write_model(entry)


LISTS = {
    "openai": read_list(PROVIDERS["openai"].models.read_model, OPENAI),
    "gemini": read_list(PROVIDERS["gemini"].models.read_model, GEMINI),
    "anthropic": read_list(PROVIDERS["anthropic"].models.read_model, ANTHROPIC),
    "bedrock": read_list(PROVIDERS["bedrock"].models.read_model, BEDROCK),
}

ROUTES = [
    ([], []),
    ([Route("r", "gpt-4*")], []),
    ([Route("r", "fast")], [("fast", "openai")]),
    ([Route("r", "fast", provider="anthropic")], [("fast", "anthropic")]),
    ([Route("r", "fast", model=ModelName("gemini-2.5-flash"))], [("fast", "gemini"), ("gemini-2.5-flash", "gemini")]),
    ([Route("r", "gemini-3")], [("gemini-3", "gemini")]),
    ([Route("r", "gpt-4*", model=ModelName("gpt-new"))], [("gpt-new", "openai")]),
    ([Route("r", "gpt-4o")], [("gpt-4o", "openai")]),
    ([Route("r", "one"), Route("r", "one", provider="gemini")], [("one", "openai")]),
]


@pytest.mark.parametrize(("routes", "first"), ROUTES)
def test_the_names_of_routes_are_first_and_each_name_is_listed_once(routes, first):
    listed = [(entry.id, entry.provider) for entry in catalogue(LISTS, routes)]
    assert listed[: len(first)] == first
    assert len(listed) == len(set(listed))
    assert {name for name, _ in listed} >= {
        "gpt-4o",
        "gemini-2.5-flash",
        "claude-sonnet-4-5",
        "amazon.nova-lite-v1:0",
    }


def test_without_any_list_the_names_of_routes_are_listed():
    assert [entry.id for entry in catalogue({}, [Route("r", "fast"), Route("r", "gpt-*")])] == ["fast"]


def test_a_model_that_no_operation_can_call_is_not_listed():
    live = ListedModel("gemini-live", "gemini", methods=("bidiGenerateContent",))
    assert catalogue(
        {"gemini": [live], "openai": [ListedModel("", "openai")], "bedrock": [ListedModel("a b", "bedrock")]}, []
    ) == (ListedModel("", "openai"),)


def test_the_number_of_models_is_bounded():
    many = [ListedModel(f"m{number}", "openai") for number in range(MOST_MODELS + 5)]
    assert len(catalogue({"openai": many}, [])) == MOST_MODELS


CALLS = [
    (ListedModel("gpt-4o", "openai"), "chat.completions", "/v1/chat/completions"),
    (ListedModel("text-embedding-3-small", "openai"), "embeddings", "/v1/embeddings"),
    (LISTS["gemini"][0], "generateContent", "/v1beta/models/gemini-2.5-flash:generateContent"),
    (
        ListedModel("gemini-embedding-001", "gemini", methods=("embedContent",)),
        "embedContent",
        "/v1beta/models/gemini-embedding-001:embedContent",
    ),
    (ListedModel("imagen-4", "gemini", methods=("predict",)), "predict", "/v1beta/models/imagen-4:predict"),
    (LISTS["anthropic"][0], "messages", "/v1/messages"),
    (LISTS["bedrock"][0], "converse", "/model/amazon.nova-lite-v1%3A0/converse"),
    (
        ListedModel("amazon.titan-embed-text-v2:0", "bedrock"),
        "invoke",
        "/model/amazon.titan-embed-text-v2%3A0/invoke",
    ),
]


@pytest.mark.parametrize(("entry", "operation", "path"), CALLS, ids=lambda value: getattr(value, "id", None))
def test_policy_decides_a_model_as_it_decides_a_call_of_it_by_the_agent(entry, operation, path):
    listing = Call(client="127.0.0.1", agent=Agent("alice", "engineer"), provider="openai", method="GET")
    asked = build_input(as_call(entry, listing), {"user-agent": "x"})
    assert (asked["provider"], asked["operation"], asked["path"]) == (entry.provider, operation, path)
    assert asked["target"] == f"/{entry.provider}{path}"
    assert (asked["model"], asked["action"], asked["agent_role"]) == (entry.id, "POST", "engineer")
    assert (asked["client"], asked["headers"], asked["id"]) == ("127.0.0.1", {"user-agent": "x"}, listing.id)


def test_a_model_in_its_own_format_has_its_providers_description():
    for shape, document, key in (
        ("openai", OPENAI, "data"),
        ("gemini", GEMINI, "models"),
        ("anthropic", ANTHROPIC, "data"),
    ):
        assert PROVIDERS[shape].models.write_models(LISTS[shape])[key] == document[key]


DESCRIBED = [
    (
        "openai",
        "anthropic",
        {"id": "claude-sonnet-4-5", "object": "model", "created": 1759104000, "owned_by": "anthropic"},
    ),
    (
        "openai",
        "bedrock",
        {"id": "amazon.nova-lite-v1:0", "object": "model", "created": 0, "owned_by": "amazon"},
    ),
    (
        "gemini",
        "anthropic",
        {"name": "models/claude-sonnet-4-5", "displayName": "Claude Sonnet 4.5", "supportedGenerationMethods": []},
    ),
    (
        "anthropic",
        "openai",
        {"type": "model", "id": "gpt-4o", "display_name": "gpt-4o", "created_at": "2024-05-10T18:50:49Z"},
    ),
    (
        "anthropic",
        "gemini",
        {
            "type": "model",
            "id": "gemini-2.5-flash",
            "display_name": "Gemini 2.5 Flash",
            "created_at": "1970-01-01T00:00:00Z",
        },
    ),
]


@pytest.mark.parametrize(("shape", "provider", "expected"), DESCRIBED)
def test_a_model_in_another_format_has_the_required_fields(shape, provider, expected):
    assert PROVIDERS[shape].models.write_model(LISTS[provider][0]) == expected


def test_a_route_name_of_a_gemini_model_has_its_supported_actions():
    fast = catalogue(LISTS, [Route("r", "fast", model=ModelName("gemini-2.5-flash"))])[0]
    assert PROVIDERS["gemini"].models.write_model(fast)["supportedGenerationMethods"] == [
        "generateContent",
        "countTokens",
    ]
    assert PROVIDERS["gemini"].models.write_model(fast)["name"] == "models/fast"
    assert PROVIDERS["gemini"].models.write_model(ListedModel("new", "gemini"))["supportedGenerationMethods"] == [
        "generateContent"
    ]


@pytest.mark.parametrize(
    ("name", "methods"), [("fast", ["generateContent", "countTokens"]), ("embed-fast", ["embedContent"])]
)
def test_a_model_that_a_route_translates_to_can_be_called_in_geminis_format(name, methods):
    route = Route("r", name, provider="anthropic", model=ModelName("claude-sonnet-4-5"))
    listed = catalogue(LISTS, [route])[0]
    assert PROVIDERS["gemini"].models.write_model(listed)["supportedGenerationMethods"] == methods
    refusing = catalogue(LISTS, [route], translates=False)[0]
    assert PROVIDERS["gemini"].models.write_model(refusing)["supportedGenerationMethods"] == []


def test_anthropics_list_has_only_one_page():
    assert PROVIDERS["anthropic"].models.write_models([]) == {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
    }
    assert PROVIDERS["anthropic"].models.write_models(LISTS["openai"])["last_id"] == "gpt-4o"
