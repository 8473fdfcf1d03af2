"""Gemini's list of models: https://ai.google.dev/api/models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.description import NOTHING, ProviderModels
from wirekey.providers.gemini.requests import ACTIONS
from wirekey.providers.model_list import ListedModel, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.providers.model_list import Document


def read_model(row: Document) -> ListedModel | None:
    """Return a model of the list."""
    methods = row.get("supportedGenerationMethods")
    usable = tuple(each for each in methods if isinstance(each, str)) if isinstance(methods, list) else ()
    name = text_of(row, "name").removeprefix("models/")
    return ListedModel(name, "gemini", text_of(row, "displayName"), methods=usable, own=row)


def inference_path(model: ListedModel) -> str:
    """Return the path of a call of this model, by the first action that it has and Wirekey lets through."""
    usable = model.methods or ("embedContent" if "embedding" in model.id else "generateContent",)
    action = next((action for action in ACTIONS if action in usable), "")
    return f"/v1beta/models/{model.id}:{action}"


def write_model(model: ListedModel) -> Document:
    """Describe a model of any provider in this format."""
    is_own = model.provider == "gemini"
    if is_own and model.own is not None:
        return model.own
    name = {"name": f"models/{model.id}", "displayName": model.name or model.id}
    methods: Sequence[str] = ()
    if is_own:
        methods = model.methods or inference_path(model).rpartition(":")[2:]
    elif model.in_every_format:
        methods = ("embedContent",) if "embed" in model.id else ("generateContent", "countTokens")
    return {**name, "supportedGenerationMethods": list(methods)}


def write_models(models: Sequence[ListedModel]) -> Document:
    """Write a list of models, in one page."""
    return {"models": [write_model(model) for model in models]}


MODELS = ProviderModels(
    ("/v1beta/models?pageSize=1000",), NOTHING, read_model, inference_path, write_model, write_models
)
