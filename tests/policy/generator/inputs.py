"""Inputs as calls give them, and such in which a field is absent, null or of another type."""

import copy

from tests.support.policies import GEMINI, LISTING, WHOLE

MODELS = [
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-3.5-turbo",
    "gemini-2.0-flash",
    "gemini-2.5-pro",
    "claude-sonnet-4",
    "eu.nova",
    "",
]
ROLES = ["admin", "intern", "developer", "read-only"]
TYPES = ["autonomous", "interactive"]
TOOLS = ["search", "shell", "calculator", "web.fetch", "Search"]
PROVIDERS = ["openai", "gemini", "anthropic", "bedrock"]
OPERATIONS = ["chat.completions", "generateContent", "models.list", "files.list"]
PERMISSIONS = ["web:read", "web:write", "files"]
AGENTS = ["alice", "bob", "build-7"]

TEXTS = {
    "input.model": MODELS,
    "input.requested_model": MODELS,
    "input.provider": PROVIDERS,
    "input.operation": OPERATIONS,
    "input.agent.role": ROLES,
    "input.agent.type": TYPES,
    "input.agent.id": AGENTS,
    "input.agent_role": ROLES,
    "input.agent_type": TYPES,
    "input.mcp_server": [f"{provider}-proxy" for provider in PROVIDERS],
    "input.tool_name": [f"{provider}-api" for provider in PROVIDERS],
    "input.method": ["POST", "GET"],
    "input.action": ["POST", "GET"],
    'input.headers["user-agent"]': ["python", "curl/8.1", "Go-http-client"],
}
NUMBERS = ["input.max_tokens", "input.message_count", "input.tool_count"]
LISTS = {"input.tools": TOOLS, "input.other_models": MODELS, "input.agent.permissions": PERMISSIONS}
FLAGS = ["input.stream", "input.has_tools", "input.has_system"]
ODD = [
    None,
    True,
    False,
    0,
    7,
    -1.5,
    2.5,
    "",
    "7",
    "gpt-4o",
    [],
    ["gpt-4o"],
    [1, None],
    {},
    {"a": 1},
    {"role": "admin"},
]


def path_of(field):
    """Return a field's way into the input: `input.headers["x"]` is ("headers", "x")."""
    return tuple(part.strip('["]') for part in field.removeprefix("input.").replace('["', ".").split("."))


FIELDS = [path_of(field) for field in [*TEXTS, *NUMBERS, *LISTS, *FLAGS]]


def put(given, path, value):
    """Set a field, or remove it where `value` is `...`. Leave out fields below something that is no object."""
    *parents, name = path
    for part in parents:
        given = given.get(part)
        if not isinstance(given, dict):
            return
    if value is ...:
        given.pop(name, None)
    else:
        given[name] = copy.deepcopy(value)


def plain(random):
    """Return an input as a call gives it."""
    given = copy.deepcopy(random.choice([WHOLE, GEMINI, LISTING]))
    for field, values in TEXTS.items():
        if random.random() < 0.9:
            put(given, path_of(field), random.choice(values))
    for field in NUMBERS:
        put(given, path_of(field), random.choice([0, 1, 2, 3, 100, 1000, 5000]))
    for field in FLAGS:
        put(given, path_of(field), random.random() < 0.5)
    for field, values in LISTS.items():
        put(given, path_of(field), random.choices(values, k=random.choice([0, 1, 2, 3])))
    return given


def inputs(random, count):
    """Return inputs: half of them plain, the others with some fields absent, null or odd."""
    found = []
    for number in range(count):
        given = plain(random)
        if number % 2:
            for path in random.sample([*FIELDS, ("agent",), ("headers",)], random.choice([1, 1, 2, 4, 8])):
                put(given, path, random.choice([..., ..., ..., None, random.choice(ODD)]))
        found.append(given)
    if count > 4:
        found[-1] = random.choice([{}, {"agent": None}, {"model": random.choice(MODELS)}])
    return found


def varied(given):
    """Yield an input, and it with each field in turn absent, null or of each other type."""
    yield given
    paths = {*FIELDS, *((name,) for name in given)}
    for path in sorted(paths):
        for value in (..., *ODD):
            changed = copy.deepcopy(given)
            put(changed, path, value)
            if changed != given:
                yield changed
