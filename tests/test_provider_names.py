"""Code outside of its folder names no provider, so that a new one needs only a folder and a line in a registry."""

import ast
from pathlib import Path

import wirekey
from wirekey.feature_registry import features
from wirekey.providers.formats import EMBEDDINGS, FORMAT_OF, FORMATS
from wirekey.providers.registry import OWN_PROVIDERS

PACKAGE = Path(wirekey.__file__).parent
ADDED = {f"features/{feature.name}": set(feature.providers()) for feature in features()}
"""The folder of each feature → the providers that it adds, which it may name."""
EXCEPTIONS = {
    "core/addons/models.py": "the backends of Google's accounts have Gemini's models",
    "core/calls/attempt.py": "an attempt without a key of its own is signed with AWS credentials",
    "core/calls/settings.py": "the backends of Google's accounts have Gemini's format",
    "core/calls/upstream_signatures.py": "the name of AWS's service in a signature",
    "core/egress/hosts.py": "the name of AWS's service in a host",
    "feature_registry.py": "the names of features",
    "features/demo/command.py": "the programs of the demo",
    "features/demo/program.py": "the programs of the demo",
    "features/doctor/clients.py": "the programs that doctor runs",
    "features/google_accounts": "the backends of Google's accounts have Gemini's format",
    "features/local_programs": "a local program has a name, and speaks Gemini's format",
    "features/realtime/protocols.py": "the registry of what is read of a connection's messages, by provider",
    "features/reconciliation": "the reports of providers, which differ from one to another",
    "features/rollup/shortening.py": "makers of models on Bedrock",
    "features/translation": "a format has the name of its provider",
    "features/vertex": "the formats and the makers of its models, which have the names of providers",
    "core/metering/price_table.py": "the names of the price lists",
    "core/policy/samples.py": "sample calls",
    "server/lifecycle.py": "AWS credentials are loaded before the first call",
    "core/signing/request.py": "the name of AWS's service in a signature",
}


def shown(tree):
    """Return the nodes that only a reader of the reference sees: descriptions and examples of settings."""
    keywords = (node for node in ast.walk(tree) if isinstance(node, ast.keyword))
    return {id(part) for each in keywords if each.arg in ("description", "examples") for part in ast.walk(each.value)}


def names_in(file, names):
    tree = ast.parse(file.read_text())
    hidden = shown(tree)
    own = ADDED.get("/".join(file.relative_to(PACKAGE).parts[:2]), set())
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in names - own and id(node) not in hidden
    ]


def in_package(pattern):
    return {file.relative_to(PACKAGE) for file in PACKAGE.glob(pattern)}


def naming(names, exceptions, own):
    places = in_package("**/*.py") - own
    found = [str(place) for place in places if names_in(PACKAGE / place, names)]
    return {next((known for known in exceptions if place.startswith(f"{known}/")), place) for place in found}


def test_only_the_listed_files_name_a_provider():
    """Each exception is still one."""
    assert naming({*OWN_PROVIDERS}, EXCEPTIONS, in_package("providers/**/*.py")) == EXCEPTIONS.keys()


OF_FORMATS = {*FORMATS, *FORMAT_OF, *EMBEDDINGS.values()} - {*OWN_PROVIDERS, "messages", "responses"}
"""Formats and their operations, without the words that are also names of providers or of members."""
FORMAT_EXCEPTIONS = {
    "core/policy/samples.py": "sample calls",
    "features/google_accounts": "the backends of Google's accounts have Gemini's operations",
    "features/local_programs": "a local program responds as Gemini's operations do",
    "features/realtime/protocols.py": "the registry of what is read of a connection's messages, by operation",
    "features/translation": "it has a folder for each format",
    "features/vertex": "the formats of its models, at paths of its own",
    "providers/request_edits.py": "a parameter that Google reads in a chat",
}


def test_only_the_listed_files_name_a_format():
    """If this fails, make what the file decides an attribute of `Format`. Each exception is still one."""
    assert naming(OF_FORMATS, FORMAT_EXCEPTIONS, in_package("providers/*/*.py")) == FORMAT_EXCEPTIONS.keys()


OF_MISTRAL = {
    "wirekey/providers/mistral",
    "wirekey/providers/registry.py",
    "wirekey_simulator/mistral.py",
    "wirekey_simulator/registry.py",
}
"""All of the newest provider: its folder, its line, and the same in the simulator."""
OF_OTHERS = {
    "wirekey/features/custom_providers/config.py": "an example of a price list",
    "wirekey/features/rollup/shortening.py": "makers of models on Bedrock",
    "wirekey/providers/bedrock": "makers of models on Bedrock",
    "wirekey/providers/model_hosts.py": "hosts of models",
    "wirekey/providers/output_limits.py": "models with their limits",
    "wirekey/providers/tools.py": "makers of models on Bedrock",
    "wirekey_simulator/bedrock_models.py": "makers of models on Bedrock",
}


def test_a_provider_is_its_folder_and_a_line_in_each_registry():
    """If this fails because a file outside needs the name, make what the file does an attribute of providers."""
    addons = PACKAGE.parent
    places = (file.relative_to(addons) for file in addons.rglob("*.py"))
    found = {str(place) for place in places if "mistral" in (addons / place).read_text().lower()}
    known = OF_MISTRAL | OF_OTHERS.keys()
    assert {next((name for name in known if place.startswith(f"{name}/")), place) for place in found} == known
