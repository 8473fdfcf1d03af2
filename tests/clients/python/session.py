"""Holds whole sessions with LangChain and LiteLLM: tools, an image, reasoning, a forced tool and a structured response.

One JSON object a line on stdin: {client, streamed, models, asks, tools, schema, system, png, gateway, token, pair},
with one model for each turn. One line on stdout: {turns: [{text, calls: [[name, arguments]]}]} or {error}.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import reduce
from operator import add

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks for a newer one over the network
LIMIT = 8000


def functions(job):
    return [
        {"type": "function", "function": {"name": name, "description": f"The {name}", "parameters": schema}}
        for name, schema in job["tools"].items()
    ]


def data_url(job):
    return f"data:image/png;base64,{job['png']}"


def reasons(model, ask):
    """A model behind Chat does not reason, and Claude does not where a tool is forced."""
    return not model.endswith("to-chat") and not ask.get("forced")


def response_format(job):
    return {"type": "json_schema", "json_schema": {"name": "forecast", "schema": job["schema"], "strict": True}}


class LangChain:
    def __init__(self, job):
        from langchain_core.messages import SystemMessage

        self.job = job
        self.messages = [SystemMessage(job["system"])]

    def say(self, ask):
        from langchain_core.messages import HumanMessage

        image = {"type": "image_url", "image_url": {"url": data_url(self.job)}}
        content = [{"type": "text", "text": ask["text"]}, image] if ask["image"] else ask["text"]
        self.messages.append(HumanMessage(content))

    def results(self, results):
        from langchain_core.messages import ToolMessage

        self.messages += [ToolMessage(text, tool_call_id=call[0], name=call[1]) for call, text in results]

    def turn(self, model, ask):
        chat = self.chat(model, ask)
        options = {"tool_choice": ask["forced"]} if ask.get("forced") else {}
        if ask.get("structured"):  # LangChain parses a structured response only of a request without tools
            bound = chat.bind(**self.structured())
        else:
            bound = chat.bind_tools(functions(self.job), **options)
        made = reduce(add, bound.stream(self.messages)) if self.job["streamed"] else bound.invoke(self.messages)
        assert made.usage_metadata["total_tokens"]
        self.messages.append(made)
        calls = [(call["id"], call["name"], call["args"]) for call in made.tool_calls]
        return made.text, calls

    def structured(self):
        return {"response_format": response_format(self.job)}


class LangChainChat(LangChain):
    def chat(self, model, ask):
        from langchain_openai import ChatOpenAI

        effort = {"reasoning_effort": "medium"} if reasons(model, ask) else {}
        return ChatOpenAI(
            model=model, base_url=f"{self.job['gateway']}/v1", api_key=self.job["token"], max_retries=0,
            max_completion_tokens=LIMIT, stream_usage=True, **effort,
        )  # fmt: skip


class LangChainResponses(LangChain):
    def chat(self, model, ask):
        from langchain_openai import ChatOpenAI

        thought = {"reasoning": {"effort": "medium", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
        return ChatOpenAI(
            model=model, base_url=f"{self.job['gateway']}/v1", api_key=self.job["token"], max_retries=0,
            max_completion_tokens=LIMIT, use_responses_api=True, output_version="responses/v1", store=False,
            **(thought if reasons(model, ask) else {}),
        )  # fmt: skip


class LangChainGemini(LangChain):
    def chat(self, model, ask):
        from langchain_google_genai import ChatGoogleGenerativeAI

        return ChatGoogleGenerativeAI(
            model=model, base_url=self.job["gateway"], google_api_key=self.job["token"], max_retries=0,
            max_output_tokens=LIMIT, thinking_level="high", include_thoughts=True,
        )  # fmt: skip

    def structured(self):
        return {"response_mime_type": "application/json", "response_json_schema": self.job["schema"]}


class LangChainAnthropic(LangChain):
    def chat(self, model, ask):
        from langchain_anthropic import ChatAnthropic

        thought = {"thinking": {"type": "enabled", "budget_tokens": 1024}} if reasons(model, ask) else {}
        return ChatAnthropic(
            model=model, base_url=self.job["gateway"], api_key=self.job["token"], max_retries=0, max_tokens=LIMIT,
            **thought,
        )  # fmt: skip

    def structured(self):
        return {"output_config": {"format": {"type": "json_schema", "schema": self.job["schema"]}}}


class LangChainBedrock(LangChain):
    def chat(self, model, ask):
        from langchain_aws import ChatBedrockConverse

        access_key, secret_key = self.job["pair"]
        return ChatBedrockConverse(
            model=model, endpoint_url=self.job["gateway"], region_name="us-east-1", max_tokens=LIMIT,
            aws_access_key_id=access_key, aws_secret_access_key=secret_key,
            supports_tool_choice_values=("auto", "any", "tool"),
        )  # fmt: skip

    def structured(self):
        schema = {"schema": json.dumps(self.job["schema"]), "name": "forecast"}
        return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}}


class LiteLlm:
    """`provider` is LiteLLM's, before the name of the model; `settings` say where Wirekey stands, and who calls."""

    provider = listed_as = "openai"

    def __init__(self, job):
        self.job = job
        self.messages = [{"role": "system", "content": job["system"]}]

    def settings(self):
        return {"api_base": f"{self.job['gateway']}/v1", "api_key": self.job["token"]}

    def describe(self, model):
        """Tell LiteLLM what a model is able to do. It decides by the name of a model what it sends."""
        import litellm

        can = ("function_calling", "tool_choice", "native_structured_output", "reasoning", "adaptive_thinking",
               "response_schema")  # fmt: skip
        known = {"litellm_provider": self.listed_as, "mode": "chat", **{f"supports_{one}": True for one in can}}
        litellm.register_model({f"{self.provider}/{model}": known, model: known})

    def thinking(self):
        return {"reasoning_effort": "medium", "allowed_openai_params": ["reasoning_effort"]}

    def structured(self):
        return {"response_format": response_format(self.job)}

    def say(self, ask):
        image = {"type": "image_url", "image_url": {"url": data_url(self.job)}}
        content = [{"type": "text", "text": ask["text"]}, image] if ask["image"] else ask["text"]
        self.messages.append({"role": "user", "content": content})

    def results(self, results):
        self.messages += [
            {"role": "tool", "tool_call_id": call[0], "name": call[1], "content": text} for call, text in results
        ]

    def turn(self, model, ask):
        import litellm

        self.describe(model)
        asked = {
            "model": f"{self.provider}/{model}", "messages": self.messages, "tools": functions(self.job),
            "max_tokens": LIMIT, "max_retries": 0, **self.settings(),
        }  # fmt: skip
        if reasons(model, ask):
            asked.update(self.thinking())
        if ask.get("forced"):
            asked["tool_choice"] = {"type": "function", "function": {"name": ask["forced"]}}
        if ask.get("structured"):
            asked.update(self.structured())
        if self.job["streamed"]:
            chunks = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
            made = litellm.stream_chunk_builder(chunks, messages=self.messages)
        else:
            made = litellm.completion(**asked)
        assert made.usage.total_tokens
        message = made.choices[0].message
        self.messages.append(message.model_dump(exclude_none=True))
        calls = [
            (call.id, call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()
        ]
        return message.content or "", calls


class LiteLlmGemini(LiteLlm):
    provider = listed_as = "gemini"

    def settings(self):
        return {"api_base": f"{self.job['gateway']}/v1beta", "api_key": self.job["token"]}


class LiteLlmAnthropic(LiteLlm):
    provider = listed_as = "anthropic"

    def settings(self):
        return {"api_base": self.job["gateway"], "api_key": self.job["token"]}

    def thinking(self):
        return {"thinking": {"type": "adaptive"}, "allowed_openai_params": ["thinking"]}


class LiteLlmBedrock(LiteLlm):
    provider, listed_as = "bedrock/converse", "bedrock_converse"

    def settings(self):
        access_key, secret_key = self.job["pair"]
        return {
            "aws_bedrock_runtime_endpoint": self.job["gateway"], "aws_region_name": "us-east-1",
            "aws_access_key_id": access_key, "aws_secret_access_key": secret_key,
        }  # fmt: skip

    def thinking(self):
        return {"thinking": {"type": "adaptive"}, "allowed_openai_params": ["thinking"]}


CLIENTS = {
    "langchain-openai-chat": LangChainChat,
    "langchain-openai": LangChainResponses,
    "langchain-gemini": LangChainGemini,
    "langchain-anthropic": LangChainAnthropic,
    "langchain-bedrock": LangChainBedrock,
    "litellm-openai-chat": LiteLlm,
    "litellm-gemini": LiteLlmGemini,
    "litellm-anthropic": LiteLlmAnthropic,
    "litellm-bedrock": LiteLlmBedrock,
}


def held(job):
    session = CLIENTS[job["client"]](job)
    turns, models, number = [], iter(job["models"]), 0
    for ask in job["asks"]:
        session.say(ask)
        turns.append(session.turn(next(models), ask))
        while calls := turns[-1][1]:
            session.results([(call, f"result {number + at}") for at, call in enumerate(calls)])
            number += len(calls)
            turns.append(session.turn(next(models), {}))
    return [{"text": text, "calls": [call[1:] for call in calls]} for text, calls in turns]


def main():
    answers, sys.stdout = sys.stdout, sys.stderr  # LiteLLM prints hints
    for line in sys.stdin:
        try:
            result = {"turns": held(json.loads(line))}
        except Exception as error:  # the test shows it
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=answers, flush=True)
        gc.collect()
        gc.freeze()


if __name__ == "__main__":
    # LiteLLM leaves the end of a streamed response unread. A collection that closes the response while httpcore holds
    # the lock of its connections waits for that lock for ever.
    gc.disable()
    main()
