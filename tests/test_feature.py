"""What the core keeps for features, and finds by type."""

from wirekey.feature import NO_VALUES, FeatureData, FeatureValues


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
