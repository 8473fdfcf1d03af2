"""What the core keeps for features, and finds by type."""

import dataclasses

import pytest

from wirekey.feature import NO_VALUES, FeatureData, FeatureValues, Later
from wirekey.feature_registry import features


def test_values_are_found_by_their_type():
    values = FeatureValues.of([1, "text"])
    assert values.find(int) == 1
    assert values.find(str) == "text"
    assert values.find(bytes) is None
    assert NO_VALUES.find(int) is None


def test_a_further_value_leaves_the_first_values_as_they_were():
    first = FeatureValues.of([1])
    assert first.plus("text").find(str) == "text"
    assert first.plus(2).find(int) == 2
    assert first.find(str) is None
    assert first.find(int) == 1


def test_data_of_a_call_is_put_found_and_removed():
    data = FeatureData()
    assert data.find(int) is None
    data.remove(int)
    data.put(1)
    data.put(2)
    assert data.find(int) == 2
    data.remove(int)
    assert data.find(int) is None


def test_a_function_is_imported_when_it_is_first_called():
    assert Later("operator", "itemgetter")(1)("ab") == "b"
    assert Later("builtins", "str.upper")("a") == "A"
    missing = Later("no_such_module", "name")
    with pytest.raises(ModuleNotFoundError):
        missing()


def test_each_function_that_features_name_exists():
    parts = [part for feature in features() for part in feature.parts() if dataclasses.is_dataclass(part)]
    values = [getattr(part, field.name) for part in parts for field in dataclasses.fields(part)]
    named = [value for value in values if isinstance(value, Later)]
    assert named
    assert all(callable(one.function) for one in named)
