"""Finds the environment variables that contain credentials, so that programs start without them. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

PLACEHOLDER = "wirekey-holds-the-key"
"""The value of key variables for SDKs that require one. Wirekey removes it from requests."""

KNOWN = {
    "OpenAI": "OPENAI_API_KEY OPENAI_KEY OPENAI_ADMIN_KEY OPENAI_ACCESS_TOKEN OPENAI_WEBHOOK_SECRET CODEX_API_KEY",
    "Azure": """
        AZURE_OPENAI_API_KEY AZURE_OPENAI_KEY AZURE_OPENAI_AD_TOKEN AZURE_API_KEY AZURE_AI_API_KEY
        AZURE_INFERENCE_CREDENTIAL AZURE_INFERENCE_KEY AZURE_CLIENT_SECRET
    """,
    "Anthropic": """
        ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_ADMIN_KEY ANTHROPIC_FOUNDRY_API_KEY CLAUDE_API_KEY
        CLAUDE_CODE_OAUTH_TOKEN
    """,
    "Google": """
        GEMINI_API_KEY GOOGLE_API_KEY GOOGLE_GENAI_API_KEY GOOGLE_GENERATIVE_AI_API_KEY GOOGLE_AI_API_KEY PALM_API_KEY
        GOOGLE_VERTEX_API_KEY VERTEX_API_KEY GOOGLE_APPLICATION_CREDENTIALS_JSON CLOUDSDK_AUTH_ACCESS_TOKEN
    """,
    "AWS": """
        AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_BEARER_TOKEN_BEDROCK
        AWS_CONTAINER_AUTHORIZATION_TOKEN
    """,
    "other providers": """
        AI21_API_KEY AIML_API_KEY ANYSCALE_API_KEY ARK_API_KEY ASSEMBLYAI_API_KEY BASETEN_API_KEY CEREBRAS_API_KEY
        CLOUDFLARE_API_KEY CO_API_KEY CODESTRAL_API_KEY COHERE_API_KEY DASHSCOPE_API_KEY DATABRICKS_API_KEY
        DATABRICKS_TOKEN DEEPGRAM_API_KEY DEEPINFRA_API_KEY DEEPINFRA_API_TOKEN DEEPSEEK_API_KEY ELEVENLABS_API_KEY
        FAL_KEY FIREWORKS_AI_API_KEY FIREWORKS_API_KEY FRIENDLI_TOKEN GIGACHAT_CREDENTIALS GROQ_API_KEY HF_TOKEN
        HUGGINGFACE_API_KEY HUGGINGFACEHUB_API_TOKEN HUGGING_FACE_HUB_TOKEN HYPERBOLIC_API_KEY INCEPTION_API_KEY
        JINA_API_KEY KIMI_API_KEY LAMBDA_API_KEY LLAMA_API_KEY MINIMAX_API_KEY MISTRAL_API_KEY MOONSHOT_API_KEY
        NEBIUS_API_KEY NGC_API_KEY NOVITA_API_KEY NSCALE_API_KEY NVIDIA_API_KEY NVIDIA_NIM_API_KEY OLLAMA_API_KEY
        PERPLEXITY_API_KEY PERPLEXITYAI_API_KEY PPLX_API_KEY PREDIBASE_API_TOKEN QIANFAN_AK QIANFAN_SK
        REPLICATE_API_KEY REPLICATE_API_TOKEN SAMBANOVA_API_KEY SILICONFLOW_API_KEY STABILITY_API_KEY TOGETHERAI_API_KEY
        TOGETHER_AI_API_KEY TOGETHER_API_KEY UPSTAGE_API_KEY VOLCENGINE_API_KEY VOYAGE_API_KEY WATSONX_API_KEY
        WATSONX_APIKEY WATSONX_TOKEN WRITER_API_KEY XAI_API_KEY ZAI_API_KEY ZHIPUAI_API_KEY
    """,
    "gateways": """
        AI_GATEWAY_API_KEY CF_AIG_TOKEN COPILOT_GITHUB_TOKEN GITHUB_API_KEY GITHUB_COPILOT_TOKEN HELICONE_API_KEY
        LITELLM_API_KEY LITELLM_MASTER_KEY LITELLM_PROXY_API_KEY LLM_API_KEY LM_STUDIO_API_KEY OPENAI_LIKE_API_KEY
        OPENROUTER_API_KEY PORTKEY_API_KEY PORTKEY_VIRTUAL_KEY REQUESTY_API_KEY UNIFY_API_KEY VERCEL_OIDC_TOKEN
        VLLM_API_KEY
    """,
}
POINTERS = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "GOOGLE_APPLICATION_CREDENTIALS",
    }
)
"""Names of variables that tell an SDK where to find a credential. Their values are not secrets."""
SECRET_NAMES = frozenset(name for names in KNOWN.values() for name in names.split())
SEVERAL = re.compile(r"(?:S|_?\d{1,3})\Z")
"""Name endings that programs use for several keys: OPENAI_API_KEYS, OPENAI_API_KEY_2."""
SEPARATORS = re.compile(r"[\s,;|]+")
LONG = 12
"""Secrets of at least so many characters are searched inside values, not only as parts of a list."""


@dataclass(frozen=True, slots=True)
class Removed:
    """Variables to remove from a program's environment, in addition to those that the configuration names."""

    secret: tuple[str, ...] = ()
    """Variables whose value contains a configured secret or another removed credential."""
    known: tuple[str, ...] = ()
    """Variables with the name of a credential that an SDK or a gateway reads."""


