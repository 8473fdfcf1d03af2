"""Calls with LangChain and LiteLLM, which aider calls with: in an environment of their own, see .ci/run.

They want other versions of the SDKs than sdks.py has. The base URLs are those of the environment: read by the library
where it does so, else given to it, as its users do.
"""

from __future__ import annotations

import os

OPENAI, GEMINI, ANTHROPIC = "gpt-4o-mini", "gemini-2.5-flash", "claude-sonnet-4-5"
BEDROCK = "anthropic.claude-3-5-sonnet-20241022-v2:0"
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks for a newer one over the network


def weather(city: str) -> str:
    """The weather in a city."""
    return city


class LangChain:
    def model(self, options):
        chat = self.client(options)
        return chat.bind_tools([weather]) if options.get("tools") else chat

    def chat(self, options):
        answer = self.model(options).invoke(options["text"])
        calls = [[call["name"], call["args"]] for call in answer.tool_calls]
        return [answer.content, calls, answer.usage_metadata]

    def stream(self, options):
        for chunk in self.model(options).stream(options["text"]):
            calls = [[call["name"], call["args"]] for call in chunk.tool_call_chunks]
            yield [chunk.content, calls, chunk.usage_metadata]

    def embed(self, options):
        return self.embeddings().embed_documents([options["text"], "two"])


class LangChainOpenAi(LangChain):
    def client(self, options):
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=options.get("model", OPENAI), max_retries=0, stream_usage=True)

    def embeddings(self):
        from langchain_openai import OpenAIEmbeddings

        # Counting tokens first would fetch their table over the network.
        return OpenAIEmbeddings(model="text-embedding-3-small", max_retries=0, check_embedding_ctx_length=False)


class LangChainGemini(LangChain):
    def client(self, options):
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(
            model=options.get("model", GEMINI), max_retries=0, base_url=os.environ["GOOGLE_GEMINI_BASE_URL"]
        )

    def embeddings(self):
        from langchain_google_genai import GoogleGenerativeAIEmbeddings

        return GoogleGenerativeAIEmbeddings(model="gemini-embedding-001", base_url=os.environ["GOOGLE_GEMINI_BASE_URL"])


class LiteLlm:
    def __init__(self, model: str, embedding: str = "", **settings: tuple[str, str]) -> None:
        """`settings`: argument → (variable with the base URL, what stands behind it)."""
        self.of_model, self.of_embedding, self.settings = model, embedding, settings

    def ask(self, options):
        asked = {
            "model": self.of_model,
            "messages": [{"role": "user", "content": options["text"]}],
            "max_retries": 0,
            **self.base(),
        }
        if options.get("tools"):
            parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
            asked["tools"] = [{"type": "function", "function": {"name": "weather", "parameters": parameters}}]
        return asked

    def base(self):
        return {name: os.environ[variable] + path for name, (variable, path) in self.settings.items()}

    def chat(self, options):
        import litellm

        answer = litellm.completion(**self.ask(options))
        choice = answer.choices[0]
        calls = [call.function for call in choice.message.tool_calls or ()]
        return [choice.message.content, calls, choice.finish_reason, answer.usage.total_tokens]

    def stream(self, options):
        import litellm

        for chunk in litellm.completion(**self.ask(options), stream=True):
            delta = chunk.choices[0].delta
            calls = [call.function for call in delta.tool_calls or ()]
            yield [delta.content, calls, chunk.choices[0].finish_reason]

    def embed(self, options):
        import litellm

        answer = litellm.embedding(model=self.of_embedding, input=[options["text"], "two"], **self.base())
        return [item["embedding"] for item in answer.data]


CLIENTS = {
    "langchain-openai": LangChainOpenAi(),
    "langchain-gemini": LangChainGemini(),
    "litellm-openai": LiteLlm(f"openai/{OPENAI}", "openai/text-embedding-3-small"),
    "litellm-gemini": LiteLlm(
        f"gemini/{GEMINI}", "gemini/gemini-embedding-001", api_base=("GOOGLE_GEMINI_BASE_URL", "/v1beta")
    ),
    "litellm-anthropic": LiteLlm(f"anthropic/{ANTHROPIC}"),
    "litellm-bedrock": LiteLlm(
        f"bedrock/{BEDROCK}", aws_bedrock_runtime_endpoint=("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "")
    ),
}
