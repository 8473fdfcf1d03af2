"""Hosts that serve models and are not decrypted: calls there are neither checked nor metered. Pure.

The table is for a warning only. It refuses nothing and need not be complete.
"""

from __future__ import annotations

import re
from fnmatch import translate

from wirekey.egress.hosts import region_of

MODEL_HOSTS = {
    "cloudcode-pa.googleapis.com": "Gemini CLI, signed in with a Google account",
    "daily-cloudcode-pa.googleapis.com": "Gemini CLI, signed in with a Google account",
    "aiplatform.googleapis.com": "Vertex AI",
    "*-aiplatform.googleapis.com": "Vertex AI",
    "*.rep.googleapis.com": "Vertex AI",
    "chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
    "*.chatgpt.com": "Codex and ChatGPT, signed in with an OpenAI account",
    "*.api.openai.com": "OpenAI, regional",
    "claude.ai": "Claude, signed in with an Anthropic account",
    "*.claude.ai": "Claude, signed in with an Anthropic account",
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
}
"""Host name, with `*` for any characters → the service whose models are called there."""


_EXACT = {host: service for host, service in MODEL_HOSTS.items() if "*" not in host}
_GLOBS = [(re.compile(translate(host), re.ASCII), service) for host, service in MODEL_HOSTS.items() if "*" in host]


def model_service(host: str) -> str | None:
    """Return the service whose models are called at a host, a lower-case name, or None if none is known."""
    if service := _EXACT.get(host):
        return service
    if found := next((service for pattern, service in _GLOBS if pattern.fullmatch(host)), None):
        return found
    return "Bedrock, in a region that is not in providers.bedrock.regions" if region_of(host) else None
