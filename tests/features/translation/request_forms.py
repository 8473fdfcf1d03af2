"""The same requests, written by hand in each format from the providers' documentation.

`REQUESTS[format][feature]` is what a client of the format sends, and what an upstream of the format must get. A feature
that a format has no words for is missing. The pairs are composed in test_pairs.py.
"""

from __future__ import annotations

import json

PNG = "iVBORw0KGgo="
PDF = "JVBERi0xLjQK"
FORECAST = {
    "type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}, "required": ["place"],
}  # fmt: skip
CLOCK = {"type": "object", "properties": {}}
ANSWER = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
FEATURES = (
    "plain", "text", "turns", "system-texts", "sampling", "stop", "tools", "must-call", "must-call-one",
    "one-at-a-time", "parallel-calls", "failed-result", "image", "document", "schema", "reasoning",
)  # fmt: skip


def chat():
    def functions(*names):
        schemas = {"forecast": FORECAST, "clock": CLOCK}
        return [
            {"type": "function", "function": {"name": name, "description": f"The {name}", "parameters": schemas[name]}}
            for name in names
        ]

    def user(content):
        return {"role": "user", "content": content}

    def called(*calls):
        return {"role": "assistant", "content": "Let me see.", "tool_calls": [
            {"id": key, "type": "function", "function": {"name": name, "arguments": given}}
            for key, name, given in calls
        ]}  # fmt: skip

    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}}
    calls = (("call_1", "forecast", '{"place":"Lyon","days":2}'), ("call_2", "clock", "{}"))
    base = {"max_completion_tokens": 20000}
    tools = {**base, "messages": [user("Hi")], "tools": functions("forecast", "clock")}
    return {
        "plain": {**base, "messages": [user("Hi")]},
        "text": {**base, "messages": [{"role": "system", "content": "Be terse."}, user("Hi")]},
        "turns": {**base, "messages": [user("Hi"), {"role": "assistant", "content": "Hello"}, user("Bye")]},
        "system-texts": {**base, "messages": [
            {"role": "system", "content": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]},
            user("Hi"),
        ]},
        "sampling": {**base, "messages": [user("Hi")], "temperature": 0.5},
        "stop": {**base, "messages": [user("Hi")], "stop": ["END", "FIN"]},
        "tools": tools,
        "must-call": {**tools, "tool_choice": "required"},
        "must-call-one": {**tools, "tool_choice": {"type": "function", "function": {"name": "clock"}}},
        "one-at-a-time": {**tools, "parallel_tool_calls": False},
        "parallel-calls": {**tools, "messages": [
            user("Hi"), called(*calls), {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
            {"role": "tool", "tool_call_id": "call_2", "content": "noon"}, user("And?"),
        ]},
        "failed-result": {**tools, "messages": [
            user("Hi"), called(calls[1]), {"role": "tool", "tool_call_id": "call_2", "content": "no clock"},
        ]},
        "image": {**base, "messages": [user([{"type": "text", "text": "What?"}, url])]},
        "document": {**base, "messages": [user([{"type": "text", "text": "What?"}, file])]},
        "schema": {**base, "messages": [user("Hi")], "response_format": {
            "type": "json_schema", "json_schema": {"name": "output", "schema": ANSWER},
        }},
        "reasoning": {**base, "messages": [user("Hi")], "reasoning_effort": "medium"},
    }  # fmt: skip


