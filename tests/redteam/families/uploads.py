"""Forms with members that readers see differently, and the fields of each API with which a provider fetches a URL."""

from __future__ import annotations

from tests.redteam.ground import OPENAI, OWN_KEY
from tests.redteam.technique import Technique
from tests.support.raw_client import post

GOOGLE, ANTHROPIC, BEDROCK = (
    "generativelanguage.googleapis.com",
    "api.anthropic.com",
    "bedrock-runtime.us-east-1.amazonaws.com",
)
END = b"--x--\r\n"


def part(*lines: str, body: bytes = b"", boundary: str = "x") -> bytes:
    return "\r\n".join([f"--{boundary}", *lines, "", ""]).encode("latin-1") + body + b"\r\n"


def field(name: str, value: str) -> bytes:
    return part(f'Content-Disposition: form-data; name="{name}"', body=value.encode())


def file(name: str, *lines: str, body: bytes = b'{"a":1}') -> bytes:
    return part(f'Content-Disposition: form-data; name="file"; filename="{name}"', *lines, body=body)


def upload(
    tried: str, body: bytes, path: str = "/v1/files", kind: str = "multipart/form-data; boundary=x"
) -> Technique:
    data = post(path=path, body=body, content_type=kind)
    return Technique("forms", f"{path}: {tried}", lambda ground: ground.in_tunnel(data), True)


