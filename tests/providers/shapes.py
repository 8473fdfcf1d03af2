"""Requests of every operation, with the places of their model names, and requests without a model."""

import re

from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

MARK = re.compile("«»|/{}")
JSON = "application/json"
FORM = "multipart/form-data; boundary=b"
ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"


def overridden(provider, request_line, body, model, content_type=JSON):
    method, _, target = request_line.partition(" ")
    operation = PROVIDERS[provider].operations.match_operation(
        method, target.partition("?")[0], {"content-type": content_type}
    )
    assert operation
    data = body if isinstance(body, bytes) else body.encode()
    edited = PROVIDERS[provider].operations.edit_request(
        operation, target.encode(), content_type, data, RequestEdits(model)
    )
    assert edited.model_changed is ((edited.target, edited.body) != (target.encode(), data))
    return edited.target, edited.body


def asked(provider, request_line, body, content_type=JSON):
    """Return operation and model of a request, as recognition reads them."""
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    operation = PROVIDERS[provider].operations.match_operation(method, path, {"content-type": content_type})
    assert operation
    if operation.body in ("json", "multipart", "message"):
        parameters = dict(each.split("=") for each in query.split("&") if each)
        return operation.name, PROVIDERS[provider].operations.read_request(
            operation, parameters, content_type, body
        ).model
    return operation.name, operation.model


def form(*parts):
    return "".join(f"--b\r\n{headers}\r\n\r\n{value}\r\n" for headers, value in parts) + "--b--\r\n"


FIELD = 'Content-Disposition: form-data; name="model"'
AUDIO = ('Content-Disposition: form-data; name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg', "\x00«\r\n--a--")
MESSAGES = '"messages":[{"role":"user","content":"the \\"model\\": \\u006d is {"}]'

