"""Routing plans which models and upstreams are tried for a call, in which order, and how often."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.addon_flows import (
    CHAT,
    HOSTS,
    MESSAGES,
    MODEL_LIST,
    passed,
    recognised,
    refusal_of,
    request_flow,
    services_for,
)
from wirekey.core.addons.routing import Routing
from wirekey.core.body import Body
from wirekey.core.call import Agent
from wirekey.core.credentials.pool import KeyPool, ProviderKey
from wirekey.core.model_name import ModelName
from wirekey.core.operation import Kind, Operation
from wirekey.core.routing.candidate import Candidate, Upstream
from wirekey.core.routing.plan import Failover
from wirekey.core.routing.routes import Route, Routes
from wirekey.core.secret import Secret

DEFAULTS = {name: Candidate(name) for name in HOSTS.values()}
CORP = Upstream("llm.corp.example", configured=True)
ROUTES = (
    Route("routes[0]", "gpt-4o", model=ModelName("gpt-4o-mini")),
    Route("routes[1]", "corp-*", upstream=CORP, auth="none", failover=Failover(5)),
    Route("routes[2]", "gpt-5", fallback=(ModelName("gpt-5-mini"), ModelName("gpt-4o"))),
    Route("routes[3]", "not-enabled", provider="not-enabled"),
    Route("routes[4]", "gpt-*", model=ModelName("gpt-4.1")),
)
FILE = Operation("files.create", Body.OPAQUE, Kind.STORAGE)
VIDEO = Operation("videos.create", Body.JSON, Kind.INFERENCE)


def routing(**routes):
    return Routing(services_for(routes=Routes(DEFAULTS, ROUTES, **routes)))


async def planned(addon, operation=CHAT, *, agent=None, wanted=None, method="POST", headers=(), **body):
    """Return the flow of a call after the addon, and its plan."""
    flow = request_flow(method=method, **dict(headers))
    recognised(addon.services, flow, operation, **body).agent = agent
    addon.calls.state(flow).wanted_model = wanted
    await passed(addon, flow)
    return flow, addon.calls.state(flow).plan


@pytest.mark.parametrize(
    ("model", "wanted", "sent", "route"),
    [
        ("o3", None, [None], None),
        ("gpt-4o", None, ["gpt-4o-mini"], "routes[0]"),
        ("gpt-4o-mini", None, ["gpt-4.1"], "routes[4]"),
        ("gpt-5", None, [None, "gpt-4.1", "gpt-4o-mini"], "routes[2]"),
        ("o3", "gpt-4o", ["gpt-4o"], "routes[0]"),
        ("gpt-5", "o3", ["o3"], None),
    ],
    ids=["no route", "a route", "the first route matches", "fallbacks", "of the policy", "of the policy, no fallback"],
)
async def test_the_models_that_are_tried(model, wanted, sent, route):
    addon = routing()
    flow, plan = await planned(addon, model=model, wanted=wanted)
    assert [each.model and each.model.name for each in plan.candidates] == sent
    call = addon.calls.of(flow)
    assert (call.route, call.model) == (route, model)


async def test_a_route_names_another_upstream_and_its_own_number_of_attempts():
    _, plan = await planned(routing(), model="corp-large")
    (candidate,) = plan.candidates
    assert (candidate.upstream, candidate.auth, candidate.route) == (CORP, "none", "routes[1]")
    assert plan.failover == Failover(5)


@pytest.mark.parametrize(
    ("model", "refused"),
    [("not-enabled", (403, "backend_not_enabled")), ("o3", None)],
)
async def test_a_route_to_a_provider_that_is_not_enabled_is_refused(model, refused):
    addon = routing()
    flow, plan = await planned(addon, model=model)
    assert refusal_of(addon.services, flow) == refused
    assert (plan is None) == (refused is not None)


@pytest.mark.parametrize(
    ("operation", "method", "attempts"),
    [(CHAT, "POST", 3), (MODEL_LIST, "GET", 3), (FILE, "POST", 1), (FILE, "DELETE", 1), (VIDEO, "POST", 1)],
)
async def test_only_what_may_be_sent_twice_has_further_attempts(operation, method, attempts):
    addon = routing()
    flow = request_flow(method=method)
    recognised(addon.services, flow, CHAT if operation is FILE else operation, model="o3", prompt="A sea.")
    call = addon.calls.of(flow)
    call.operation, call.reads_body = operation, operation.body is Body.JSON
    await passed(addon, flow)
    assert addon.calls.state(flow).plan.failover.max_attempts == attempts


@pytest.mark.parametrize(
    ("header", "agent", "session"),
    [
        (None, Agent("alice"), "alice"),
        (None, None, None),
        ("one", Agent("alice"), "alice\none"),
        ("one", Agent("bob"), "bob\none"),
        ("one", None, "\none"),
    ],
)
async def test_a_session_is_of_one_agent_and_its_header(header, agent, session):
    pool = KeyPool([ProviderKey("openai/1", Secret("sk-1"))], selection="session-affinity")
    defaults = DEFAULTS | {"openai": replace(DEFAULTS["openai"], pool=pool)}
    addon = Routing(services_for(routes=Routes(defaults), session_header="x-session"))
    _, plan = await planned(addon, agent=agent, headers={"x_session": header} if header else {})
    assert plan.session == session


class Chooser:
    """An operator's function that chooses a model."""

    async def model(self, call, request, host):
        return ModelName(f"chosen-for-{call.model}")


@pytest.mark.parametrize(
    ("operation", "model", "sent"),
    [(CHAT, "o3", "chosen-for-o3"), (CHAT, "gpt-4o", "gpt-4o-mini"), (MODEL_LIST, None, None)],
)
async def test_the_operators_function_chooses_for_calls_whose_route_sets_no_model(operation, model, sent):
    addon = routing()
    addon.services.settings = replace(addon.services.settings, model_chooser=Chooser())
    _, plan = await planned(addon, operation, model=model)
    assert (plan.candidates[0].model and plan.candidates[0].model.name) == sent


async def test_a_request_is_not_changed_by_its_plan():
    addon, flow = routing(), request_flow("/v1/chat/completions?trace=1")
    recognised(addon.services, flow, model="gpt-4o")
    before, body = flow.request.get_state(), addon.calls.state(flow).body
    await passed(addon, flow)
    state = addon.calls.state(flow)
    assert flow.request.get_state() == before
    assert state.body is body
    assert state.original_target == b"/v1/chat/completions?trace=1"


async def test_an_upstream_of_another_format_is_refused_if_translation_is_off():
    routes = Routes(DEFAULTS, (Route("routes[0]", "*", provider="gemini"),), translates=False)
    addon = Routing(services_for(routes=routes))
    flow = request_flow("/v1/messages", "api.anthropic.com")
    recognised(addon.services, flow, MESSAGES, "anthropic")
    await passed(addon, flow)
    assert refusal_of(addon.services, flow) == (400, "format_not_offered")
