"""Bedrock's lists of models and of inference profiles.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListInferenceProfiles.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from wirekey.providers.description import NOTHING, ProviderModels
from wirekey.providers.model_list import ListedModel, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wirekey.providers.model_list import Document


def read_model(row: Document) -> ListedModel | None:
    """Return a profile, or a model that can be called by its own name; None for another model."""
    if profile := text_of(row, "inferenceProfileId"):
        return ListedModel(profile, "bedrock", text_of(row, "inferenceProfileName"))
    types = row.get("inferenceTypesSupported")
    if isinstance(types, list) and "ON_DEMAND" not in types:
        return None
    return ListedModel(text_of(row, "modelId"), "bedrock", text_of(row, "modelName"))


def inference_path(model: ListedModel) -> str:
    """Return the path of a call of this model."""
    return f"/model/{quote(model.id, safe='')}/{'invoke' if '.titan-embed' in model.id else 'converse'}"


def write_model(model: ListedModel) -> Document:
    """Describe a model of any provider in this format."""
    return {"modelId": model.id, "modelName": model.name or model.id}


def write_models(models: Sequence[ListedModel]) -> Document:
    """Write a list of models, in one page."""
    return {"modelSummaries": [write_model(model) for model in models]}


MODELS = ProviderModels(
    ("/foundation-models", "/inference-profiles?maxResults=1000"),
    NOTHING,
    read_model,
    inference_path,
    write_model,
    write_models,
)
