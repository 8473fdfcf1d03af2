"""A signature that is refused, in AWS's own words and codes, so that an SDK raises what its users know."""

from __future__ import annotations

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."


class SignatureRefused(Exception):  # noqa: N818  # it is the caller's fault, and named as what happens to the call
    """`code` is AWS's error code, as it stands in `x-amzn-errortype`; the status is 403, as the Bedrock runtime's.

    The codes: MissingAuthenticationTokenException (no signature), IncompleteSignatureException (one that cannot be
    read), UnrecognizedClientException (nobody's access key, or a session token that is not the key's) and
    InvalidSignatureException (all else: the Bedrock runtime does not use SignatureDoesNotMatch).
    """

    status = 403

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def missing() -> SignatureRefused:
    return SignatureRefused("MissingAuthenticationTokenException", "Missing Authentication Token")


def incomplete(message: str) -> SignatureRefused:
    return SignatureRefused("IncompleteSignatureException", message)


def invalid(message: str = MISMATCH) -> SignatureRefused:
    return SignatureRefused("InvalidSignatureException", message)


def unrecognized(hint: str = "") -> SignatureRefused:
    return SignatureRefused("UnrecognizedClientException", f"{UNKNOWN} {hint}".rstrip())
