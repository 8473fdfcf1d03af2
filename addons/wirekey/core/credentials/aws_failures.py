"""Turns failures to get AWS credentials into messages for Wirekey's operator.

Only names and error codes of botocore are repeated, because its messages may quote the output of a program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.core.credentials.aws import CredentialsUnavailable

if TYPE_CHECKING:
    from wirekey.core.credentials.aws_access import AwsAccess

SETTING = "providers.bedrock.aws"
OWN_PAIR = (
    f"The AWS credentials found are an agent's pair, which Wirekey itself issued; AWS does not know it. Set {SETTING}, "
    "or start Wirekey in a shell in which `wirekey env` was not used."
)
SOURCE_CODES = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException"}
    | {"SignatureDoesNotMatch", "InvalidAccessKeyId", "IncompleteSignature", "AuthFailure"}
)
"""STS does not accept the credentials with which the role is assumed."""


class MFAWantedError(Exception):
    """The profile requires an MFA code, which nobody can enter."""


def nothing_found(way: AwsAccess) -> CredentialsUnavailable:
    """Return the error for a search that found no credentials."""
    if way.profile:
        return CredentialsUnavailable(
            f"The profile {way.profile!r} that {SETTING}.profile names has no AWS credentials. Add them: "
            f"aws configure --profile {way.profile}, or aws configure sso --profile {way.profile}."
        )
    return CredentialsUnavailable(
        "No AWS credentials were found: not in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), the files "
        f"of ~/.aws, SSO, a container or instance metadata. Set one of these, or {SETTING} in wirekey.yaml: bearer, "
        "profile, or access_key and secret_key."
    )


def unavailable(error: Exception, way: AwsAccess) -> CredentialsUnavailable:
    """Return the error for an exception of botocore."""
    from botocore import exceptions as aws

    known: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
        ((aws.ProfileNotFound,), _no_profile(way)),
        ((aws.PartialCredentialsError,), _partial(way)),
        ((aws.SSOError, aws.TokenRetrievalError, aws.NoAuthTokenError), _log_in_again("sso login", way)),
        ((aws.LoginError,), _log_in_again("login", way)),
        (
            (MFAWantedError, aws.RefreshWithMFAUnsupportedError),
            f"The AWS profile requires an MFA code, which nobody can enter. Use a profile without MFA in {SETTING}.",
        ),
        (
            (TimeoutError,),
            f"The search for AWS credentials did not end in time. Check the credential_process of {_place(way)}.",
        ),
        (
            (aws.ConfigParseError, aws.InvalidConfigError, aws.ConfigNotFound),
            "The files of ~/.aws cannot be read as AWS's format. Check them: aws configure list.",
        ),
        (
            (aws.CredentialRetrievalError, aws.MetadataRetrievalError),
            f"No AWS credentials came from {_place(way)} ({_provider(error)}). Try: aws sts get-caller-identity.",
        ),
        (
            (aws.ConnectionError, aws.HTTPClientError),
            _not_reached(error, way),
        ),
    )
    if isinstance(error, aws.ClientError):
        return _answered(error.response.get("Error", {}).get("Code", ""), way)
    for kinds, sentence in known:
        if isinstance(error, kinds):
            return CredentialsUnavailable(sentence)
    return CredentialsUnavailable(f"AWS credentials could not be read ({type(error).__name__}). Check {_place(way)}.")


def _answered(code: str, way: AwsAccess) -> CredentialsUnavailable:
    """Return the error for an error code of STS or SSO."""
    shown = code if code.isascii() and code.isidentifier() else "an unknown error"
    if code in SOURCE_CODES:
        return CredentialsUnavailable(
            f"AWS does not accept the credentials that {_place(way)} provided ({shown}). Renew them, and check this "
            "machine's clock."
        )
    if code == "RegionDisabledException":
        return CredentialsUnavailable(
            f"AWS's token service in {way.region} is not active for this account. Activate it in the IAM console, or "
            "put another region first in providers.bedrock.regions."
        )
    if way.role_arn and code in ("AccessDenied", "AccessDeniedException"):
        return CredentialsUnavailable(
            f"AWS does not allow {_place(way)} to assume {way.role_arn} ({shown}). The role's trust policy must allow "
            f"both sts:AssumeRole and sts:TagSession to it; or correct {SETTING}.role_arn.",
            for_all=False,
        )
    what = f"session of {way.role_arn}" if way.role_arn else "credentials"
    return CredentialsUnavailable(f"AWS returned no {what} ({shown}). Check {_place(way)}.", for_all=False)


def _place(way: AwsAccess) -> str:
    if way.pair:
        return f"{SETTING}.access_key"
    return f"{SETTING}.profile ({way.profile})" if way.profile else "AWS's default chain"


def _no_profile(way: AwsAccess) -> str:
    if way.profile:
        return (
            f"There is no profile {way.profile!r} in ~/.aws/config or ~/.aws/credentials. Create it "
            f"(aws configure --profile {way.profile}), or name another in {SETTING}.profile."
        )
    return "AWS_PROFILE names a profile that is not in ~/.aws. Correct it, or set " + SETTING + "."


def _partial(way: AwsAccess) -> str:
    where = f"The profile {way.profile!r}" if way.profile else "The environment or the default profile"
    return (
        f"{where} has half a key pair. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (aws_access_key_id and "
        "aws_secret_access_key in ~/.aws) belong together: set both, or neither."
    )


def _log_in_again(command: str, way: AwsAccess) -> str:
    profile = f" --profile {way.profile}" if way.profile else ""
    return f"The AWS login of {_place(way)} has expired. As the user that runs Wirekey, run: aws {command}{profile}."


def _not_reached(error: Exception, way: AwsAccess) -> str:
    service = f"AWS's token service for {way.region} could not be reached"
    if way.proxy:
        return (
            f"{service} through the upstream proxy {way.proxy.authority} ({type(error).__name__}). "
            "Check upstream_proxy and its no_proxy."
        )
    return f"{service} ({type(error).__name__}). Check network and firewall: Wirekey goes there without a proxy."


def _provider(error: Exception) -> str:
    """Return which link of botocore's chain failed, such as `custom-process`."""
    name = getattr(error, "kwargs", {}).get("provider")
    return name if isinstance(name, str) and name.isprintable() else type(error).__name__