def responses():
    def functions(*names):
        schemas = {"forecast": FORECAST, "clock": CLOCK}
        return [
            {
                "type": "function",
                "name": name,
                "description": f"The {name}",
                "parameters": schemas[name],
                "strict": False,
            }
            for name in names
        ]

    def user(*parts):
        parts = [{"type": "input_text", "text": part} if isinstance(part, str) else part for part in parts]
        return {"role": "user", "content": parts}

    def own(text):
        return {"role": "assistant", "content": [{"type": "output_text", "text": text}]}

    def called(key, name, given):
        return {"type": "function_call", "call_id": key, "name": name, "arguments": given}

    def result(key, text):
        return {"type": "function_call_output", "call_id": key, "output": text}

    image = {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}
    base = {"max_output_tokens": 20000, "store": False, "include": ["reasoning.encrypted_content"]}
    tools = {**base, "input": [user("Hi")], "tools": functions("forecast", "clock")}
    first, second = called("call_1", "forecast", '{"place":"Lyon","days":2}'), called("call_2", "clock", "{}")
    return {
        "plain": {**base, "input": [user("Hi")]},
        "text": {**base, "instructions": "Be terse.", "input": [user("Hi")]},
        "turns": {**base, "input": [user("Hi"), own("Hello"), user("Bye")]},
        "system-texts": {**base, "input": [{**user("One.", "Two."), "role": "developer"}, user("Hi")]},
        "tools": tools,
        "must-call": {**tools, "tool_choice": "required"},
        "must-call-one": {**tools, "tool_choice": {"type": "function", "name": "clock"}},
        "one-at-a-time": {**tools, "parallel_tool_calls": False},
        "parallel-calls": {**tools, "input": [
            user("Hi"), own("Let me see."), first, second, result("call_1", "rain"), result("call_2", "noon"),
            user("And?"),
        ]},
        "failed-result": {**tools, "input": [
            user("Hi"), own("Let me see."), second, result("call_2", "no clock"),
        ]},
        "image": {**base, "input": [user("What?", image)]},
        "document": {**base, "input": [user("What?", file)]},
        "schema": {**base, "input": [user("Hi")], "text": {
            "format": {"type": "json_schema", "name": "output", "schema": ANSWER},
        }},
        "reasoning": {**base, "input": [user("Hi")], "reasoning": {"effort": "medium", "summary": "auto"}},
    }  # fmt: skip


def gemini():
    def text(words):
        return {"text": words}

    def user(*parts):
        return {"role": "user", "parts": [text(part) if isinstance(part, str) else part for part in parts]}

    def model(*parts):
        return {"role": "model", "parts": [text(part) if isinstance(part, str) else part for part in parts]}

    def called(name, given):
        return {"functionCall": {"name": name, "args": given}}

    def result(name, **response):
        return {"functionResponse": {"name": name, "response": response}}

    limit = {"maxOutputTokens": 20000}
    base = {"contents": [user("Hi")], "generationConfig": limit}
    tools = {**base, "tools": [{"functionDeclarations": [
        {"name": "forecast", "description": "The forecast", "parametersJsonSchema": FORECAST},
        {"name": "clock", "description": "The clock", "parametersJsonSchema": CLOCK},
    ]}]}  # fmt: skip
    calling = "functionCallingConfig"
    return {
        "plain": base,
        "text": {**base, "systemInstruction": {"parts": [text("Be terse.")]}},
        "turns": {**base, "contents": [user("Hi"), model("Hello"), user("Bye")]},
        "system-texts": {**base, "systemInstruction": {"parts": [text("One."), text("Two.")]}},
        "sampling": {**base, "generationConfig": {**limit, "temperature": 0.5}},
        "stop": {**base, "generationConfig": {**limit, "stopSequences": ["END", "FIN"]}},
        "tools": tools,
        "must-call": {**tools, "toolConfig": {calling: {"mode": "ANY"}}},
        "must-call-one": {**tools, "toolConfig": {calling: {"mode": "ANY", "allowedFunctionNames": ["clock"]}}},
        "parallel-calls": {**tools, "contents": [
            user("Hi"), model("Let me see.", called("forecast", {"place": "Lyon", "days": 2}), called("clock", {})),
            user(result("forecast", output="rain"), result("clock", output="noon")), user("And?"),
        ]},
        "failed-result": {**tools, "contents": [
            user("Hi"), model("Let me see.", called("clock", {})), user(result("clock", error="no clock")),
        ]},
        "image": {**base, "contents": [user("What?", {"inlineData": {"mimeType": "image/png", "data": PNG}})]},
        "document": {**base, "contents": [user("What?", {"inlineData": {"mimeType": "application/pdf", "data": PDF}})]},
        "schema": {**base, "generationConfig": {
            **limit, "responseMimeType": "application/json", "responseJsonSchema": ANSWER,
        }},
        "reasoning": {**base, "generationConfig": {
            **limit, "thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": True},
        }},
    }  # fmt: skip