def is_secret_name(name: str) -> bool:
    """Return whether a variable of this name usually contains a credential."""
    upper = name.upper()
    return upper in SECRET_NAMES or SEVERAL.sub("", upper) in SECRET_NAMES


def is_credential_name(name: str) -> bool:
    """Return whether an SDK or a gateway reads credentials from, or by, a variable of this name."""
    return name.upper() in POINTERS or is_secret_name(name)


def removed_variables(
    inherited: Mapping[str, str], *, configured: Collection[str], secrets: Iterable[str], keep: Collection[str] = ()
) -> Removed:
    """Return the `inherited` variables that a program must not get, in addition to those in `configured`.

    `configured` are the names that the configuration refers to, `secrets` the values of all of its references. `keep`
    are known names to pass on. A variable that contains a configured secret is never passed on.
    """
    known = [name for name in inherited if name not in configured and name not in keep and is_credential_name(name)]
    named = [name for name in (*known, *configured) if name in inherited and name.upper() not in POINTERS]
    passed_on = {inherited.get(name) for name in keep}
    values = {inherited[name] for name in named} - passed_on
    compared = parts_of({*secrets, *(value for value in values if not is_ours(value))})
    secret = [
        name
        for name, value in inherited.items()
        if name not in configured and name not in known and contains_any(value, compared)
    ]
    return Removed(tuple(secret), tuple(known))


def is_ours(value: str) -> bool:
    """Return whether a value is one that Wirekey sets for programs."""
    return value == PLACEHOLDER or value.startswith(("wk_", "WKEY"))


def parts_of(values: Iterable[str]) -> frozenset[str]:
    """Return the values, and the parts of those that are lists."""
    found = {value.strip() for value in values}
    found |= {part for value in found for part in split(value) if len(part) >= LONG}
    return frozenset(found - {""})


def split(value: str) -> list[str]:
    """Return the parts of a value that is a list, without quotes."""
    return [part.strip("'\"") for part in SEPARATORS.split(value) if part.strip("'\"")]


def contains_any(value: str, secrets: Iterable[str]) -> bool:
    """Return whether a value is one of `secrets`, or contains one."""
    parts = {value.strip(), *split(value)}
    return any(secret in parts or (len(secret) >= LONG and secret in value) for secret in secrets)
