"""The errors for refused signatures, in AWS's words and codes, so that SDKs raise the usual exceptions."""

from __future__ import annotations

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. "
    "Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
UNKNOWN = "The security token included in the request is invalid."


class SignatureRefused(Exception):  # noqa: N818  # it is the caller's fault, and named as what happens to the call
    """A signature that is refused with status 403. `code` is AWS's error code, sent as `x-amzn-errortype`.

    The codes: MissingAuthenticationTokenException (no signature), IncompleteSignatureException (not readable),
    UnrecognizedClientException (unknown access key, or the wrong session token) and InvalidSignatureException (all
    else: the Bedrock runtime does not use SignatureDoesNotMatch).
    """

    status = 403

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def missing() -> SignatureRefused:
    """Return the error for a request without a signature."""
    return SignatureRefused("MissingAuthenticationTokenException", "Missing Authentication Token")


def incomplete(message: str) -> SignatureRefused:
    """Return the error for a signature that cannot be parsed."""
    return SignatureRefused("IncompleteSignatureException", message)


def invalid(message: str = MISMATCH) -> SignatureRefused:
    """Return the error for a signature that is wrong."""
    return SignatureRefused("InvalidSignatureException", message)


def unrecognized(hint: str = "") -> SignatureRefused:
    """Return the error for an unknown access key or a wrong session token."""
    return SignatureRefused("UnrecognizedClientException", f"{UNKNOWN} {hint}".rstrip())
