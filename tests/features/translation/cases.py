"""The golden cases: files of JSON in `cases/`, one list each."""

import json
from pathlib import Path

from wirekey.features.translation.formats import FORMATS
from wirekey.features.translation.state import StateReader

FOLDER = Path(__file__).parent / "cases"
STATES = StateReader(b"a key of this installation" * 2)
MODELS = {
    "openai.chat": "gpt-4o-mini",
    "openai.responses": "gpt-5",
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-sonnet-4-5",
    "converse": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "invoke": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
PLAIN = {
    "openai.chat": {"messages": [{"role": "user", "content": "Hi"}]},
    "openai.responses": {"input": "Hi"},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
    "anthropic": {"max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}]},
    "converse": {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]},
    "invoke": {
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 1000, "messages": [{"role": "user", "content": "Hi"}],
    },
}  # fmt: skip


def load(*kinds):
    """Return the cases of some kinds, by name."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        for case in json.loads(path.read_text()):
            if case["kind"] in kinds:
                assert case["name"] not in found, case["name"]
                found[case["name"]] = case
    return found


def dumped(value):
    """Return JSON text; `{"$raw": "1.10"}` is put in as it is."""
    if isinstance(value, dict):
        if value.keys() == {"$raw"}:
            return value["$raw"]
        return "{" + ",".join(f"{json.dumps(name)}:{dumped(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumped, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def model_of(case):
    return case.get("model") or MODELS[case["to"]]


def client_body(form, request, *, stream=False):
    """Return the bytes that a client of a format sends."""
    body = dict(request)
    if form in {"openai.chat", "openai.responses", "anthropic"}:
        body = {"model": "a-model", **body}
        if stream:
            body["stream"] = True
    return dumped(body).encode()


def formats(case):
    return FORMATS[case["from"]], FORMATS[case["to"]]
