"""Requests to Mistral's API: their operations, facts and edits."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.core.body import Body
from wirekey.core.model_name import PENALTIES, SAMPLING
from wirekey.core.operation import Facts, Kind, Operation
from wirekey.providers.openai.references import content_refers
from wirekey.providers.openai.requests import OpenAiRequests, read_chat, read_form, read_responses
from wirekey.providers.other_models import OTHER_MODEL_KEYS, read_other_models
from wirekey.providers.paths import PathTable, read_rows
from wirekey.providers.price_facts import once_each, typed_tools
from wirekey.providers.references import type_of
from wirekey.providers.request_edits import as_json, cap_tokens, cap_tokens_in_group, out_of_reach, uncapped
from wirekey.providers.request_json import check_json_type, read_body, read_model, refuse_lookalikes
from wirekey.providers.tools import collect, first_tools, names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wirekey.core.body import RequestBody
    from wirekey.providers.json_edits import EditableBody
    from wirekey.providers.request_edits import RequestEdits
    from wirekey.providers.request_json import JsonObject

ROUTES = PathTable(read_rows(__file__))

CHATS = ("chat.completions", "agents.completions")
CONVERSATIONS = ("conversations.start", "conversations.append", "conversations.restart")
WITHOUT_LIMIT = {
    "batch.jobs.create": "a batch, whose requests are in a file",
    "workflows.execute": "a workflow",
    "workflows.registrations.execute": "a workflow",
    "workflows.schedules.create": "a schedule of a workflow",
    "observability.judges.live-judging": "an evaluation, whose model is stored",
    "observability.dataset-records.live-judging": "an evaluation, whose model is stored",
}
"""Operations that have text written, with no limit of tokens that Wirekey knows, and what they are."""
MODEL_IN_BODY = frozenset(
    [
        *("chat.completions", "fim.completions", "embeddings", "ocr", "responses", "responses.input_tokens"),
        *("moderations", "chat.moderations", "classifications", "chat.classifications"),
        *("audio.speech", "audio.transcriptions", "conversations.start", "agents.create", "agents.update"),
    ]
)
"""Operations whose body has a member or form field `model`."""
KEYS = frozenset(
    [
        *("model", "agent_id", "stream", "messages", "input", "inputs", "instructions", "prompt", "document"),
        *("tools", "max_tokens", "max_output_tokens", "completion_args", "n", "service_tier"),
        *OTHER_MODEL_KEYS,
    ]
)
STORED = ("document_library", "connector")
"""Beginnings of the types of tools that read what the account has stored or connected."""
PAID_TOOLS = {name: name for name in ("web_search", "code_interpreter", "image_generation", "document_library")}
RENAMED = {"seed": "random_seed"}
"""Parameter of a model's name → the member that holds it."""


