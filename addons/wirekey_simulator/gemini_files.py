"""Files of the Gemini API and their resumable upload.

An upload begins with a request that has the key. Its response has a URL with an upload id. The bytes go to that URL in
one or more requests without a key: the upload id is the capability.
https://ai.google.dev/api/files
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wirekey_simulator.exchange import BadRequest, Json, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.state import CREATED_TEXT

if TYPE_CHECKING:
    from wirekey_simulator.state import State

FILES, UPLOADS, CONTENTS = "gemini.files", "gemini.uploads", "gemini.files.contents"
LARGEST_KEPT = 1 << 20
"""Bytes of the largest file whose content is kept."""
GRANULARITY = 256 * 1024
EXPIRES = "2026-01-03T00:00:00Z"


@dataclass(slots=True)
class Upload:
    """An open upload. Its bytes are counted and hashed. They are kept if they are few, as the requests of a batch."""

    file: Json
    mime_type: str
    hash: Any
    size: int = 0
    done: bool = False
    kept: bytes = b""


def upload(request: SimulatedRequest, state: State) -> SimulatedResponse:
    """Return the response to a request below `/upload/`. Raises BadRequest if it does not fit the upload's state."""
    commands = {part.strip() for part in request.header("x-goog-upload-command").split(",")} - {""}
    upload_id = request.parameter("upload_id")
    if not upload_id:
        if request.path not in ("/upload/v1beta/files", "/upload/v1/files") or request.method != "POST":
            raise BadRequest(f"The requested URL {request.path} was not found on this server.", status=404)
        if request.header("x-goog-upload-protocol") != "resumable" or commands != {"start"}:
            raise BadRequest("X-Goog-Upload-Protocol: resumable and X-Goog-Upload-Command: start are required.")
        return _begin(request, state)
    open_upload = state.shelf(UPLOADS).get(upload_id)
    if open_upload is None:
        raise BadRequest("Upload not found.", status=404)
    if commands == {"query"}:
        return SimulatedResponse(200, [_status(open_upload), ("x-goog-upload-size-received", str(open_upload.size))])
    if not commands or not commands <= {"upload", "finalize"}:
        raise BadRequest("X-Goog-Upload-Command must be upload, finalize, query, or 'upload, finalize'.")
    if open_upload.done:
        raise BadRequest("Upload has already been finalized.")
    return _continue(open_upload, commands, request, state)


def _begin(request: SimulatedRequest, state: State) -> SimulatedResponse:
    file = (request.json() if request.size else {}).get("file") or {}
    mime_type = request.header("x-goog-upload-header-content-type") or file.get("mimeType") or ""
    if not mime_type:
        raise BadRequest("X-Goog-Upload-Header-Content-Type is required.")
    upload_id = state.new_id("AbSim", digits=40)
    state.store(UPLOADS, upload_id, Upload(file, mime_type, hashlib.sha256()))
    url = f"{request.base_url}{request.path}?upload_id={upload_id}&upload_protocol=resumable"
    return SimulatedResponse(
        200,
        [
            ("content-type", "text/plain; charset=utf-8"),
            ("x-guploader-uploadid", upload_id),
            ("x-goog-upload-status", "active"),
            ("x-goog-upload-url", url),
            ("x-goog-upload-control-url", url),
            ("x-goog-upload-chunk-granularity", str(GRANULARITY)),
        ],
    )


def _continue(open_upload: Upload, commands: set[str], request: SimulatedRequest, state: State) -> SimulatedResponse:
    if "upload" in commands:
        if request.header("x-goog-upload-offset") != str(open_upload.size):
            raise BadRequest(f"X-Goog-Upload-Offset must be {open_upload.size}.")
        open_upload.hash.update(request.body)
        open_upload.size += request.size
        if open_upload.size <= LARGEST_KEPT:
            open_upload.kept += request.body
    if "finalize" not in commands:
        return SimulatedResponse(200, [_status(open_upload), ("x-goog-upload-size-received", str(open_upload.size))])
    open_upload.done = True
    file = _stored(open_upload, state)
    if open_upload.size <= LARGEST_KEPT:
        state.store(CONTENTS, file["name"].removeprefix("files/"), open_upload.kept)
    return json_response({"file": file}, headers=[_status(open_upload)])


def _status(open_upload: Upload) -> tuple[str, str]:
    return "x-goog-upload-status", "final" if open_upload.done else "active"


def _stored(open_upload: Upload, state: State) -> Json:
    name = str(open_upload.file.get("name", "")).removeprefix("files/") or state.new_id("sim", digits=12)
    uri = f"https://generativelanguage.googleapis.com/v1beta/files/{name}"
    file = {
        "name": f"files/{name}",
        "displayName": open_upload.file.get("displayName", open_upload.file.get("display_name", "")),
        "mimeType": open_upload.mime_type,
        "sizeBytes": str(open_upload.size),
        "createTime": CREATED_TEXT,
        "updateTime": CREATED_TEXT,
        "expirationTime": EXPIRES,
        "sha256Hash": b64encode(open_upload.hash.hexdigest().encode()).decode(),
        "uri": uri,
        "state": "ACTIVE",
        "source": "UPLOADED",
    }
    state.store(FILES, name, file)
    return file


def files(method: str, rest: list[str], request: SimulatedRequest, state: State) -> SimulatedResponse:
    """Return the response to a request to `files`, or to `files/NAME` if `rest` is [NAME]."""
    shelf = state.shelf(FILES)
    if len(rest) == 1 and rest[0].endswith(":download") and method == "GET":
        return SimulatedResponse(200, [("content-type", "application/octet-stream")], contents_of(rest[0], state))
    if rest and rest[0] not in shelf:
        raise BadRequest(f"You do not have permission to access the File {rest[0]} or it may not exist.", status=403)
    match method, *rest:
        case ["GET"]:
            return json_response({"files": list(shelf.values())} if shelf else {})
        case ["GET", name]:
            return json_response(shelf[name])
        case ["DELETE", name]:
            del shelf[name]
            return json_response({})
    raise BadRequest(f"The requested URL {request.path} was not found on this server.", status=404)


def contents_of(name: str, state: State) -> bytes:
    """Return the content of a file, by `files/NAME` or `NAME:download`. Raises BadRequest if it is not kept."""
    found: bytes | None = state.shelf(CONTENTS).get(name.removeprefix("files/").removesuffix(":download"))
    if found is None:
        raise BadRequest(f"You do not have permission to access the File {name} or it may not exist.", status=403)
    return found


def store_file(display_name: str, mime_type: str, content: bytes, state: State) -> Json:
    """Store a file that the API itself has made."""
    made = Upload({"displayName": display_name}, mime_type, hashlib.sha256(content), len(content), done=True)
    file = _stored(made, state) | {"source": "GENERATED"}
    state.store(CONTENTS, file["name"].removeprefix("files/"), content)
    return file