BATCH, SPEECH = field("purpose", "batch"), "/v1/audio/transcriptions"
WHISPER = field("model", "whisper-1")
BODIES = (
    ("two purposes", BATCH + field("purpose", "fine-tune") + file("a.jsonl")),
    ("purpose[]", BATCH + field("purpose[]", "fine-tune") + file("a.jsonl")),
    ("two files", BATCH + file("a.jsonl") + file("b.jsonl")),
    ("a path as a name", BATCH + file("../../../etc/passwd")),
    ("a path of Windows as a name", BATCH + file("..\\..\\x")),
    ("control characters in a name", BATCH + file("a\x1b[31m\x07b")),
    ("a quote in a name", BATCH + file('a"; name="purpose')),
    ("a NUL in a name", BATCH + file("a\0.jsonl")),
    ("a name of 100,000 letters", BATCH + file("x" * 100_000)),
    (
        "a name in filename*",
        BATCH + part("Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''%2e%2e%2fx", body=b"{}"),
    ),
    ("a key in the form", BATCH + field("api_key", OWN_KEY) + file("a.jsonl")),
    ("a header in a part", BATCH + file("a.jsonl", f"Authorization: Bearer {OWN_KEY}")),
    ("an encoding of a part", BATCH + file("a.jsonl", "Content-Transfer-Encoding: base64", body=b"eyJhIjoxfQ==")),
    ("no end", BATCH + file("a.jsonl")[:-9]),
    ("a part behind the end", BATCH + file("a.jsonl") + END + field("purpose", "fine-tune")),
    ("text before the first part", b"hello\r\n" + BATCH + file("a.jsonl")),
    ("lines that end with LF", (BATCH + file("a.jsonl")).replace(b"\r\n", b"\n")),
    ("2,000 parts", BATCH * 2000),
    (
        "another form within",
        BATCH + file("a", "Content-Type: multipart/mixed; boundary=y", body=part("X: y", boundary="y")),
    ),
)
MODELS = (
    ("two models", WHISPER + field("model", "gpt-4o-transcribe") + file("a.wav")),
    ("a model behind the file", file("a.wav") + WHISPER),
    ("model in capitals", WHISPER + field("MODEL", "gpt-4o-transcribe") + file("a.wav")),
    ("model[]", WHISPER + field("model[]", "gpt-4o-transcribe") + file("a.wav")),
    (
        "a model without quotes",
        part("Content-Disposition: form-data; name=model", body=b"gpt-5") + WHISPER + file("a.wav"),
    ),
    ("a model as a file", part('Content-Disposition: form-data; name="model"; filename="x"', body=b"gpt-5") + WHISPER),
    ("two names of a part", part('Content-Disposition: form-data; name="x"; name="model"', body=b"gpt-5") + WHISPER),
    (
        "two dispositions of a part",
        part('Content-Disposition: form-data; name="x"', 'Content-Disposition: form-data; name="model"', body=b"gpt-5")
        + WHISPER,
    ),
    ("a folded disposition", part('Content-Disposition: form-data;\r\n name="model"', body=b"gpt-5") + WHISPER),
    ("a model with a line", field("model", "whisper-1\r\nX: y") + file("a.wav")),
    ("no model", file("a.wav")),
)
KINDS = (
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=x; boundary=y",
    'multipart/form-data; boundary="x',
    "multipart/form-data; boundary=" + "x" * 5000,
    "multipart/mixed; boundary=x",
    "application/x-www-form-urlencoded",
    "text/plain",
    "application/json",
    "multipart/form-data; boundary=y",
)
CHAT = '"model":"gpt-4o-mini","messages":[{"role":"user","content":"x"}]'
FIELDS = (
    (
        OPENAI,
        "/v1/responses",
        '{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","image_url":"URL"}]}]}',
    ),
    (
        OPENAI,
        "/v1/responses",
        '{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_file","file_url":"URL"}]}]}',
    ),
    (
        OPENAI,
        "/v1/responses",
        '{"model":"gpt-4o","input":"x","tools":[{"type":"mcp","server_label":"a","server_url":"URL"}]}',
    ),
    (OPENAI, "/v1/responses", '{"model":"gpt-4o","input":"x","background":true,"webhook":"URL"}'),
    (OPENAI, "/v1/images/edits", '{"model":"gpt-image-1","prompt":"x","images":[{"image_url":"URL"}]}'),
    (OPENAI, "/v1/videos", '{"model":"sora-2","prompt":"x","input_reference":{"image_url":"URL"}}'),
    (
        OPENAI,
        "/v1/moderations",
        '{"model":"omni-moderation-latest","input":[{"type":"image_url","image_url":{"url":"URL"}}]}',
    ),
    (
        OPENAI,
        "/v1/fine_tuning/jobs",
        '{"model":"gpt-4o-mini","training_file":"URL","integrations":[{"type":"wandb","wandb":{"project":"URL"}}]}',
    ),
    (OPENAI, "/v1/batches", '{"input_file_id":"f","endpoint":"URL","completion_window":"24h"}'),
    (OPENAI, "/v1/evals", '{"data_source_config":{"type":"custom","url":"URL"},"testing_criteria":[]}'),
    (OPENAI, "/v1/webhooks", '{"url":"URL","events":["response.completed"]}'),
    (
        GOOGLE,
        "/v1beta/models/gemini-2.5-flash:generateContent",
        '{"contents":[{"parts":[{"fileData":{"fileUri":"URL"}}]}]}',
    ),
    (
        GOOGLE,
        "/v1beta/models/gemini-2.5-flash:generateContent",
        '{"contents":[{"parts":[{"text":"x"}]}],"tools":[{"urlContext":{"url":"URL"}}]}',
    ),
    (
        GOOGLE,
        "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
        '{"batch":{"inputConfig":{"fileName":"URL"},"webhookConfig":{"uris":["URL"]}}}',
    ),
    (
        GOOGLE,
        "/v1beta/cachedContents",
        '{"model":"models/gemini-2.5-flash","contents":[{"parts":[{"fileData":{"fileUri":"URL"}}]}]}',
    ),
    (
        ANTHROPIC,
        "/v1/messages",
        '{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"URL"}}]}]}',
    ),
    (
        ANTHROPIC,
        "/v1/messages",
        '{"model":"claude-sonnet-4-5","max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"URL"}}]}]}',
    ),
    (
        ANTHROPIC,
        "/v1/messages",
        '{"model":"claude-sonnet-4-5","max_tokens":9,"mcp_servers":[{"type":"url","url":"URL","name":"a"}],"messages":[{"role":"user","content":"x"}]}',
    ),
    (
        BEDROCK,
        "/model/amazon.nova-lite-v1%3A0/converse",
        '{"messages":[{"role":"user","content":[{"image":{"format":"png","source":{"s3Location":{"uri":"URL"}}}}]}]}',
    ),
    (
        BEDROCK,
        "/model/amazon.nova-lite-v1%3A0/async-invoke",
        '{"modelInput":{},"outputDataConfig":{"s3OutputDataConfig":{"s3Uri":"URL"}}}',
    ),
    (OPENAI, "/v1/chat/completions", "{" + CHAT + ',"web_search_options":{"search_url":"URL"}}'),
    (OPENAI, "/v1/chat/completions", "{" + CHAT + ',"metadata":{"callback":"URL"}}'),
)
TARGETS = ("http://127.0.0.1:1/", "http://169.254.169.254/latest/meta-data/iam/", "file:///proc/self/environ")


def url(host: str, path: str, body: str, target: str) -> Technique:
    at = body.index("URL")
    member = body[max(0, at - 60) : at]
    data = post(path=path, host=host, body=body.replace("URL", target).encode())
    return Technique("URL fields", f"{path}: {member}{target}", lambda ground: ground.in_tunnel(data, host), True)


TECHNIQUES = [
    *(upload(tried, body + END) for tried, body in BODIES),
    *(upload(tried, body + END, SPEECH) for tried, body in MODELS),
    *(upload(f"the type {kind[:70]!r}", WHISPER + file("a.wav") + END, SPEECH, kind) for kind in KINDS),
    *(url(*each, target) for each in FIELDS for target in TARGETS),
]