# Request line and body of each shape, with «» where the model's name stands; {} stands for it as boto3 writes it.
OPENAI_SHAPES = [
    ("POST /v1/chat/completions", '{"model":"«»",' + MESSAGES + "}"),
    ("POST /v1/chat/completions", '\n{ "messages" : [ { "model" : "x" } ] ,\t"model"\r\n:  "«»"  }\n'),
    ("POST /v1/chat/completions", '{"metadata":{"model":"x"},"mod\\u0065l":"«»","tools":[{"model":"x"}]}'),
    ("POST /v1/chat/completions?a=%20b", '{"ключ":"значение","model":"«»"}'),
    ("POST /v1/responses", '{"input":"model","tools":[{"type":"image_generation","model":"x"}],"model":"«»"}'),
    ("POST /v1/responses/compact", '{"model":"«»","input":[]}'),
    ("POST /v1/responses/input_tokens", '{"model":"«»","input":"x"}'),
    ("POST /v1/completions", '{"prompt":["model"],"model":"«»"}'),
    ("POST /v1/embeddings", '{"model":"«»","input":[1,2]}'),
    ("POST /v1/images/generations", '{"model":"«»","prompt":"x"}'),
    ("POST /v1/images/edits", '{"model":"«»","prompt":"x"}'),
    ("POST /v1/audio/speech", '{"model":"«»","voice":"alloy"}'),
    ("POST /v1/moderations", '{"model":"«»","input":"x"}'),
    ("POST /v1/decisions", '{"input":"x","model":"«»"}'),
    ("POST /v1/videos", '{"prompt":"x","model":"«»"}'),
    ("POST /v1/fine_tuning/jobs", '{"training_file":"f","model":"«»"}'),
    ("POST /v1/assistants", '{"model":"«»","tools":[{"type":"code_interpreter"}]}'),
    ("POST /v1/assistants/asst_1", '{"name":"x","model":"«»"}'),
    ("POST /v1/threads/t_1/runs", '{"assistant_id":"a","model":"«»"}'),
    ("POST /v1/threads/runs", '{"assistant_id":"a","model":"«»","thread":{"messages":[{"model":"x"}]}}'),
    ("GET /v1/models/«»", ""),
    ("GET /v1/models/«»?a=/models/x:y", ""),
]
FORM_SHAPES = [
    ("POST /v1/audio/transcriptions", form(AUDIO, (FIELD, "«»"))),
    ("POST /v1/audio/transcriptions", form((FIELD, "«»"), ("content-disposition: form-data; name=stream", "true"))),
    ("POST /v1/audio/translations", form(("Content-Disposition: form-data; name=model", "«»"), AUDIO)),
    ("POST /v1/images/edits", form((FIELD + "\r\nContent-Type: text/plain; charset=utf-8", "«»"), AUDIO)),
    ("POST /v1/videos", form((FIELD, "«»"), AUDIO)),
    ("POST /v1/images/variations", form(AUDIO, ("X-A: model\r\n" + FIELD, "«»"), AUDIO)),
]
ANTHROPIC_SHAPES = [
    ("POST /v1/messages?beta=true", '{"max_tokens":1,"model":"«»",' + MESSAGES + "}"),
    ("POST /v1/messages/count_tokens", '{"model":"«»","messages":[]}'),
    (
        "POST /v1/messages/batches",
        """{"requests" : [ {"custom_id":"{\\"params\\"","params":{"model":"«»"}},
            { "params" : { "messages":[{"model":"x"}], "model" : "«»" }, "custom_id":"2"} ]}""",
    ),
    ("POST /v1/messages/batches", '{"model":"x","requests":[{"model":"x","params":{"model":"«»","messages":[]}}]}'),
    ("GET /v1/models/«»", ""),
    ("GET /v1/models/«»?a=/models/x:y", ""),
]
LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
GEMINI_SHAPES = [
    (f"GET {LIVE}", '{"setup":{"tools":[{"model":"x"}],"model":"models/«»"}}'),
    (f"GET {LIVE}?alt=json", '{ "setup" : {"model"\n: "«»"} }'),
    *((f"POST /{v}/models/«»:generateContent", '{"contents":[]}') for v in ("v1", "v1alpha", "v1beta")),
    ("POST /v1beta/models/«»:streamGenerateContent?alt=sse&x=%3A", '{"contents":{"parts":[{"text":"models/x"}]}}'),
    ("POST /v1beta/models/«»:generateContent", '{"model":"models/«»","contents":[]}'),
    ("POST /v1beta/models/«»:generateContent", '{"contents":[],"model" : "«»"}'),
    ("POST /v1beta/models/«»:generateContent", '{"model":null}'),
    ("POST /v1beta/models/«»:countTokens", '{"generateContentRequest":{"model":"models/«»","contents":[]}}'),
    ("POST /v1beta/models/«»:countTokens", '{"model":"«»","generate_content_request": { "model":"models/«»"} }'),
    ("POST /v1beta/models/«»:countTokens", '{"contents":[]}'),
    ("POST /v1beta/models/«»:embedContent", '{"model":"models/«»","content":{}}'),
    (
        "POST /v1beta/models/«»:batchEmbedContents",
        '{"requests":[{"model":"models/«»"}, {"content":{"model":"x"}},{ "model" : "«»"}]}',
    ),
    ("POST /v1beta/models/«»:batchEmbedContents", '{"requests": {"content":{}, "model":"models/«»"}}'),
    ("POST /v1beta/models/«»:predict", '{"instances":[{"model":"x"}]}'),
    ("POST /v1beta/models/«»:predictLongRunning", '{"instances":[]}'),
    ("POST /v1beta/models/«»:generateAnswer", '{"contents":[],"model":"models/«»"}'),
    ("POST /v1beta/interactions", '{"input":"x","model":"«»"}'),
    ("POST /v1beta/interactions", '{"model":"models/«»","input":[{"model":"x"}]}'),
    ("POST /v1beta/cachedContents", '{"contents":[],"model":"models/«»"}'),
    ("POST /v1beta/cachedContents", '{"model":"«»"}'),
    ("POST /v1beta/openai/chat/completions", '{"model":"«»",' + MESSAGES + "}"),
    ("POST /v1beta/openai/chat/completions", '{"model":"models/«»"}'),
    ("POST /v1beta/openai/embeddings", '{"input":"x","model":"«»"}'),
    ("POST /v1beta/openai/images/generations", '{"model":"«»"}'),
    ("GET /v1beta/models/«»", ""),
    ("GET /v1beta/models/«»?a=/models/x:y", ""),
    ("GET /v1beta/openai/models/«»", ""),
]
BEDROCK_SHAPES = [
    ("POST /model/{}/converse", '{"messages":[]}'),
    ("POST /model/{}/converse-stream?x=%3A", '{"messages":[{"model":"x"}]}'),
    ("POST /model/{}/invoke", '{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}'),
    ("POST /model/{}/invoke", '{"messages":[], "model":"«»"}'),
    ("POST /model/{}/invoke", '{"inputText":"x","model":7}'),
    ("POST /model/{}/invoke-with-response-stream", '{"prompt":"/model/x"}'),
    ("POST /model/{}/count-tokens", '{"input":{"converse":{}}}'),
    ("POST /model/{}/invoke-with-bidirectional-stream", ""),
    ("GET /foundation-models/{}", ""),
    ("GET /foundation-models/{}?a=/models/x:y", ""),
    ("GET /inference-profiles/{}", ""),
    (
        "POST /retrieveAndGenerate",
        """{"input":{"text":"x"}, "retrieveAndGenerateConfiguration" : {"type":"KNOWLEDGE_BASE",
            "knowledgeBaseConfiguration": {"retrievalConfiguration":{"modelArn":"x"},"modelArn": "«»" } } }""",
    ),
    (
        "POST /retrieveAndGenerateStream",
        '{"retrieveAndGenerateConfiguration":{"knowledgeBaseConfiguration":{"modelArn":"«»"}}}',
    ),
    (
        "POST /retrieveAndGenerate",
        '{"retrieveAndGenerateConfiguration":{"externalSourcesConfiguration":{"modelArn":"«»","sources":[]}}}',
    ),
]
OLD, NEW = "old-model-1", "new-model.2"
SHAPES = [
    (provider, line, body, content_type, model)
    for provider, shapes, content_type, models in (
        ("openai", OPENAI_SHAPES, JSON, (NEW, "ft:gpt-4o:org::9abc")),
        ("openai", FORM_SHAPES, FORM, (NEW, "a/ü b")),
        ("anthropic", ANTHROPIC_SHAPES, JSON, (NEW, "claude-sonnet-4@20250514")),
        ("gemini", GEMINI_SHAPES, JSON, (NEW, "gemini-2.5-flash_1")),
        ("bedrock", BEDROCK_SHAPES, JSON, (NEW, "amazon.nova-lite-v1:0", ARN)),
    )
    for line, body in shapes
    for model in models
]


