"""The setting `providers.vertex`, and the hosts that it adds."""

from __future__ import annotations

import pytest

from wirekey.config import ConfigError, load, provider_hosts
from wirekey.core.calls.settings import build
from wirekey.feature import NO_VALUES, FeatureValues
from wirekey.features.vertex.credentials import VertexAccess, vertex_access


def loaded(tmp_path, vertex, environ=None):
    file = tmp_path / "wirekey.yaml"
    file.write_text(f"providers: {{vertex: {vertex}}}\n")
    return load(file, environ or {})


def test_vertex_is_off_by_default(tmp_path):
    config = loaded(tmp_path, "null")
    assert "vertex" not in config.providers.names
    assert not [host for host in provider_hosts(config) if "aiplatform" in host]
    assert build(config).features.find(VertexAccess) is None


def test_each_location_adds_its_host(tmp_path):
    config = loaded(tmp_path, "{locations: [global, europe-west4, eu]}")
    assert [host for host, name in provider_hosts(config).items() if name == "vertex"] == [
        "aiplatform.googleapis.com",
        "europe-west4-aiplatform.googleapis.com",
        "aiplatform.eu.rep.googleapis.com",
    ]


@pytest.mark.parametrize(
    ("vertex", "key", "words"),
    [
        ("{locations: []}", "providers.vertex.locations", "is empty"),
        ("{}", "providers.vertex.locations", "is missing"),
        ("{locations: [us-east-1]}", "providers.vertex.locations[0]", "must be global"),
        ("{locations: [global], credentials: x.json, key_source: passthrough}", "providers.vertex", "never used"),
        ("{locations: [global], key_source: client}", "providers.vertex.key_source", "must be inject or passthrough"),
    ],
    ids=["empty", "missing", "a region of AWS", "passthrough", "client"],
)
def test_a_wrong_setting_is_refused_with_its_place(tmp_path, vertex, key, words):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, vertex)
    (problem,) = caught.value.problems
    assert problem.key == key
    assert words in problem.message


def test_a_reload_keeps_the_tokens_if_the_credentials_stay(tmp_path):
    first = vertex_access(loaded(tmp_path, "{locations: [global], credentials: a.json}"), NO_VALUES)
    assert first
    before = FeatureValues.of([first])
    same = vertex_access(loaded(tmp_path, "{locations: [global, eu], credentials: a.json}"), before)
    other = vertex_access(loaded(tmp_path, "{locations: [global], credentials: b.json}"), before)
    assert same
    assert other
    assert same.source is first.source
    assert other.source is not first.source


def test_passthrough_needs_no_credentials(tmp_path):
    config = loaded(tmp_path, "{locations: [global], key_source: passthrough}")
    assert vertex_access(config, NO_VALUES) is None
    assert build(config).key_sources["vertex"] == "passthrough"