def anthropic():
    def text(words):
        return {"type": "text", "text": words}

    def said(role, *blocks):
        return {"role": role, "content": [text(block) if isinstance(block, str) else block for block in blocks]}

    def called(key, name, given):
        return {"type": "tool_use", "id": key, "name": name, "input": given}

    def result(key, words, **more):
        return {"type": "tool_result", "tool_use_id": key, "content": words, **more}

    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    file = {
        "type": "document", "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
    }  # fmt: skip
    base = {"max_tokens": 20000, "messages": [said("user", "Hi")]}
    tools = {**base, "tools": [
        {"name": "forecast", "description": "The forecast", "input_schema": FORECAST},
        {"name": "clock", "description": "The clock", "input_schema": CLOCK},
    ]}  # fmt: skip
    first, second = called("call_1", "forecast", {"place": "Lyon", "days": 2}), called("call_2", "clock", {})
    return {
        "plain": base,
        "text": {**base, "system": [text("Be terse.")]},
        "turns": {**base, "messages": [said("user", "Hi"), said("assistant", "Hello"), said("user", "Bye")]},
        "system-texts": {**base, "system": [text("One."), text("Two.")]},
        "sampling": {**base, "temperature": 0.5},
        "stop": {**base, "stop_sequences": ["END", "FIN"]},
        "tools": tools,
        "must-call": {**tools, "tool_choice": {"type": "any"}},
        "must-call-one": {**tools, "tool_choice": {"type": "tool", "name": "clock"}},
        "one-at-a-time": {**tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        "parallel-calls": {**tools, "messages": [
            said("user", "Hi"), said("assistant", "Let me see.", first, second),
            said("user", result("call_1", "rain"), result("call_2", "noon"), "And?"),
        ]},
        "failed-result": {**tools, "messages": [
            said("user", "Hi"), said("assistant", "Let me see.", second),
            said("user", result("call_2", "no clock", is_error=True)),
        ]},
        "image": {**base, "messages": [said("user", "What?", image)]},
        "document": {**base, "messages": [said("user", "What?", file)]},
        "schema": {**base, "output_config": {"format": {"type": "json_schema", "schema": ANSWER}}},
        "reasoning": {**base, "thinking": {"type": "enabled", "budget_tokens": 8192}},
    }  # fmt: skip


def converse():
    def said(role, *blocks):
        return {"role": role, "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}

    def called(key, name, given):
        return {"toolUse": {"toolUseId": key, "name": name, "input": given}}

    def result(key, words, **more):
        return {"toolResult": {"toolUseId": key, "content": [{"text": words}], **more}}

    base = {"messages": [said("user", "Hi")], "inferenceConfig": {"maxTokens": 20000}}
    specs = [
        {"toolSpec": {"name": "forecast", "description": "The forecast", "inputSchema": {"json": FORECAST}}},
        {"toolSpec": {"name": "clock", "description": "The clock", "inputSchema": {"json": CLOCK}}},
    ]
    tools = {**base, "toolConfig": {"tools": specs}}
    first, second = called("call_1", "forecast", {"place": "Lyon", "days": 2}), called("call_2", "clock", {})
    image = {"image": {"format": "png", "source": {"bytes": PNG}}}
    file = {"document": {"format": "pdf", "name": "a", "source": {"bytes": PDF}}}
    return {
        "plain": base,
        "text": {**base, "system": [{"text": "Be terse."}]},
        "turns": {**base, "messages": [said("user", "Hi"), said("assistant", "Hello"), said("user", "Bye")]},
        "system-texts": {**base, "system": [{"text": "One."}, {"text": "Two."}]},
        "sampling": {**base, "inferenceConfig": {"maxTokens": 20000, "temperature": 0.5}},
        "stop": {**base, "inferenceConfig": {"maxTokens": 20000, "stopSequences": ["END", "FIN"]}},
        "tools": tools,
        "must-call": {**base, "toolConfig": {"tools": specs, "toolChoice": {"any": {}}}},
        "must-call-one": {**base, "toolConfig": {"tools": specs, "toolChoice": {"tool": {"name": "clock"}}}},
        "parallel-calls": {**tools, "messages": [
            said("user", "Hi"), said("assistant", "Let me see.", first, second),
            said("user", result("call_1", "rain"), result("call_2", "noon"), "And?"),
        ]},
        "failed-result": {**tools, "messages": [
            said("user", "Hi"), said("assistant", "Let me see.", second),
            said("user", result("call_2", "no clock", status="error")),
        ]},
        "image": {**base, "messages": [said("user", "What?", image)]},
        "document": {**base, "messages": [said("user", "What?", file)]},
        "schema": {**base, "outputConfig": {"textFormat": {
            "type": "json_schema", "structure": {"jsonSchema": {"schema": {"$json": ANSWER}, "name": "output"}},
        }}},
        "reasoning": {**base, "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 8192}}},
    }  # fmt: skip


REQUESTS = {
    "openai.chat": chat(), "openai.responses": responses(), "gemini": gemini(), "anthropic": anthropic(),
    "invoke": anthropic(), "converse": converse(),
}  # fmt: skip
MODELS = {
    "openai.chat": "gpt-4o-mini",
    "openai.responses": "gpt-5",
    "gemini": "gemini-2.5-flash",
    "anthropic": "claude-sonnet-4-5",
    "converse": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "invoke": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
UNSAYABLE = {("openai.chat", "failed-result"), ("openai.responses", "failed-result")}
"""Features that a client of the format has no words for."""
REFUSED = {("openai.responses", "stop")}
"""Features that an upstream of the format lacks, and without which the response would mean something else."""
INSTEAD = {
    ("openai.responses", "sampling"): "plain",
    ("gemini", "one-at-a-time"): "tools",
    ("converse", "one-at-a-time"): "tools",
}
"""Features that an upstream lacks, and the feature that is left of them."""


def asked(client, feature):
    """Return what a client of a format sends, or None if it has no words for the feature."""
    if (client, feature) in UNSAYABLE or feature not in REQUESTS[client]:
        return None
    body = dict(REQUESTS[client][feature])
    if client == "invoke":
        body["anthropic_version"] = "bedrock-2023-05-31"
    if client == "converse" and feature == "schema":
        schema = {"schema": json.dumps(ANSWER), "name": "output"}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    return body


def model_for(upstream, feature):
    """Return the model that a feature is asked of: of OpenAI's, only some reason."""
    return "gpt-5" if (upstream, feature) == ("openai.chat", "reasoning") else MODELS[upstream]


def expected(client, upstream, feature):
    """Return what the upstream must get, exactly."""
    body = dict(REQUESTS[upstream][INSTEAD.get((upstream, feature), feature)])
    if upstream in ("openai.chat", "openai.responses", "anthropic"):
        body["model"] = model_for(upstream, feature)
    if upstream == "invoke":
        body["anthropic_version"] = "bedrock-2023-05-31"
    if (client, upstream) == ("openai.responses", "openai.chat") and "tools" in body:
        # Absent means strict in Responses, so its clients say that they are not.
        body["tools"] = [{**tool, "function": {**tool["function"], "strict": False}} for tool in body["tools"]]
    if client in ("anthropic", "invoke") and feature == "one-at-a-time":
        # Anthropic says it as a part of the choice, which is then said too.
        if upstream == "gemini":
            body["toolConfig"] = {"functionCallingConfig": {"mode": "AUTO"}}
        elif upstream == "converse":
            body["toolConfig"] = {**body["toolConfig"], "toolChoice": {"auto": {}}}
        elif upstream.startswith("openai"):
            body["tool_choice"] = "auto"
    if client == "gemini":
        body = without_names(body)
    elif client == "converse":
        body = renamed(body, {"a.pdf": {"$one_of": ["a", "a.pdf"]}})
    return body


def without_names(body):
    """Return an expectation for a client of Gemini: it names no documents, and its calls have no ids."""
    ids = {f"call_{number}": {"$bind": f"call {number}"} for number in (1, 2)}
    names = {"a.pdf": {"$one_of": ["document", "document.pdf"]}, "a": {"$one_of": ["document"]}}
    return renamed(body, {**ids, **names}, without=("title",))


def renamed(value, names, without=()):
    """Return JSON with other values for some strings, and without some members."""
    if isinstance(value, dict):
        return {name: renamed(one, names, without) for name, one in value.items() if name not in without}
    if isinstance(value, list):
        return [renamed(one, names, without) for one in value]
    return names.get(value, value) if isinstance(value, str) else value
