"""Hosts that serve models, or take the key of a provider, and are not decrypted here. Pure.

In a tunnel, calls there would be neither checked nor metered. So a tunnel to one of them needs `egress.allow`.
"""

from __future__ import annotations

import re
from fnmatch import translate

from wirekey.core.egress.hosts import region_of
from wirekey.providers.registry import PROVIDERS

OF_OTHERS = {
    "*.openai.azure.com": "Azure OpenAI",
    "*.services.ai.azure.com": "Azure AI Foundry",
    "*.models.ai.azure.com": "Azure AI Foundry",
    "*.inference.ai.azure.com": "GitHub Models",
    "*.cognitiveservices.azure.com": "Azure AI services",
    "models.github.ai": "GitHub Models",
    "api.githubcopilot.com": "GitHub Copilot",
    "*.githubcopilot.com": "GitHub Copilot",
    "openrouter.ai": "OpenRouter",
    "opencode.ai": "opencode Zen",
    "ai-gateway.vercel.sh": "Vercel AI Gateway",
    "gateway.ai.cloudflare.com": "Cloudflare AI Gateway",
    "api.mistral.ai": "Mistral",
    "codestral.mistral.ai": "Mistral",
    "api.groq.com": "Groq",
    "api.x.ai": "xAI",
    "api.deepseek.com": "DeepSeek",
    "api.cohere.com": "Cohere",
    "api.cohere.ai": "Cohere",
    "api.together.xyz": "Together AI",
    "api.together.ai": "Together AI",
    "api.fireworks.ai": "Fireworks AI",
    "api.perplexity.ai": "Perplexity",
    "api.cerebras.ai": "Cerebras",
    "api.sambanova.ai": "SambaNova",
    "api.hyperbolic.xyz": "Hyperbolic",
    "api.deepinfra.com": "DeepInfra",
    "api.replicate.com": "Replicate",
    "api.voyageai.com": "Voyage AI",
    "router.huggingface.co": "Hugging Face",
    "api-inference.huggingface.co": "Hugging Face",
    "integrate.api.nvidia.com": "NVIDIA",
    "api.moonshot.ai": "Moonshot AI",
    "api.moonshot.cn": "Moonshot AI",
    "api.z.ai": "Z.ai",
    "open.bigmodel.cn": "Zhipu AI",
    "api.minimax.io": "MiniMax",
    "dashscope.aliyuncs.com": "Alibaba Cloud",
    "dashscope-intl.aliyuncs.com": "Alibaba Cloud",
    "ark.cn-beijing.volces.com": "Volcano Engine",
    "ollama.com": "Ollama",
    "*.cursor.sh": "Cursor",
    "aiplatform.googleapis.com": "Google Cloud",
    "*-aiplatform.googleapis.com": "Google Cloud",
    "*.rep.googleapis.com": "Google Cloud",
    "cloudcode-pa.googleapis.com": "Gemini CLI, signed in with a Google account",
    "*-cloudcode-pa.googleapis.com": "Gemini CLI, signed in with a Google account",
    "cloudcode-pa.mtls.googleapis.com": "Gemini CLI, signed in with a Google account",
}
"""Hosts of other companies, by name with `*` for any characters → the service there."""
SERVED_BY = {host: f"providers.{name}" for name, provider in PROVIDERS.items() for host in provider.hosts.if_configured}
"""The hosts whose calls Wirekey can decide and record → the setting for that."""
_OWN = {provider.hosts.own for provider in PROVIDERS.values()}
MODEL_HOSTS = {host: service for host, service in OF_OTHERS.items() if host not in _OWN} | {
    host: service
    for provider in PROVIDERS.values()
    for hosts in (provider.hosts.elsewhere, provider.hosts.if_configured)
    for host, service in hosts.items()
}
"""The hosts, by name with `*` for any characters → the service there."""


_EXACT = frozenset(host for host in MODEL_HOSTS if "*" not in host)
_GLOBS = [(re.compile(translate(host), re.ASCII), host) for host in MODEL_HOSTS if "*" in host]


def model_service(host: str) -> str | None:
    """Return the service whose models are called at a host, a lower-case name, or None if none is known."""
    if known := _known(host):
        return MODEL_HOSTS[known]
    return "Bedrock, in a region that is not in providers.bedrock.regions" if region_of(host) else None


def reason_to_refuse_tunnel(host: str) -> str | None:
    """Return why a tunnel to a host needs `egress.allow`, and what to do instead; None if it does not."""
    service = model_service(host)
    if service is None:
        return None
    if setting := setting_of_host(host):
        fix = f"Set {setting}, so that Wirekey serves this host, or allow the tunnel in egress.allow."
    else:
        fix = "To allow it, list the host in egress.allow."
    return f"{host} serves models ({service}), and Wirekey does not see the calls in a tunnel. {fix}"


def setting_of_host(host: str) -> str | None:
    """Return the setting with which Wirekey decides and records the calls at a host, or None."""
    return SERVED_BY.get(_known(host) or "", "providers.bedrock.regions" if region_of(host) else None)


def _known(host: str) -> str | None:
    """Return the entry of the table that a host belongs to."""
    if host in _EXACT:
        return host
    return next((known for pattern, known in _GLOBS if pattern.fullmatch(host)), None)
