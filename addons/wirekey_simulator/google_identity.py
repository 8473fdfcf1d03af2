"""Google's services for external accounts (workload identity federation), each on its own host.

`sts.googleapis.com` exchanges a token of another issuer, `iamcredentials.googleapis.com` issues a token of a service
account for it, and `cloudresourcemanager.googleapis.com` knows the id of a project by its number.
https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token, RFC 8693
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from wirekey_simulator import gemini
from wirekey_simulator.exchange import BadRequest, SimulatedRequest, SimulatedResponse, json_response
from wirekey_simulator.google_oauth import SCOPE, form_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from wirekey_simulator.behaviour import Behaviour
    from wirekey_simulator.state import State

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105  # a type
SUBJECT_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
PROJECT_NUMBER, PROJECT = "123456789", "project-of-the-pool"
AUDIENCE = f"//iam.googleapis.com/projects/{PROJECT_NUMBER}/locations/global/workloadIdentityPools/pool/providers/own"
IMPERSONATION = re.compile(r"/v1/projects/-/serviceAccounts/([a-z0-9@.-]+):generateAccessToken")
LIFETIME = 3600
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
OF_ROBOTS = "ya29.c.sim-known-"
"""Beginning of the tokens of service accounts."""
NOT_VALID = "The given credential is rejected."


def federated_token_of(subject_token: str) -> str:
    """Return the token that this token of another issuer becomes. It is always the same, so that tests know it."""
    return f"ya29.d.sim-known-{hashlib.sha256(subject_token.encode()).hexdigest()[:32]}"


def service_account_token_of(email: str) -> str:
    """Return the token of a service account."""
    return f"{OF_ROBOTS}{hashlib.sha256(email.encode()).hexdigest()[:32]}"


def check_credentials(request: SimulatedRequest, keys: Collection[str] | None) -> str | None:
    """Check the subject token, or the token that it became. Return the sentence that refuses it, else None."""
    accepted = keys or ()
    if request.path == "/v1/token":
        return None if form_of(request).get("subject_token") in accepted else NOT_VALID
    scheme, _, token = request.header("authorization").partition(" ")
    is_federated = token in {federated_token_of(each) for each in accepted}
    may_be_robots = request.method == "GET" and token.startswith(OF_ROBOTS)
    return None if scheme == "Bearer" and (is_federated or may_be_robots) else NOT_VALID


def failure(status: int, message: str, behaviour: Behaviour) -> SimulatedResponse:
    """Return an error response in Google's shape."""
    return gemini.failure(status, message, behaviour)


def respond(
    request: SimulatedRequest,
    behaviour: Behaviour,  # noqa: ARG001  # others need it
    state: State,  # noqa: ARG001  # others need it
) -> SimulatedResponse:
    """Return the response to a request whose credentials are good. Raises BadRequest."""
    if (request.method, request.path) == ("POST", "/v1/token"):
        return _exchange(form_of(request))
    if request.method == "POST" and (found := IMPERSONATION.fullmatch(request.path)):
        return _impersonate(request, found[1])
    if (request.method, request.path) == ("GET", f"/v1/projects/{PROJECT_NUMBER}"):
        return json_response({"projectNumber": PROJECT_NUMBER, "projectId": PROJECT, "lifecycleState": "ACTIVE"})
    raise BadRequest("Requested entity was not found.", status=404)


def _exchange(form: dict[str, str]) -> SimulatedResponse:
    wanted = {"grant_type": EXCHANGE, "audience": AUDIENCE, "requested_token_type": ACCESS_TOKEN}
    for name, value in wanted.items():
        if form.get(name) != value:
            raise BadRequest(f"Invalid value for {name}.")
    if form.get("subject_token_type") not in SUBJECT_TYPES or form.get("scope") not in (SCOPE, IAM_SCOPE):
        raise BadRequest("Invalid value for subject_token_type or scope.")
    return json_response(
        {
            "access_token": federated_token_of(form["subject_token"]),
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
        }
    )


def _impersonate(request: SimulatedRequest, email: str) -> SimulatedResponse:
    if request.json().get("scope") != [SCOPE]:
        raise BadRequest("Invalid value for scope.")
    ends = (datetime.now(UTC) + timedelta(seconds=LIFETIME)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return json_response({"accessToken": service_account_token_of(email), "expireTime": ends})
