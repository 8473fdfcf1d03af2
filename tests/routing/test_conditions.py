"""Conditions of routes: which calls meet them, and that a route without any asks nothing."""

import pytest

from wirekey.core.body import Body
from wirekey.core.call import Agent
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate
from wirekey.core.routing.conditions import Conditions
from wirekey.core.routing.routes import Route, Routes
from wirekey.providers.formats import FORMATS
from wirekey.providers.registry import PROVIDERS, owner_of_model

ALICE = Agent("alice", "engineer")
HOLD = [
    (Conditions(), True),
    (Conditions(formats=["openai.chat"]), True),
    (Conditions(formats=["openai.*"]), True),
    (Conditions(formats=["gemini", "openai.chat"]), True),
    (Conditions(formats=["anthropic"]), False),
    (Conditions(operations=["chat.*"]), True),
    (Conditions(operations=["embeddings"]), False),
    (Conditions(providers=["gemini"]), True),
    (Conditions(providers=["openai"]), False),
    (Conditions(agents=["ali*"]), True),
    (Conditions(agents=["bob"]), False),
    (Conditions(roles=["engineer"]), True),
    (Conditions(roles=["intern"]), False),
    (Conditions(formats=["openai.chat"], roles=["intern"]), False),
    (Conditions(formats=["openai.chat"], agents=["alice"], roles=["engineer"]), True),
]


def operation(name):
    return Operation(name, Body.JSON, Kind.INFERENCE)


@pytest.mark.parametrize(("conditions", "held"), HOLD)
def test_conditions_hold_only_together(conditions, held):
    assert conditions.hold(operation("chat.completions"), "gemini", ALICE) is held


@pytest.mark.parametrize("conditions", [Conditions(agents=["*"]), Conditions(roles=["*"]), Conditions(formats=["*"])])
def test_a_condition_on_what_is_unknown_does_not_hold(conditions):
    assert not conditions.hold(operation("embeddings"), "openai", None)


def test_every_operation_of_a_format_is_one_of_a_provider():
    paths = {
        "openai": "/v1/{}",
        "anthropic": "/v1/{}",
        "gemini": "/v1beta/models/m:{}",
        "bedrock": "/model/m/{}",
    }
    for names in ((*form.conversations, *form.counts, *form.others) for form in FORMATS.values()):
        for name in names:
            written = name.replace(".", "/")
            found = [
                PROVIDERS[provider].operations.match_operation("POST", path.format(written), {})
                for provider, path in paths.items()
            ]
            assert any(each is not None and each.name == name for each in found), name


def test_the_first_route_whose_conditions_hold_is_taken():
    routes = Routes(
        {"openai": Candidate("openai")},
        [
            Route("for interns", "*", conditions=Conditions(roles=["intern"])),
            Route("for chats", "gpt-*", conditions=Conditions(formats=["openai.chat"])),
            Route("for all", "gpt-*"),
        ],
    )
    chat, embeddings = operation("chat.completions"), operation("embeddings")
    assert routes.find("gpt-5", chat, "openai", ALICE).label == "for chats"
    assert routes.find("gpt-5", embeddings, "openai", ALICE).label == "for all"
    assert routes.find("gpt-5", chat, "openai", Agent("dora", "intern")).label == "for interns"
    assert routes.find("other", chat, "openai", ALICE) is None


@pytest.mark.parametrize(
    ("model", "default", "owner"),
    [
        ("gemini-2.5-flash", "bedrock", "gemini"),
        ("gemma-3-27b-it", "gemini", "gemini"),
        ("gemma-3-27b-it", None, "openai"),
    ],
)
def test_the_default_backend_has_the_models_of_nobody(model, default, owner):
    assert owner_of_model(model, default) == owner
