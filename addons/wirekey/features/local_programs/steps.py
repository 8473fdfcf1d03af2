"""The facts of a call for a local program in addition to messages: the agent, the session and the project folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import structs

from wirekey.core.body import Body
from wirekey.core.calls.attempt_state import AttemptSteps
from wirekey.core.errors import Refusal
from wirekey.features.local_programs.bridge import AGENT_HEADER, FOLDER_HEADER, MODEL, PREFIX_HEADER, SESSION_HEADER
from wirekey.providers.json_edits import EditableBody

if TYPE_CHECKING:
    from mitmproxy import http

    from wirekey.core.calls.attempt_state import AttemptState, Fields, OpenedCall
    from wirekey.core.calls.settings import Settings
    from wirekey.core.routing.candidate import Candidate
    from wirekey.providers.json_edits import EditableObject

NAME = "gemini-cli-acp"
BAD_MODEL = Refusal(
    400,
    "malformed_body",
    "The name of the model cannot be given to a local program. It has letters, digits, dots, hyphens and underscores.",
)
MEMBERS = ("project_dir", "workspace_path", "cwd", "project")
"""Members of `extra_body` that name the project folder. SDKs add them to the request itself."""


@dataclass(frozen=True, slots=True)
class ProgramHeaders:
    """The headers by which the listener of local programs learns of a call. They hold no credential."""

    fields: tuple[tuple[bytes, bytes], ...]


def for_local_program(
    state: OpenedCall, attempt: AttemptState, request: http.Request, session_header: str | None
) -> AttemptState:
    """Return an attempt that a local program can answer: members that are not for the model move into headers.

    Raises Refusal(400) if the name of the model could be an option of the program.
    """
    call = state.call
    model = attempt.planned.candidate.model
    if not MODEL.fullmatch(model.name if model else attempt.model or ""):
        raise BAD_MODEL
    folder = state.workspace
    if call.operation and call.operation.body is Body.JSON:
        editable = EditableBody(attempt.body)
        named = taken_folder(editable.root)
        folder = folder or named
        attempt = structs.replace(attempt, body=editable.written())
    session = request.headers.get(session_header) if session_header else None
    values = {
        AGENT_HEADER: call.agent.id if call.agent else "",
        SESSION_HEADER: hashlib.sha256(session.encode()).hexdigest() if session else "",
        FOLDER_HEADER: quote(folder or ""),
        PREFIX_HEADER: quote(call.model_prefix),
    }
    headers = tuple((name.encode(), value.encode()) for name, value in values.items())
    return structs.replace(attempt, features=attempt.features.plus(ProgramHeaders(headers)))


def taken_folder(root: EditableObject) -> str | None:
    """Return the project folder that a request names, after its members were removed."""
    found: list[str] = []
    extra = root.child("extra_body") if root.members.starts("extra_body", b"{") else None
    for parent in filter(None, (extra, root)):
        for name in MEMBERS:
            if parent.members.starts(name, b'"'):
                found.append(parent.members.text(name) or "")
                parent.remove(name)
    if extra is not None and not extra.members.values:
        root.remove("extra_body")
    return next(filter(None, found), None)


class LocalProgramSteps(AttemptSteps):
    """The steps of each attempt at a local program."""

    def applies(self, candidate: Candidate) -> bool:
        """Return whether a local program answers the calls of a candidate."""
        return candidate.backend == NAME

    def begin(
        self, settings: Settings, state: OpenedCall, attempt: AttemptState, request: http.Request
    ) -> AttemptState:
        """Move members that are not for the model into headers. Raises Refusal(400)."""
        return for_local_program(state, attempt, request, settings.session_header)

    def wire_fields(self, attempt: AttemptState, fields: Fields) -> Fields:
        """Return the header fields with those for the listener, in place of any of the client's by their names."""
        found = attempt.features.find(ProgramHeaders)
        assert found
        names = {name.lower() for name, _ in found.fields}
        return [*(field for field in fields if field[0].lower() not in names), *found.fields]
