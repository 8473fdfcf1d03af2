"""The candidates of a call, by the routes of a configuration."""

import pytest

from tests.support.configuration import loaded
from wirekey.core.credentials.pool import KeyPool
from wirekey.core.routing.configured import provider_pools, routes_from
from wirekey.providers.registry import PROVIDERS

KEYS = {"A": "key-of-openai", "G": "key-of-gemini", "R": "key-of-the-route"}
PROVIDERS_WITH_KEYS = "providers: {openai: {keys: [env:A]}, gemini: {keys: [env:G]}}\n"
CHAT = ("openai", "POST /v1/chat/completions")
GEMINI_CHAT = ("gemini", "POST /v1beta/openai/chat/completions")
GENERATE = ("gemini", "POST /v1beta/models/m:generateContent")
MESSAGES = ("anthropic", "POST /v1/messages")


def routes(folder, text):
    config = loaded(folder, PROVIDERS_WITH_KEYS + text, KEYS)
    return routes_from(config, provider_pools(config, {}))


def candidates(routes, call, asked, wanted=None, named=None):
    called, line = call
    method, _, target = line.partition(" ")
    operation = PROVIDERS[called].operations.match_operation(method, target, {})
    return routes.candidates(called, operation, target.encode(), asked, wanted, named=named)


def shown(found):
    """Return for each candidate: route, model, provider, host, auth, label of the first key."""
    return [
        (
            each.route,
            str(each.model) if each.model else None,
            each.provider,
            each.upstream.host if each.upstream else None,
            each.auth,
            each.pool.keys[0].label if each.pool and each.pool.keys else None,
        )
        for each in found
    ]


