"""Events in the Open Cybersecurity Schema Framework: API Activity (class 6003) with the profile `ai_operation`. Pure.

The guide has the table of the fields. Other fields are in `unmapped`, by the names of the audit log.
"""

from __future__ import annotations

from datetime import datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from wirekey import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.audit.event import AuditEvent, EventValue

VERSION = "1.8.0"
CATEGORY, CLASS = 6, 6003
CREATE, READ, UPDATE, DELETE, OTHER = 1, 2, 3, 4, 99
ACTIVITIES = {
    "POST": (CREATE, "Create"),
    "GET": (READ, "Read"),
    "HEAD": (READ, "Read"),
    "PUT": (UPDATE, "Update"),
    "PATCH": (UPDATE, "Update"),
    "DELETE": (DELETE, "Delete"),
}
"""Method → activity: its number and its name."""
INFORMATIONAL, LOW, MEDIUM = (1, "Informational"), (2, "Low"), (3, "Medium")
SUCCESS, FAILURE = (1, "Success"), (2, "Failure")
UNKNOWN = "unknown"
MAPPED = frozenset(
    {
        *("id", "time", "duration_ms", "agent_id", "agent_role", "agent_type", "client", "provider", "operation"),
        *("method", "path", "upstream", "status", "outcome", "policy_reason", "model", "input_tokens", "output_tokens"),
        *("request_bytes", "response_bytes"),
    }
)
"""The fields of an event that have a place of their own."""


def api_activity(event: AuditEvent) -> Mapping[str, Any]:
    """Return an event as API Activity, as JSON values. Unknown values are left out."""
    method = str(event["method"] or "")
    activity, name = ACTIVITIES.get(method, (OTHER, method.capitalize() or UNKNOWN))
    succeeded = event["outcome"] == "completed"
    severity_id, severity = INFORMATIONAL if succeeded else MEDIUM if event["outcome"] == "denied" else LOW
    status_id, status = SUCCESS if succeeded else FAILURE
    code = event["status"]
    return known(
        {
            "activity_id": activity,
            "activity_name": name,
            "category_uid": CATEGORY,
            "category_name": "Application Activity",
            "class_uid": CLASS,
            "class_name": "API Activity",
            "type_uid": CLASS * 100 + activity,
            "type_name": f"API Activity: {name}",
            "time": milliseconds(event["time"]),
            "duration": rounded(event["duration_ms"]),
            "severity_id": severity_id,
            "severity": severity,
            "status_id": status_id,
            "status": status,
            "status_code": None if code is None else str(code),
            "status_detail": event["policy_reason"] or event["outcome"],
            "metadata": metadata(event),
            "actor": actor(event),
            "api": api(event),
            "src_endpoint": endpoint(event["client"]),
            "dst_endpoint": {"hostname": event["upstream"]} if event["upstream"] else None,
            "http_request": http_request(event),
            "http_response": None if code is None else known({"code": code, "body_length": event["response_bytes"]}),
            "ai_model": ai_model(event),
            "message_context": message_context(event),
            "unmapped": {field: value for field, value in event.items() if field not in MAPPED and value is not None},
        }
    )


def known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def milliseconds(time: EventValue) -> int:
    """Return a time of an event in Unix milliseconds."""
    return round(datetime.fromisoformat(str(time)).timestamp() * 1000)


def rounded(value: EventValue) -> int | None:
    """Return a number as an integer, or None."""
    return round(value) if isinstance(value, int | float) else None


def metadata(event: AuditEvent) -> dict[str, Any]:
    """Return what is known of the event itself."""
    return {
        "version": VERSION,
        "uid": event["id"],
        "product": {"name": "Wirekey", "vendor_name": "Wirekey", "version": __version__},
        "log_name": "audit",
        "original_time": event["time"],
        "profiles": ["ai_operation"],
    }


def actor(event: AuditEvent) -> dict[str, Any]:
    """Return the agent that called, or that it is not known."""
    agent, role = event["agent_id"], event["agent_role"]
    if agent is None:
        return {"app_name": UNKNOWN}
    groups = [{"name": role}] if role else None
    user = {"uid": agent, "name": agent, "type_id": OTHER, "type": event["agent_type"] or "Agent", "groups": groups}
    return {"user": known(user)}


def api(event: AuditEvent) -> dict[str, Any]:
    """Return the operation, the provider and the response."""
    code = event["status"]
    response = {"code": code, "error": None if event["outcome"] == "completed" else event["outcome"]}
    return known(
        {
            "operation": event["operation"] or event["method"] or UNKNOWN,
            "service": {"name": event["provider"]} if event["provider"] else None,
            "request": {"uid": event["id"]},
            "response": known(response) or None,
        }
    )


def endpoint(client: EventValue) -> dict[str, Any]:
    """Return where a call came from."""
    try:
        return {"ip": str(ip_address(str(client)))}
    except ValueError:
        return {"name": str(client) if client else UNKNOWN}


def http_request(event: AuditEvent) -> dict[str, Any]:
    """Return the head of the request."""
    url = {"path": event["path"]} if event["path"] else None
    return known({"http_method": event["method"], "url": url, "body_length": event["request_bytes"]})


def ai_model(event: AuditEvent) -> dict[str, Any] | None:
    """Return the model that was called, or None if the call has none."""
    return {"name": event["model"], "ai_provider": event["provider"] or UNKNOWN} if event["model"] else None


def message_context(event: AuditEvent) -> dict[str, Any] | None:
    """Return the tokens of a call, or None if they are unknown."""
    read, written = event["input_tokens"], event["output_tokens"]
    if read is None and written is None:
        return None
    total = read + written if isinstance(read, int) and isinstance(written, int) else None
    service = {"name": event["provider"] or UNKNOWN}
    tokens = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": total}
    return known({"uid": event["id"], "service": service, **tokens})