class MistralRequests(OpenAiRequests):
    """Reads and edits requests in Mistral's format."""

    name = "mistral"
    parameters = MappingProxyType(
        {
            "chat.completions": (*SAMPLING, "top_k", "max_tokens", *PENALTIES, "reasoning_effort"),
            "fim.completions": (*SAMPLING, "max_tokens", "seed"),
        }
    )

    def match_operation(self, method: str, path: str, headers: Mapping[str, str]) -> Operation | None:
        """Return the operation of a method and raw path, or None."""
        return ROUTES.find(method, path) or ROUTES.find_other(method, path)

    def read_request(
        self, operation: Operation, query: Mapping[str, str], content_type: str, body: RequestBody
    ) -> Facts:
        """Return what a request asks for. Raises Refusal(400)."""
        if operation.body is Body.MULTIPART:
            return read_form(content_type, body)
        check_json_type(content_type)
        if not body and operation.kind is not Kind.INFERENCE:
            return Facts()
        parsed = read_body(body)
        if operation.kind is Kind.ADMINISTRATION:
            return Facts()
        refuse_lookalikes(parsed, KEYS)
        if operation.name in CHATS:
            return read_mistral_chat(parsed)
        if operation.name in CONVERSATIONS:
            return read_conversation(parsed)
        if operation.name == "responses":
            return read_responses(parsed)
        return read_other(operation, parsed)

    def equivalent_target(self, target: bytes, operation: Operation, provider: str) -> bytes | None:
        """Return the target that means the same at another provider: None, as no other has these members."""
        return target if provider == self.name else None

    def check_reach(self, operation: Operation) -> None:
        """Raise Refusal(403) for a batch, and where another model would be changed than the caller named."""
        if operation.name == "batch.jobs.create":
            raise out_of_reach("a batch, whose requests are in a file")
        if operation.kind is Kind.STORAGE and operation.model is not None:
            raise out_of_reach("a change of a model")

    def edit_body(self, operation: Operation, body: EditableBody, edits: RequestEdits) -> bool:
        """Set model, parameters and limit in a JSON body, and return whether the model changed."""
        changed = False
        if edits.model is not None and operation.name in MODEL_IN_BODY:
            changed = self.set_model(body.root, edits.model)
        if edits.parameters:
            body.root.set({RENAMED.get(name, name): value for name, value in as_json(edits.parameters).items()})
        if edits.max_tokens is not None:
            cap_request(operation, body, edits.max_tokens)
        return changed

    def request_usage(self, body: EditableBody, edits: RequestEdits) -> bool:
        """Return False: each stream has its token counts, and a request for them is refused."""
        return False


def cap_request(operation: Operation, body: EditableBody, cap: int) -> None:
    """Cap the output tokens of operations that write text. Raises Refusal(403) for those without a limit."""
    if what := WITHOUT_LIMIT.get(operation.name):
        raise uncapped(what)
    if operation.name in {*CHATS, "fim.completions"}:
        cap_tokens(body.root, ("max_tokens",), "max_tokens", cap)
    elif operation.name == "responses":
        cap_tokens(body.root, ("max_output_tokens",), "max_output_tokens", cap)
    elif operation.name in CONVERSATIONS:
        cap_tokens_in_group(body.root, "completion_args", "max_tokens", cap)


def read_mistral_chat(body: JsonObject) -> Facts:
    """Return the facts of a chat. Its stream has the token counts without being asked."""
    facts, offered = read_chat(body), first_tools(body.children("tools"))
    stored = any((type_of(tool) or "").startswith(STORED) for tool in offered)
    return replace(
        facts,
        asks_usage=True,
        reads_elsewhere=facts.reads_elsewhere or stored,
        paid_tools=once_each((name, None) for _, name in typed_tools(offered, PAID_TOOLS)),
    )


def read_conversation(body: JsonObject) -> Facts:
    """Return the facts of a turn of a conversation, which the provider stores."""
    offered, arguments, model = first_tools(body.children("tools")), body.child("completion_args"), read_model(body)
    tools = collect(name for tool in offered for name in names_of(tool))
    return Facts(
        model=model,
        stream=body.flag("stream"),
        has_system=body.filled("instructions"),
        has_tools=bool(tools.names),
        tool_count=tools.count,
        tools=tools.names,
        max_tokens=arguments.integer("max_tokens") if arguments else None,
        other_models=read_other_models(body, offered, model),
        reads_elsewhere=True,
    )


def read_other(operation: Operation, body: JsonObject) -> Facts:
    """Read the facts of what has no messages: completions in a text, embeddings, documents, speech, storage."""
    fills = operation.name == "fim.completions"
    model = read_model(body) if operation.name in MODEL_IN_BODY else None
    return Facts(
        model=model,
        stream=body.flag("stream"),
        message_count=1 if fills and body.filled("prompt") else None,
        max_tokens=body.integer("max_tokens") if fills else None,
        other_models=read_other_models(body, (), model),
        reads_elsewhere=operation.name == "ocr" or (operation.kind is Kind.INFERENCE and content_refers(body)),
    )
