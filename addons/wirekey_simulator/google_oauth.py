"""Google's token server on its own host, as programs with a Google login call it.

`POST /token` with a refresh token, and `POST /tokeninfo` with an access token. It knows no OAuth client, as a program
brings its own. https://developers.google.com/identity/protocols/oauth2/native-app#offline
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

PATHS = ("/token", "/tokeninfo")
FORM = "application/x-www-form-urlencoded"
LIFETIME = 3599
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
NOT_VALID = "Invalid Value"


def access_token_of(refresh_token: str) -> str:
    """Return the access token that this refresh token becomes. It is always the same, so that tests know it."""
    return f"ya29.sim-known-{hashlib.sha256(refresh_token.encode()).hexdigest()[:32]}"


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the refresh token in the body, or the access token. Return the sentence that refuses it, else None."""
    if request.path == "/tokeninfo":
        scheme, _, token = request.header("authorization").partition(" ")
        issued = None if keys is None else {access_token_of(each) for each in keys}
        return None if scheme == "Bearer" and token and (issued is None or token in issued) else NOT_VALID
    if request.header("authorization"):
        raise BadRequest("The token server takes its credentials in the body.")
    given = form_of(request).get("refresh_token", "")
    return None if given and (keys is None or given in keys) else "Bad Request"


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:  # noqa: ARG001  # others need it
    """Return an error of OAuth 2.0 (RFC 6749, section 5.2)."""
    return json_response({"error": "invalid_grant", "error_description": message}, 400 if status == 401 else status)


def respond(
    request: SimulatedRequest,
    behaviour: Behaviour,  # noqa: ARG001  # others need it
    state: State,  # noqa: ARG001  # others need it
) -> SimulatedResponse:
    """Return the response to a request whose credentials are good. Raises BadRequest."""
    match request.method, request.path:
        case "POST", "/token":
            form = form_of(request)
            if form.get("grant_type") != "refresh_token" or not form.get("client_id"):
                raise BadRequest("Invalid grant_type, or no client_id.")
            return json_response(
                {
                    "access_token": access_token_of(form["refresh_token"]),
                    "expires_in": LIFETIME,
                    "scope": SCOPE,
                    "token_type": "Bearer",
                }
            )
        case "POST", "/tokeninfo":
            found = {"aud": "client", "scope": SCOPE, "expires_in": str(LIFETIME), "email": "ann@example.com"}
            return json_response(found)
    raise BadRequest("Not Found", status=404)


def form_of(request: SimulatedRequest) -> dict[str, str]:
    """Return the fields of a form. Raises BadRequest for another body, or a field that is there twice."""
    if request.header("content-type").partition(";")[0] != FORM:
        raise BadRequest("The body must be a form.")
    fields = parse_qsl(request.body.decode("ascii", "replace"), keep_blank_values=True)
    if len(dict(fields)) != len(fields):
        raise BadRequest("OAuth 2 parameters can only have a single value.")
    return dict(fields)
