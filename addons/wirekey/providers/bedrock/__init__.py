"""Amazon Bedrock: its runtime, its list of models, agents and knowledge bases.

https://docs.aws.amazon.com/bedrock/latest/APIReference/
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from wirekey.providers.bedrock.errors import BedrockErrors
from wirekey.providers.bedrock.formats import CONVERSE, INVOKE
from wirekey.providers.bedrock.models import MODELS
from wirekey.providers.bedrock.requests import BedrockRequests
from wirekey.providers.bedrock.responses import BedrockResponses
from wirekey.providers.bedrock.services import ACTIONS, TWO_WAY
from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import (
    USUAL_LIMITS,
    ProviderHeaders,
    ProviderPrices,
    ProviderVariables,
    always,
    bearer_key,
    gateway_paths,
    one_host,
    own_formats,
)
from wirekey.providers.protocol import Provider, ProviderOperations

OWN_FORMATS = (CONVERSE.name, INVOKE.name)


class BedrockOperations(BedrockRequests, BedrockResponses, BedrockErrors, ProviderOperations):
    """The operations of Amazon Bedrock."""


def default_format(client: str, model: str) -> str:
    """Return `invoke` for a request of Anthropic's format to Claude, because it keeps its body; or `converse`."""
    return INVOKE.name if client == "anthropic" and "anthropic." in model else CONVERSE.name


def embeddings_format(model: str) -> str | None:
    """Return the format of the model's maker: Titan's or Cohere's."""
    if "amazon.titan-embed-text" in model:
        return "titan.embeddings"
    return "cohere.embeddings" if "cohere.embed" in model else None


BEDROCK = Provider(
    name="bedrock",
    family="",
    setting="providers.bedrock",
    otel_name="aws.bedrock",
    otel_operations=MappingProxyType({"invoke-agent": "invoke_agent", "retrieve": "retrieval"}),
    hosts=one_host("", MappingProxyType({"bedrock-mantle.*.api.aws": "Bedrock, with OpenAI's format"})),
    gateway=gateway_paths(rf"/model/.+/(?:{'|'.join(ACTIONS)})"),
    headers=ProviderHeaders(
        account=(),
        shown=("x-amzn-requestid", "x-amzn-errortype"),
        shown_families=("x-amzn-bedrock-",),
        limits=USUAL_LIMITS,
    ),
    companions=ONLY_CHECKS,
    credentials=replace(
        bearer_key(
            "AWS_BEARER_TOKEN_BEDROCK",
            "",
            ProviderVariables(
                usual=("AWS_BEARER_TOKEN_BEDROCK",),
                keys=(),
                own=("AWS_BEARER_TOKEN_BEDROCK",),  # an AWS signature cannot be passed through
                pointers=(
                    "AWS_PROFILE",
                    "AWS_DEFAULT_PROFILE",
                    "AWS_ROLE_ARN",
                    "AWS_WEB_IDENTITY_TOKEN_FILE",
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                ),
                base_urls=MappingProxyType(
                    {  # only Bedrock needs a prefix; the paths of the other providers are at the root
                        "ANTHROPIC_BEDROCK_BASE_URL": "/api/v1/bedrock",  # Claude Code does not read those of AWS
                        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "/api/v1/bedrock",
                        "AWS_ENDPOINT_URL_BEDROCK_AGENT_RUNTIME": "/api/v1/bedrock",
                        "AWS_ENDPOINT_URL_BEDROCK": "/api/v1/bedrock",
                    }
                ),
                settings=(),
            ),
        ),
        uses_aws=True,
    ),
    operations=BedrockOperations(),
    formats=replace(own_formats(OWN_FORMATS, None), default=default_format, embeddings=embeddings_format),
    prices=ProviderPrices(
        "aws",
        counts_cached_apart=always(True),
        modifier_headers=MappingProxyType(
            {"x-amzn-bedrock-service-tier": "service_tier", "x-amzn-bedrock-performanceconfig-latency": "latency"}
        ),
        free=(TWO_WAY,),
        counts_beside_choices=False,
        model_names_region=True,
    ),
    models=MODELS,
    locations=None,
    batches=None,
)