DEFAULT = (None, None, "openai", None, "provider", "openai/1")
GEMINI = (None, None, "gemini", None, "provider", "gemini/1")
TABLE = [
    ("", CHAT, "gpt-4o", [DEFAULT]),
    ("routes: [{match: 'gpt-4*', model: gpt-4o-mini}]", CHAT, "gpt-5", [DEFAULT]),
    (
        "routes: [{match: 'gpt-4*', model: gpt-4o-mini}]",
        CHAT,
        "gpt-4o",
        [("routes[0]", "gpt-4o-mini", "openai", None, "provider", "openai/1")],
    ),
    (
        "routes: [{match: 'gpt-4?', model: b}, {match: 'gpt-4[ab]*', model: c}, {match: 'gpt-*', model: d}]",
        CHAT,
        "gpt-4b-x",
        [("routes[1]", "c", "openai", None, "provider", "openai/1")],
    ),
    ("routes: [{match: 'GPT-*', model: b}]", CHAT, "gpt-4", [DEFAULT]),
    (
        "routes: [{match: 'corp-*', upstream_url: https://llm.corp.example, auth: bearer, keys: [env:R]}]",
        CHAT,
        "corp-1",
        [("routes[0]", None, "openai", "llm.corp.example", "bearer", "routes[0]/1")],
    ),
    (
        "routes: [{match: 'corp-*', upstream_url: https://llm.corp.example, auth: none}]",
        MESSAGES,
        "corp-1",
        [("routes[0]", None, "anthropic", "llm.corp.example", "none", None)],
    ),
    (
        "routes: [{match: 'gpt-*', provider: openai, keys: [env:R]}]",
        CHAT,
        "gpt-4",
        [("routes[0]", None, "openai", None, "provider", "routes[0]/1")],
    ),
    (
        "routes: [{match: 'g*', auth: client}]",
        CHAT,
        "gpt-4",
        [("routes[0]", None, "openai", None, "client", "openai/1")],
    ),
    (
        "routes: [{match: 'gemini-*', provider: gemini}]",
        CHAT,
        "gemini-2.5-pro",
        [("routes[0]", None, "gemini", None, "provider", "gemini/1")],
    ),
    (
        "routes: [{match: gemini-2.5-pro, fallback: [gemini-2.5-flash]}]",
        GENERATE,
        "gemini-2.5-pro",
        [
            ("routes[0]", None, "gemini", None, "provider", "gemini/1"),
            ("routes[0]", "gemini-2.5-flash", "gemini", None, "provider", "gemini/1"),
        ],
    ),
    (
        "routes: [{match: a, fallback: [b, c]}, {match: b, model: bb, upstream_url: https://b.example, auth: none}]",
        CHAT,
        "a",
        [
            ("routes[0]", None, "openai", None, "provider", "openai/1"),
            ("routes[1]", "bb", "openai", "b.example", "none", None),
            ("routes[0]", "c", "openai", None, "provider", "openai/1"),
        ],
    ),
    (
        "routes: [{match: corp*, upstream_url: https://b.example, auth: none, model: corp-x, fallback: [corp-small]}]",
        CHAT,
        "corp-1",
        [
            ("routes[0]", "corp-x", "openai", "b.example", "none", None),
            ("routes[0]", "corp-small", "openai", "b.example", "none", None),
        ],
    ),
    (
        "routes: [{match: gpt-4o, fallback: ['gemini:gemini-2.5-flash']}]",
        CHAT,
        "gpt-4o",
        [
            ("routes[0]", None, "openai", None, "provider", "openai/1"),
            ("routes[0]", "gemini:gemini-2.5-flash", "gemini", None, "provider", "gemini/1"),
        ],
    ),
    ("model_override: x", CHAT, "gpt-4o", [(None, "x", "openai", None, "provider", "openai/1")]),
    ("model_override: x", CHAT, None, [(None, "x", "openai", None, "provider", "openai/1")]),
    (
        "{model_override: x, routes: [{match: a, model: y}, {match: b, fallback: [c]}]}",
        CHAT,
        "a",
        [("routes[0]", "y", "openai", None, "provider", "openai/1")],
    ),
    (
        "{model_override: x, routes: [{match: a, model: y}, {match: b, fallback: [c]}]}",
        CHAT,
        "b",
        [
            ("routes[1]", "x", "openai", None, "provider", "openai/1"),
            ("routes[1]", "c", "openai", None, "provider", "openai/1"),
        ],
    ),
    # A call that names no model, and one that cannot name any.
    ("routes: [{match: '*', model: x}]", CHAT, None, [("routes[0]", "x", "openai", None, "provider", "openai/1")]),
    ("routes: [{match: 'gpt-*', model: x}]", CHAT, None, [DEFAULT]),
    ("routes: [{match: '*', model: x}]", ("openai", "GET /v1/files"), None, [DEFAULT]),
    ("routes: [{match: '*', model: x}]", ("openai", "GET /v1/models"), None, [DEFAULT]),
    (
        "routes: [{match: 'corp-*', model: x, upstream_url: https://b.example, auth: none, fallback: [c]}]",
        ("openai", "GET /v1/models/corp-1"),
        "corp-1",
        [("routes[0]", None, "openai", "b.example", "none", None)],
    ),
]


def joined(text):
    """Add a table's flow mapping to the providers."""
    return text[1:-1].replace(", routes:", "\nroutes:") if text.startswith("{") else text


@pytest.mark.parametrize(("text", "call", "asked", "expected"), TABLE)
def test_a_call_has_these_candidates(tmp_path, text, call, asked, expected):
    assert shown(candidates(routes(tmp_path, joined(text)), call, asked)) == expected


def test_a_model_required_by_policy_uses_its_own_route_and_no_other_model_is_sent(tmp_path):
    text = """
model_override: x
routes:
  - {match: a, model: y, fallback: [b]}
  - {match: 'corp-*', upstream_url: 'https://llm.corp.example', auth: none, model: z, fallback: [b]}
"""
    found = candidates(routes(tmp_path, text), CHAT, "a", wanted="corp-1")
    assert shown(found) == [("routes[1]", "corp-1", "openai", "llm.corp.example", "none", None)]
    assert shown(candidates(routes(tmp_path, text), CHAT, "a", wanted="m")) == [
        (None, "m", "openai", None, "provider", "openai/1")
    ]


