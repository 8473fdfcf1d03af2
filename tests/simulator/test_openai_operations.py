"""OpenAI's other operations, as its SDK reads them."""

import base64
import json
from itertools import islice

import openai
import pytest

from tests.simulator.requests import request
from tests.simulator.test_openai import CALL_A_TOOL, TEXT, TOOL, client_with
from tests.support.running import PROVIDER_KEYS
from wirekey_simulator.behaviour import parse_behaviour
from wirekey_simulator.openai import respond_at
from wirekey_simulator.session import MARK
from wirekey_simulator.state import State

FLAT_TOOL = {"type": "function", "strict": False, **TOOL["function"]}


@pytest.fixture
def client(simulator, context):
    with client_with(simulator, context, PROVIDER_KEYS["openai"]) as client:
        yield client


def wish(behaviour):
    return {"x-simulator": behaviour}


def test_a_response_has_text_and_usage_and_can_be_fetched_again(client):
    response = client.responses.create(
        model="gpt-4o-mini",
        input="Say",
        extra_headers=wish("tokens=9, reasoning-tokens=4, input-tokens=7, cached-tokens=2"),
    )
    assert response.output_text == TEXT
    assert response.status == "completed"
    assert response.usage.input_tokens == 7
    assert response.usage.input_tokens_details.cached_tokens == 2
    assert response.usage.output_tokens_details.reasoning_tokens == 4
    assert client.responses.retrieve(response.id).output_text == TEXT
    assert client.responses.input_items.list(response.id).data[0].content == "Say"
    following = client.responses.create(model="gpt-4o-mini", input="More", previous_response_id=response.id)
    assert following.previous_response_id == response.id
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)


