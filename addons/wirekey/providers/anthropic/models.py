"""Anthropic's list of models: https://docs.anthropic.com/en/api/models-list."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from wirekey.providers.description import ProviderModels, always
from wirekey.providers.model_list import ListedModel, iso_date, text_of, unix_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.providers.model_list import Document


def read_model(row: Document) -> ListedModel | None:
    """Return a model of the list."""
    created = unix_seconds(row.get("created_at"))
    return ListedModel(text_of(row, "id"), "anthropic", text_of(row, "display_name"), created, own=row)


def write_model(model: ListedModel) -> Document:
    """Describe a model of any provider in this format."""
    if model.provider == "anthropic" and model.own is not None:
        return model.own
    created_at = iso_date(model.created)
    return {"type": "model", "id": model.id, "display_name": model.name or model.id, "created_at": created_at}


def write_models(models: Sequence[ListedModel]) -> Document:
    """Write a list of models, in one page."""
    ends = {"first_id": models[0].id if models else None, "last_id": models[-1].id if models else None}
    return {"data": [write_model(model) for model in models], "has_more": False, **ends}


MODELS = ProviderModels(
    ("/v1/models?limit=1000",),
    MappingProxyType({"anthropic-version": "2023-06-01"}),
    read_model,
    always("/v1/messages"),
    write_model,
    write_models,
)