PREFIXED = """
default_backend: null
routes:
  - {match: 'gpt-*', provider: gemini, model: gemini-2.5-pro}
  - {match: 'gpt-*', upstream_url: https://b.example, auth: none, fallback: ['gemini:gpt-4o', gpt-4o]}
"""


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, [("routes[0]", "gemini-2.5-pro", "gemini", None, "provider", "gemini/1")]),
        ("gemini", [("routes[0]", "gemini-2.5-pro", "gemini", None, "provider", "gemini/1")]),
        (
            "openai",
            [
                ("routes[1]", None, "openai", "b.example", "none", None),
                ("routes[0]", "gemini-2.5-pro", "gemini", None, "provider", "gemini/1"),
                ("routes[0]", "gemini-2.5-pro", "gemini", None, "provider", "gemini/1"),
            ],
        ),
    ],
)
def test_a_prefix_comes_before_the_provider_of_a_route(tmp_path, named, expected):
    """A route without a provider still applies, and so does one to the provider of the prefix."""
    assert shown(candidates(routes(tmp_path, PREFIXED), CHAT, "gpt-4o", named=named)) == expected


def test_a_prefix_comes_before_the_default_backend_and_not_before_a_model_required_by_policy(tmp_path):
    text = "routes: [{match: 'gpt-*', provider: gemini}]"
    (found,) = candidates(routes(tmp_path, text), CHAT, "other", wanted="gpt-4o", named="openai")
    assert (found.route, found.provider) == ("routes[0]", "gemini")


def test_a_model_name_of_a_client_is_matched_completely(tmp_path):
    found = routes(tmp_path, "routes: [{match: 'a*', model: x}]")
    assert candidates(found, CHAT, "b\na")[0].route is None
    assert candidates(found, CHAT, "a\nb")[0].route == "routes[0]"


def test_cool_downs_survive_a_reload_of_the_configuration(tmp_path):
    text = "routes: [{match: a, upstream_url: 'https://x.example', auth: bearer, keys: [env:A, env:R]}]"
    previous = routes(tmp_path, text)
    previous.routes[0].pool.record_status(previous.routes[0].pool.keys[1], 429, 500, 0)
    moved = "routes: [{match: z}, {match: a, upstream_url: 'https://x.example', auth: bearer, keys: [env:R, env:A]}]"
    config = loaded(tmp_path, PROVIDERS_WITH_KEYS + moved, KEYS)
    pool = routes_from(config, provider_pools(config, {}), previous).routes[1].pool
    assert [key.cooling_until for key in pool.keys] == [500, 0]


def test_each_route_has_its_own_timeouts_and_attempts(tmp_path):
    text = """
failover: {max_attempts: 5, max_seconds: 30, max_retry_after: 1}
routes:
  - {match: a, timeouts: {first_byte: 7}, failover: {max_attempts: 1}}
  - {match: b, timeouts: {connect: 1, first_byte: 2, idle: 3, total: 4}}
"""
    found = routes(tmp_path, text)
    (first,), (second,) = candidates(found, CHAT, "a"), candidates(found, CHAT, "b")
    assert (first.limits.connect, first.limits.first_byte, first.limits.total) == (None, 7, None)
    assert (first.failover.max_attempts, first.failover.max_seconds, first.failover.max_retry_after) == (1, 30, 1)
    assert (second.limits.connect, second.limits.first_byte, second.limits.idle, second.limits.total) == (1, 2, 3, 4)
    assert second.failover.max_attempts == 5


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("selection: random", "random"),
        ("", "first-available"),
    ],
)
def test_the_key_selection_of_a_route_defaults_to_its_providers(tmp_path, text, selection):
    providers = "providers: {openai: {keys: [env:A], selection: first-available}}\n"
    providers += "session_affinity: {ttl: 5, max_sessions: 7}\n"
    config = loaded(
        tmp_path, f"{providers}routes: [{{match: a, provider: openai, keys: [env:R], {text or 'model: b'}}}]", KEYS
    )
    pool = routes_from(config, provider_pools(config, {})).routes[0].pool
    assert isinstance(pool, KeyPool)
    assert (pool.selection, pool.sessions.ttl, pool.sessions.entries) == (selection, 5, 7)