def test_a_response_stream_runs_from_created_to_completed(client):
    events = list(client.responses.create(model="gpt-4o-mini", input="Say", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.usage.output_tokens > 0
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    with client.responses.stream(model="gpt-4o-mini", input="Say") as stream:
        assert stream.get_final_response().output_text == TEXT


def test_a_response_calls_a_tool(client):
    asked = {"model": "gpt-4o-mini", "input": CALL_A_TOOL, "tools": [FLAT_TOOL]}
    (item,) = client.responses.create(**asked).output
    assert (item.type, item.name, item.arguments) == ("function_call", "weather", '{"city":"simulated","days":1}')
    with client.responses.stream(**asked) as stream:
        assert stream.get_final_response().output[0].arguments == item.arguments


def test_a_response_that_fails_inside_its_stream_says_so(client):
    events = client.responses.create(model="gpt-4o-mini", input="Say", stream=True, extra_headers=wish("error-after=3"))
    try:
        kinds = [event.type for event in events]
    except openai.APIError:
        return
    assert kinds[-1] == "error"
    assert len(kinds) == 4


def test_input_tokens_are_counted(client):
    assert client.responses.input_tokens.count(model="gpt-4o-mini", input="x" * 400).input_tokens > 100


@pytest.mark.parametrize(("given", "count"), [("one", 1), (["one", "two"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)])
def test_embeddings_are_unit_vectors_that_depend_on_the_text_alone(client, given, count):
    responses = [
        client.embeddings.create(model="text-embedding-3-small", input=given, **more)
        for more in ({}, {"encoding_format": "float"})
    ]
    for response in responses:
        assert len(response.data) == count
        assert len(response.data[0].embedding) == 1536
        assert sum(x * x for x in response.data[0].embedding) == pytest.approx(1, abs=1e-5)
    assert responses[0].data[0].embedding == pytest.approx(responses[1].data[0].embedding, abs=1e-6)
    assert responses[0].usage.prompt_tokens == responses[0].usage.total_tokens > 0


def test_embeddings_have_the_dimensions_asked_for(client):
    response = client.embeddings.create(model="text-embedding-3-large", input="x", dimensions=8)
    assert len(response.data[0].embedding) == 8


def test_moderations_flag_violence(client):
    response = client.moderations.create(model="omni-moderation-latest", input=["peace", "violence"])
    assert [result.flagged for result in response.results] == [False, True]
    assert response.results[1].categories.violence


def test_images_have_the_format_of_the_model(client):
    newer = client.images.generate(model="gpt-image-1", prompt="a canary")
    assert base64.b64decode(newer.data[0].b64_json).startswith(b"\x89PNG")
    assert newer.usage.total_tokens > 0
    older = client.images.generate(model="dall-e-3", prompt="a canary", n=2)
    assert len(older.data) == 2
    assert older.data[0].url.startswith("https://")
    edited = client.images.edit(model="gpt-image-1", image=("a.png", b"png"), prompt="bluer")
    assert edited.data[0].b64_json == newer.data[0].b64_json
    assert client.images.create_variation(image=("a.png", b"png")).data
    events = client.images.generate(model="gpt-image-1", prompt="x", stream=True, partial_images=2)
    kinds = [event.type for event in events]
    assert kinds == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]


def test_speech_is_bytes_of_the_size_asked_for(client):
    spoken = client.audio.speech.create(model="tts-1", voice="alloy", input="hi", extra_headers=wish("size=5000"))
    assert len(spoken.content) == 5000
    assert spoken.response.headers["content-type"] == "audio/mpeg"


def test_transcriptions_are_json_text_subtitles_or_a_stream(client):
    def heard(**more):
        return client.audio.transcriptions.create(
            **{"model": "gpt-4o-transcribe", "file": ("a.wav", b"RIFF" * 100), **more}
        )

    assert heard().text == TEXT
    assert heard().usage.type == "tokens"
    assert heard(model="whisper-1").usage.type == "duration"
    assert heard(response_format="text").strip() == TEXT
    assert TEXT in heard(response_format="srt")
    assert heard(response_format="verbose_json").segments[0].text == TEXT
    events = list(heard(stream=True))
    assert "".join(event.delta for event in events[:-1]) == events[-1].text == TEXT
    translated = client.audio.translations.create(model="whisper-1", file=("a.wav", b"RIFF"))
    assert translated.text == TEXT


def test_models_are_listed_and_unknown_ones_are_404(client):
    assert "gpt-4o-mini" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-4o-mini").id == "gpt-4o-mini"
    assert client.models.delete("ft:gpt-4o-mini:mine").deleted
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-0")


def test_files_are_kept_listed_and_deleted(client):
    files = [client.files.create(file=(f"{n}.txt", b"content %d" % n), purpose="user_data") for n in range(5)]
    assert [file.id for file in client.files.list(limit=2)] == [file.id for file in reversed(files)]
    assert client.files.retrieve(files[0].id).filename == "0.txt"
    assert client.files.content(files[0].id).content == b"content 0"
    assert client.files.delete(files[0].id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(files[0].id)


def test_an_upload_in_parts_becomes_a_file(client):
    upload = client.uploads.create(bytes=10, filename="x.txt", mime_type="text/plain", purpose="user_data")
    parts = [client.uploads.parts.create(upload.id, data=data) for data in (b"01234", b"56789")]
    done = client.uploads.complete(upload.id, part_ids=[part.id for part in parts])
    assert client.files.content(done.file.id).content == b"0123456789"
    other = client.uploads.create(bytes=1, filename="x.txt", mime_type="text/plain", purpose="user_data")
    assert client.uploads.cancel(other.id).status == "cancelled"


def test_a_batch_completes_at_the_next_request(client):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say"}]}
    lines = [{"custom_id": f"n{n}", "method": "POST", "url": "/v1/chat/completions", "body": body} for n in range(2)]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    made = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch, other = client.batches.create(**made), client.batches.create(**made)
    assert client.batches.cancel(other.id).status == "cancelled"
    done = client.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed) == ("completed", 2)
    results = [json.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    assert [result["custom_id"] for result in results] == ["n0", "n1"]
    usages = [result["response"]["body"]["usage"] for result in results]
    assert done.usage.input_tokens == sum(usage["prompt_tokens"] for usage in usages) > 0
    assert done.usage.output_tokens == sum(usage["completion_tokens"] for usage in usages) > 0
    assert len(list(client.batches.list())) == 2


def test_requests_of_a_batch_fail_and_expire_one_by_one(client):
    good = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say"}]}
    bodies = {"good": good, "bad": {"model": "gpt-4o-mini"}, "expired": good}
    lines = [{"custom_id": name, "method": "POST", "url": "/v1/x", "body": body} for name, body in bodies.items()]
    content = "\n".join(json.dumps(line) for line in lines).encode()
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    made = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.batches.create(**made, metadata={"usage": "none"})
    done = client.batches.retrieve(batch.id)
    assert (done.status, done.usage) == ("expired", None)
    assert (done.request_counts.completed, done.request_counts.failed) == (1, 2)
    failed = [json.loads(line) for line in client.files.content(done.error_file_id).text.splitlines()]
    assert [(one["custom_id"], bool(one["error"])) for one in failed] == [("bad", False), ("expired", True)]
    assert failed[0]["response"]["status_code"] == 400


def test_stored_chats_are_listed_changed_and_deleted(client):
    messages = [{"role": "user", "content": "Say"}]
    chat = client.chat.completions.create(model="gpt-4o-mini", messages=messages, store=True, metadata={"a": "b"})
    assert [stored.id for stored in client.chat.completions.list()] == [chat.id]
    assert client.chat.completions.retrieve(chat.id).choices == chat.choices
    assert client.chat.completions.messages.list(chat.id).data[0].content == "Say"
    assert client.chat.completions.update(chat.id, metadata={"c": "d"}).metadata == {"c": "d"}
    assert client.chat.completions.delete(chat.id).deleted


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/responses", {"model": "m"}, "input"),
        ("/v1/responses", {"model": "m", "input": "x", "previous_response_id": "resp_0"}, "previous_response_id"),
        ("/v1/embeddings", {"model": "m"}, "input"),
        ("/v1/embeddings", {"model": "m", "input": []}, "input"),
        ("/v1/images/generations", {"model": "m"}, "prompt"),
        ("/v1/audio/speech", {"model": "m", "input": "x"}, "voice"),
        ("/v1/moderations", {}, "input"),
        ("/v1/completions", {"model": "m"}, "prompt"),
        ("/v1/chat/completions", {"model": "m", "messages": CALL_A_TOOL, "n": 10**30}, "n"),
        ("/v1/chat/completions", {"model": "m", "messages": CALL_A_TOOL, "tools": [None]}, "tools[0]"),
        ("/v1/chat/completions", {"model": "m", "messages": CALL_A_TOOL, "tools": [{"type": "function"}]}, "function"),
        ("/v1/chat/completions", {"model": "m", "messages": [[]]}, "messages[0]"),
        ("/v1/responses", {"model": "m", "input": [1]}, "input[0]"),
        ("/v1/images/generations", {"prompt": "x", "stream": True, "partial_images": 10**9}, "partial_images"),
    ],
)
def test_a_missing_or_wrong_parameter_is_named(http, path, body, field):
    response = http.post(path, json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == field


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions", "/v1/images/edits"])
@pytest.mark.parametrize("content_type", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_a_body_that_is_not_a_form_is_refused(http, path, content_type):
    response = http.post(path, content=b"{}", headers={"content-type": content_type})
    assert response.status_code == 400


def test_the_token_limit_cuts_the_text_and_is_the_finish_reason(client):
    messages = [{"role": "user", "content": "Say"}]
    chat = client.chat.completions.create(model="gpt-4o-mini", messages=messages, max_completion_tokens=3)
    assert chat.choices[0].message.content == "Hello from the "
    assert (chat.choices[0].finish_reason, chat.usage.completion_tokens) == ("length", 3)
    chunks = list(client.chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=3, stream=True))
    assert chunks[-1].choices[0].finish_reason == "length"
    older = client.completions.create(model="gpt-3.5-turbo-instruct", prompt="Say", max_tokens=3)
    assert older.choices[0].finish_reason == "length"
    long = f"{MARK} {json.dumps([{'text': 'word ' * 20}])}"
    response = client.responses.create(model="gpt-4o-mini", input=long, max_output_tokens=16)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = list(client.responses.create(model="gpt-4o-mini", input=long, max_output_tokens=16, stream=True))
    assert events[-1].type == "response.incomplete"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True}),
        ("/v1/completions", {"model": "m", "prompt": "x", "stream": True}),
        ("/v1/responses", {"model": "m", "input": "x", "stream": True}),
        ("/v1/audio/speech", {"model": "m", "input": "x", "voice": "alloy"}),
    ],
)
def test_a_stream_of_a_gibibyte_is_made_piece_by_piece(path, body):
    behaviour = parse_behaviour("size=1GiB")
    response = respond_at(path, request("POST", path, body), behaviour, State())
    assert sum(len(piece) for piece in islice(response.pieces, 100)) < 1 << 20
