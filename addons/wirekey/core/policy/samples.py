"""Sample calls on which a new policy is validated: with all fields, with few, and with another provider."""

from __future__ import annotations

import msgspec

_AGENT = {"agent_id": "sample", "agent_role": "sample", "agent_type": "sample"}
_WHOLE = {
    "id": "00000000-0000-7000-8000-000000000000",
    "time": "2026-01-31T12:00:00.000Z",
    **_AGENT,
    "agent": {"id": "sample", "role": "sample", "type": "sample", "permissions": ["web:read", "web:write"]},
    "client": "127.0.0.1",
    "provider": "openai",
    "operation": "chat.completions",
    "kind": "inference",
    "method": "POST",
    "path": "/v1/chat/completions",
    "mcp_server": "openai-proxy",
    "tool_name": "openai-api",
    "action": "POST",
    "target": "/openai/v1/chat/completions",
    "requested_model": "sample",
    "model": "sample",
    "stream": True,
    "message_count": 1,
    "has_system": True,
    "has_tools": True,
    "tool_count": 1,
    "tools": ["sample"],
    "other_models": ["sample"],
    "service_tier": "sample",
    "price_modifiers": ["service_tier=sample"],
    "max_tokens": 100,
    "headers": {"user-agent": "sample", "content-type": "application/json"},
    "labels": {"team": "sample"},
    "labels_unverified": {"session": "sample"},
    "labels_invalid": ["run"],
}
_LISTING = {
    **{name: _WHOLE[name] for name in ("id", "time", "client", "provider", "mcp_server", "tool_name")},
    "agent_id": "sample",
    "agent": {"id": "sample", "permissions": ["web:read"]},
    "operation": "models.list",
    "kind": "listing",
    "method": "GET",
    "path": "/v1/models",
    "action": "GET",
    "target": "/openai/v1/models",
    "stream": False,
    "tools": [],
    "other_models": [],
    "price_modifiers": [],
    "headers": {},
}
_GEMINI = {
    **_WHOLE,
    "provider": "gemini",
    "operation": "streamGenerateContent",
    "mcp_server": "gemini-proxy",
    "tool_name": "gemini-api",
    "target": "/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    "path": "/v1beta/models/gemini-2.5-flash:streamGenerateContent",
    "requested_model": "gemini-2.5-flash",
    "model": "gemini-2.5-flash",
}

SAMPLES = [msgspec.json.encode(call) for call in (_WHOLE, _LISTING, _GEMINI)]
