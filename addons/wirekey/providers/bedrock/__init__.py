"""Amazon Bedrock: its runtime, its list of models, agents and knowledge bases.

https://docs.aws.amazon.com/bedrock/latest/APIReference/
"""

from __future__ import annotations

from types import MappingProxyType

from wirekey.providers.bedrock.errors import BedrockErrors
from wirekey.providers.bedrock.models import BedrockModels
from wirekey.providers.bedrock.requests import BedrockRequests
from wirekey.providers.bedrock.responses import BedrockResponses
from wirekey.providers.bedrock.services import ACTIONS
from wirekey.providers.companions import ONLY_CHECKS
from wirekey.providers.description import ProviderHeaders, ProviderHosts, ProviderVariables
from wirekey.providers.protocol import Provider


class Bedrock(BedrockRequests, BedrockResponses, BedrockErrors, BedrockModels, Provider):
    """The protocol of Amazon Bedrock."""

    hosts = ProviderHosts(
        own="", elsewhere=MappingProxyType({"bedrock-mantle.*.api.aws": "Bedrock, with OpenAI's format"})
    )
    key_setting = "AWS_BEARER_TOKEN_BEDROCK"
    headers = ProviderHeaders(
        account=(), shown=("x-amzn-requestid", "x-amzn-errortype"), shown_families=("x-amzn-bedrock-",)
    )
    companions = ONLY_CHECKS
    variables = ProviderVariables(
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
    )
    key_headers = ("authorization",)
    uses_aws = True
    gateway_paths = (rf"/model/.+/(?:{'|'.join(ACTIONS)})",)
    counts_cached_apart = True
    speaks = ("converse", "invoke")
    model_names_region = True
    otel_name = "aws.bedrock"
    price_list = "aws"
    modifier_headers = MappingProxyType(
        {"x-amzn-bedrock-service-tier": "service_tier", "x-amzn-bedrock-performanceconfig-latency": "latency"}
    )

    def default_format(self, client: str, model: str) -> str:
        """Return `invoke` for a request of Anthropic's format to Claude, because it keeps its body; or `converse`."""
        return "invoke" if client == "anthropic" and "anthropic." in model else self.speaks[0]

    def embeddings_format(self, model: str) -> str | None:
        """Return the format of the model's maker: Titan's or Cohere's."""
        if "amazon.titan-embed-text" in model:
            return "titan.embeddings"
        return "cohere.embeddings" if "cohere.embed" in model else None

    def credential(self, key: str, path: str) -> tuple[str, str]:
        """Return the header that carries an API key. Calls without one are signed instead."""
        return "authorization", f"Bearer {key}"
