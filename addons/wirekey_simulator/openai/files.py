"""`/v1/files` and `/v1/uploads`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey_simulator.exchange import Answer, BadRequest, Json, json_answer
from wirekey_simulator.openai.form import read_form
from wirekey_simulator.openai.parameters import checked, required
from wirekey_simulator.openai.storage import LARGEST_KEPT, found
from wirekey_simulator.state import CREATED

if TYPE_CHECKING:
    from wirekey_simulator.openai.asked import Asked
    from wirekey_simulator.state import State

SHELF = "openai.files"
CONTENTS = "openai.files.contents"
UPLOADS = "openai.uploads"
PARTS = "openai.uploads.parts"
AN_HOUR = 3600


def create(asked: Asked) -> Answer:
    """Store a file. Of one that was too large to be held only the size of the request is known."""
    form = read_form(asked.request)
    if not form.whole:
        return json_answer(store_file(asked.state, "large", "user_data", b"", size=asked.request.size))
    file = form.file("file")
    return json_answer(store_file(asked.state, file.filename, form.required("purpose"), file.body))


def store_file(state: State, name: str, purpose: str, content: bytes, size: int | None = None) -> Json:
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


def content(asked: Asked) -> Answer:
    """Give the bytes of a file; of one larger than a mebibyte they were not kept."""
    found(asked.state, SHELF, asked.key, "File")
    if asked.key not in asked.state.shelf(CONTENTS):
        raise BadRequest("The simulator keeps no contents of more than 1 MiB.", status=404)
    return Answer(200, [("content-type", "application/octet-stream")], asked.state.shelf(CONTENTS)[asked.key])


def delete(asked: Asked) -> Answer:
    found(asked.state, SHELF, asked.key, "File")
    del asked.state.shelf(SHELF)[asked.key]
    asked.state.shelf(CONTENTS).pop(asked.key, None)
    return json_answer({"id": asked.key, "object": "file", "deleted": True})


def begin_upload(asked: Asked) -> Answer:
    body = asked.request.json()
    upload: Json = {
        "id": asked.state.new_id("upload_"),
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
    asked.state.store(UPLOADS, upload["id"], upload)
    return json_answer(upload)


def add_part(asked: Asked) -> Answer:
    _pending(asked.state, asked.key)
    form = read_form(asked.request)
    if not form.whole:
        raise BadRequest("A part must be at most 64 MiB.", status=413)
    part: Json = {
        "id": asked.state.new_id("part_"),
        "object": "upload.part",
        "created_at": CREATED,
        "upload_id": asked.key,
    }
    asked.state.store(PARTS, part["id"], form.file("data").body)
    return json_answer(part)


def complete_upload(asked: Asked) -> Answer:
    upload = _pending(asked.state, asked.key)
    shelf = asked.state.shelf(PARTS)
    ids = required(asked.request.json(), "part_ids", list)
    for index, part in enumerate(ids):
        checked(part, f"part_ids[{index}]", str)
    if unknown := [part for part in ids if part not in shelf]:
        raise BadRequest(f"No such part: {unknown[0]}", field="part_ids")
    whole = b"".join(shelf.pop(part) for part in dict.fromkeys(ids))
    if len(whole) != upload["bytes"]:
        raise BadRequest(f"Expected {upload['bytes']} bytes, but the parts have {len(whole)}.")
    upload |= {"status": "completed", "file": store_file(asked.state, upload["filename"], upload["purpose"], whole)}
    return json_answer(upload)


def cancel_upload(asked: Asked) -> Answer:
    upload = _pending(asked.state, asked.key)
    upload["status"] = "cancelled"
    return json_answer(upload)


def _pending(state: State, key: str) -> Json:
    upload: Json = found(state, UPLOADS, key, "Upload")
    if upload["status"] != "pending":
        raise BadRequest(f"The upload is {upload['status']}.")
    return upload
