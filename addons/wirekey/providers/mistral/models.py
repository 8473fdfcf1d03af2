"""Mistral's list of models: https://docs.mistral.ai/api/endpoint/models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wirekey.providers.description import NOTHING, ProviderModels
from wirekey.providers.model_list import ListedModel, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.providers.model_list import Document


def read_model(row: Document) -> ListedModel | None:
    """Return a model of the list."""
    created = row.get("created")
    return ListedModel(text_of(row, "id"), "mistral", created=created if type(created) is int else 0, own=row)


def inference_path(model: ListedModel) -> str:
    """Return the path of a call of this model."""
    if "embed" in model.id:
        return "/v1/embeddings"
    return "/v1/ocr" if "-ocr-" in model.id else "/v1/chat/completions"


def write_model(model: ListedModel) -> Document:
    """Describe a model of any provider in this format."""
    if model.provider == "mistral" and model.own is not None:
        return model.own
    written = {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owner}
    return written | {"type": "base", "capabilities": {"completion_chat": True}}


def write_models(models: Sequence[ListedModel]) -> Document:
    """Write a list of models, in one page."""
    return {"object": "list", "data": [write_model(model) for model in models]}


MODELS = ProviderModels(("/v1/models",), NOTHING, read_model, inference_path, write_model, write_models)