def filled(template, model):
    written = "/" + model.replace(":", "%3A").replace("/", "%2F")
    # In one pass: a model's name may hold one of the marks.
    return MARK.sub(lambda found: model if found[0] == "«»" else written, template)


# Operations without a model: a request line and a body of each.
WITHOUT = [
    ("openai", "GET /v1/models", ""),
    ("openai", "GET /v1/chat/completions?model=old-model-1", ""),
    ("openai", "GET /v1/chat/completions/chatcmpl-1", ""),
    ("openai", "DELETE /v1/chat/completions/chatcmpl-1", ""),
    ("openai", "GET /v1/chat/completions/chatcmpl-1/messages", ""),
    ("openai", "POST /v1/chat/completions/chatcmpl-1", '{"metadata":{"model":"x"}}'),
    ("openai", "GET /v1/responses/resp_1?stream=true", ""),
    ("openai", "DELETE /v1/responses/resp_1", ""),
    ("openai", "POST /v1/responses/resp_1/cancel", ""),
    ("openai", "GET /v1/responses/resp_1/input_items", ""),
    ("openai", "POST /v1/files", '{"model":"x"}'),
    ("openai", "GET /v1/files", ""),
    ("openai", "GET /v1/files/file-1", ""),
    ("openai", "DELETE /v1/files/file-1", ""),
    ("openai", "GET /v1/files/file-1/content", ""),
    ("openai", "POST /v1/uploads", '{"bytes":1}'),
    # To these a member `model` means nothing.
    ("openai", "POST /v1/chat/completions/chatcmpl-1", '{"metadata":{},"model":"old-model-1"}'),
    ("openai", "POST /v1/uploads", '{"bytes":1,"model":"old-model-1"}'),
    ("openai", "POST /v1/uploads/upload_1/complete", '{"part_ids":[],"model":"old-model-1"}'),
    ("openai", "POST /v1/uploads/upload_1/parts", "\x00"),
    ("openai", "POST /v1/uploads/upload_1/complete", '{"part_ids":[]}'),
    ("openai", "POST /v1/uploads/upload_1/cancel", ""),
    ("openai", "GET /v1/batches", ""),
    ("openai", "GET /v1/batches/batch_1", ""),
    ("openai", "POST /v1/batches/batch_1/cancel", ""),
    ("anthropic", "GET /v1/models", ""),
    ("anthropic", "POST /v1/messages/batches", '{"requests":[]}'),
    ("anthropic", "GET /v1/messages/batches", ""),
    ("anthropic", "GET /v1/messages/batches/b_1", ""),
    ("anthropic", "DELETE /v1/messages/batches/b_1", ""),
    ("anthropic", "POST /v1/messages/batches/b_1/cancel", ""),
    ("anthropic", "GET /v1/messages/batches/b_1/results", ""),
    ("anthropic", "POST /v1/files", "\x00"),
    ("anthropic", "GET /v1/files", ""),
    ("anthropic", "GET /v1/files/file_1", ""),
    ("anthropic", "DELETE /v1/files/file_1", ""),
    ("anthropic", "GET /v1/files/file_1/content", ""),
    ("gemini", "GET /v1beta/models?pageSize=5", ""),
    ("gemini", "GET /v1beta/models/m/operations/o", ""),
    ("gemini", "GET /v1beta/tunedModels", ""),
    ("gemini", "GET /v1beta/tunedModels/t", ""),
    ("gemini", "GET /v1beta/cachedContents", ""),
    ("gemini", "GET /v1beta/cachedContents/c", ""),
    ("gemini", "PATCH /v1beta/cachedContents/c", '{"model":"models/x","ttl":"1s"}'),
    ("gemini", "DELETE /v1beta/cachedContents/c", ""),
    ("gemini", "POST /v1beta/files", '{"model":"x"}'),
    ("gemini", "GET /v1beta/files", ""),
    ("gemini", "GET /v1beta/files/f:download?alt=media", ""),
    ("gemini", "GET /v1beta/files/f", ""),
    ("gemini", "DELETE /v1beta/files/f", ""),
    ("gemini", "POST /upload/v1beta/files", "\x00"),
    ("gemini", "GET /v1beta/openai/models", ""),
    ("bedrock", "GET /foundation-models", ""),
    ("bedrock", "GET /inference-profiles", ""),
    ("bedrock", "POST /knowledgebases/K/retrieve", '{"retrievalQuery":{},"model":"x"}'),
    ("bedrock", "POST /agents/A/agentAliases/B/sessions/ss/text", '{"inputText":"x","model":"x"}'),
]
OUT_OF_REACH = [
    ("gemini", "POST /v1beta/models/m:batchGenerateContent", '{"batch":{"model":"models/m"}}', "a batch"),
    ("gemini", "POST /v1beta/models/m:asyncBatchEmbedContent", '{"batch":{}}', "a batch"),
    ("gemini", "PATCH /v1beta/models/m", '{"displayName":"x"}', "a change of a model itself"),
    ("gemini", "DELETE /v1beta/models/m", "", "a change of a model itself"),
    ("anthropic", "POST /v1/agents", '{"name":"x","model":{"id":"m"}}', "a stored agent"),
    ("anthropic", "POST /v1/agents/agent_1", '{"model":"m"}', "a stored agent"),
    ("openai", "POST /v1/batches", '{"input_file_id":"file-1","model":"x"}', "in a file"),
    ("openai", "DELETE /v1/models/ft:gpt-4o:org::9abc", "", "the deletion of a model"),
    ("bedrock", "POST /retrieveAndGenerate", '{"input":{"text":"x"},"sessionId":"s"}', "a session"),
    ("bedrock", "POST /retrieveAndGenerate", '{"retrieveAndGenerateConfiguration":{"type":"X"}}', "a session"),
]
