"""`/v1/files` and `/v1/uploads`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator.exchange import BadRequest, Json, SimulatedResponse, json_response
from wirekey_simulator.openai.form import read_form
from wirekey_simulator.openai.parameters import checked, required
from wirekey_simulator.openai.storage import LARGEST_KEPT, found
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from wirekey_simulator.openai.call import OpenAICall
    from wirekey_simulator.state import State

SHELF = "openai.files"
CONTENTS = "openai.files.contents"
UPLOADS = "openai.uploads"
PARTS = "openai.uploads.parts"
AN_HOUR = 3600


def create(call: OpenAICall) -> SimulatedResponse:
    """Store a file. If it was too large to keep, only the size of the request is known."""
    form = read_form(call.request)
    if not form.whole:
        return json_response(store_file(call.state, "large", "user_data", b"", size=call.request.size))
    file = form.file("file")
    return json_response(store_file(call.state, file.filename, form.required("purpose"), file.body))


def store_file(state: State, name: str, purpose: str, content: bytes, size: int | None = None) -> Json:
    """Store the metadata and, if small, the content of a file. `size`: bytes, if the content is not known."""
    file: Json = {
        "id": state.new_id("file-"),
        "object": "file",
        "bytes": len(content) if size is None else size,
        "created_at": CREATED,
        "expires_at": None,
        "filename": name,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }
    state.store(SHELF, file["id"], file)
    if len(content) <= LARGEST_KEPT:
        state.store(CONTENTS, file["id"], content)
    return file


def content(call: OpenAICall) -> SimulatedResponse:
    """Return the bytes of a file. The content of files larger than a mebibyte is not kept."""
    found(call.state, SHELF, call.key, "File")
    if call.key not in call.state.shelf(CONTENTS):
        raise BadRequest("The simulator keeps no contents of more than 1 MiB.", status=404)
    return SimulatedResponse(200, [("content-type", "application/octet-stream")], call.state.shelf(CONTENTS)[call.key])


def delete(call: OpenAICall) -> SimulatedResponse:
    """Delete a file."""
    found(call.state, SHELF, call.key, "File")
    del call.state.shelf(SHELF)[call.key]
    call.state.shelf(CONTENTS).pop(call.key, None)
    return json_response({"id": call.key, "object": "file", "deleted": True})


def begin_upload(call: OpenAICall) -> SimulatedResponse:
    """Create an upload."""
    body = call.request.json()
    upload: Json = {
        "id": call.state.new_id("upload_"),
        "object": "upload",
        "bytes": required(body, "bytes", int),
        "created_at": CREATED,
        "expires_at": CREATED + AN_HOUR,
        "filename": required(body, "filename", str),
        "purpose": required(body, "purpose", str),
        "status": "pending",
        "file": None,
    }
    required(body, "mime_type", str)
    call.state.store(UPLOADS, upload["id"], upload)
    return json_response(upload)


def add_part(call: OpenAICall) -> SimulatedResponse:
    """Add a part to an upload."""
    _pending(call.state, call.key)
    form = read_form(call.request)
    if not form.whole:
        raise BadRequest("A part must be at most 64 MiB.", status=413)
    part: Json = {
        "id": call.state.new_id("part_"),
        "object": "upload.part",
        "created_at": CREATED,
        "upload_id": call.key,
    }
    call.state.store(PARTS, part["id"], form.file("data").body)
    return json_response(part)


def complete_upload(call: OpenAICall) -> SimulatedResponse:
    """Join the parts of an upload into a file."""
    upload = _pending(call.state, call.key)
    shelf = call.state.shelf(PARTS)
    ids = required(call.request.json(), "part_ids", list)
    for index, part in enumerate(ids):
        checked(part, f"part_ids[{index}]", str)
    if unknown := [part for part in ids if part not in shelf]:
        raise BadRequest(f"No such part: {unknown[0]}", field="part_ids")
    whole = b"".join(shelf.pop(part) for part in dict.fromkeys(ids))
    if len(whole) != upload["bytes"]:
        raise BadRequest(f"Expected {upload['bytes']} bytes, but the parts have {len(whole)}.")
    upload |= {"status": "completed", "file": store_file(call.state, upload["filename"], upload["purpose"], whole)}
    return json_response(upload)


def cancel_upload(call: OpenAICall) -> SimulatedResponse:
    """Cancel an upload."""
    upload = _pending(call.state, call.key)
    upload["status"] = "cancelled"
    return json_response(upload)


def _pending(state: State, key: str) -> Json:
    upload: Json = found(state, UPLOADS, key, "Upload")
    if upload["status"] != "pending":
        raise BadRequest(f"The upload is {upload['status']}.")
    return upload
