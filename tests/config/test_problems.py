"""All problems are reported together, each with its line, its setting and the fix."""

import pytest

from tests.support.configuration import LITERAL_KEY, problems

TABLE = [
    # text, line, setting, words of the message
    ("stat: x", 1, "stat", "Did you mean state?"),
    ("listen: {Forward: 127.0.0.1:1}", 1, "listen.Forward", "Did you mean forward?"),
    ("limits: {body-bytes: 1}", 1, "limits.body-bytes", "Did you mean body_bytes?"),
    ("first_byte: 5", 1, "first_byte", "Did you mean timeouts.first_byte?"),
    ("providers: {cohere: {}}", 1, "providers.cohere", "The settings here are: openai, gemini, anthropic,"),
    ("log:", 1, "log", "has no value"),
    ("log: verbose", 1, "log", "a group of settings"),
    ("log: {level: loud}", 1, "log.level", "must be debug, info, warning, error or critical"),
    ("listen: {forward: 8080}", 1, "listen.forward", "must be HOST:PORT"),
    ("listen: {forward: 127.0.0.1:70000}", 1, "listen.forward", "from 0 to 65535"),
    ("listen: {forward: [::1]}", 1, "listen.forward", "an IPv6 address in quotes"),
    ("listen:\n  forward: [::1]:8080", 2, "", "quote the whole value"),
    ("listen: {forward: 127.0.0.1:8000}", 1, "listen", "have the same address"),
    ("state: true", 1, "state", "must be a path"),
    ("timeouts: {connect: '10'}", 1, "timeouts.connect", "a number of seconds"),
    ("timeouts: {connect: true}", 1, "timeouts.connect", "a number of seconds"),
    ("timeouts: {connect: .inf}", 1, "timeouts.connect", "must be"),
    ("timeouts: {connect: 0}", 1, "timeouts.connect", "larger than 0"),
    ("timeouts: {idle: 90000}", 1, "timeouts.idle", "at most 86400"),
    ("limits: {headers: 1.5}", 1, "limits.headers", "a whole number"),
    ("limits: {body_bytes: 64 parsecs}", 1, "limits.body_bytes", "such as 64MiB"),
    ("limits: {body_bytes: 0}", 1, "limits.body_bytes", "larger than 0"),
    ("limits: {body_bytes: true}", 1, "limits.body_bytes", "such as 64MiB"),
    ("identity: {required: 'yes'}", 1, "identity.required", "true or false"),
    ("egress: {allow: [GitHub.com]}", 1, "egress.allow[0]", "a host name in lower case"),
    ("egress: {allow: ['https://github.com']}", 1, "egress.allow[0]", "a host name in lower case"),
    ("gateway: {cors: ['*']}", 1, "gateway.cors[0]", "Wildcards are not allowed"),
    ("gateway: {cors: ['https://a.example/']}", 1, "gateway.cors[0]", "SCHEME://HOST"),
    ("gateway: {cors: ['https://a.example:443']}", 1, "gateway.cors[0]", "without the port 443"),
    ("gateway: {names: [A.example]}", 1, "gateway.names[0]", "a lower-case host name"),
    ("providers: {openai: {keys: env:A}}", 1, "providers.openai.keys", "must be a list"),
    ("providers: {openai: {keys: [A]}}", 1, "providers.openai.keys[0]", "env:NAME, file:PATH or keyring:SERVICE/NAME"),
    ("providers: {openai: {keys: [env:a-b]}}", 1, "providers.openai.keys[0]", "name of an environment variable"),
    ("providers: {openai: {keys: [env:A], key_source: client}}", 1, "providers.openai", "never used with"),
    (
        "providers: {gemini: {upstream_url: http://x.example}}",
        1,
        "providers.gemini.upstream_url",
        "begin with https://",
    ),
    ("providers: {gemini: {upstream_url: https://u:p@x.example}}", 1, "providers.gemini.upstream_url", "user name"),
    (
        "providers: {gemini: {upstream_url: https://x.example/v1}}",
        1,
        "providers.gemini.upstream_url",
        "ends with v1",
    ),
    (
        "providers: {gemini: {upstream_url: 'https://x.example?a'}}",
        1,
        "providers.gemini.upstream_url",
        "The query comes from the call",
    ),
    ("providers: {gemini: {upstream_url: https://X.example}}", 1, "providers.gemini.upstream_url", "lower case"),
    ("providers: {gemini: {upstream_url: https://0x7f000001}}", 1, "providers.gemini.upstream_url", "or an IP"),
    ("providers: {gemini: {upstream_url: https://x.example:0}}", 1, "providers.gemini.upstream_url", "from 1 to 65535"),
    ("providers: {bedrock: {regions: [evil.com/]}}", 1, "providers.bedrock.regions[0]", "an AWS region"),
    ("providers: {bedrock: {regions: [us-east-1.evil]}}", 1, "providers.bedrock.regions[0]", "an AWS region"),
    ("providers: {bedrock: {regions: [xx-north-1]}}", 1, "providers.bedrock.regions[0]", "an AWS region"),
    (
        "providers: {bedrock: {regions: [cn-north-1], aws: {role_arn: 'arn:aws:iam::123456789012:role/a'}}}",
        1,
        "providers.bedrock",
        "arn:aws-cn:iam::",
    ),
    ("providers: {bedrock: {regions: []}}", 1, "providers.bedrock.regions", "at least one"),
    ("providers: {bedrock: {key_source: some}}", 1, "providers.bedrock.key_source", "inject, client or passthrough"),
    ("providers: {bedrock: {aws: some}}", 1, "providers.bedrock.aws", "must be a group of settings"),
    ("providers: {bedrock: {aws: {profile: p}, key_source: client}}", 1, "providers.bedrock", "aws is never used with"),
    ("providers: {bedrock: {aws: {access_key: env:A}}}", 1, "providers.bedrock.aws", "belong together"),
    (
        "providers: {bedrock: {aws: {bearer: env:A, profile: p}}}",
        1,
        "providers.bedrock.aws",
        "different sources",
    ),
    ("providers: {bedrock: {aws: {role_arn: me}}}", 1, "providers.bedrock.aws.role_arn", "the ARN"),
    ("routes:\n  - {match: a}\n  - {model: b}", 3, "routes[1]", "match is missing. Add it"),
    ("routes: [{match: a, upstream_url: https://x.example}]", 1, "routes[0]", "upstream_url needs auth"),
    ("routes: [{match: a, auth: none, keys: [env:A]}]", 1, "routes[0]", "never used"),
    ("routes: [{match: a, auth: 'python:os'}]", 1, "routes[0].auth", "python:MODULE:FUNCTION"),
    ("audit: {store: mysql://x}", 1, "audit.store", "sqlite:///PATH"),
    ("upstream_ca_file: nowhere.pem", 1, "upstream_ca_file", "Name a PEM file that exists"),
    ("upstream_ca_file: wirekey.yaml", 1, "upstream_ca_file", "contains no certificate"),
    ("1: 2", 1, "1", "Put it in quotes"),
    # YAML itself
    ("routes:\n\t- a", 2, "", "tab"),
    ("log: {level: info", 1, "", "not closed"),
    ("log: 'info", 1, "", "Close it"),
    ("a: b: c", 1, "", "quotes"),
    ("log:\n   level: info\n  format: json", 3, "", "Align it"),
    ("model_override: *x", 1, "", "quotes"),
    ("model_override: !x y", 1, "", "quotes"),
    ("model_override: @x", 1, "", "quotes"),
    ("log: {}\n---\nlog: {}", 2, "", "second document"),
    ("- log", 1, "", "must contain settings"),
    ("log: {}\nstate: x\nlog: {}", 3, "log", "occurs twice, first in line 1"),
    ("log: {level: info, level: debug}", 1, "log.level", "occurs twice"),
    ("a: " + "[" * 3000, None, "", "nested too deeply"),
    ("a: \x07", None, "", "character"),
]


@pytest.mark.parametrize(("text", "line", "key", "words"), TABLE, ids=[row[0][:60] for row in TABLE])
def test_a_problem_names_line_setting_and_fix(tmp_path, text, line, key, words):
    found = problems(tmp_path, text)
    assert [(p.line, p.key) for p in found] == [(line, key)]
    assert words in found[0].message
    assert found[0].file == tmp_path / "wirekey.yaml"


def test_all_problems_are_reported_in_the_order_of_the_file(tmp_path):
    text = "stat: x\nlog: {level: loud}\nlog: {}\nroutes: [{}]\nsecret: 1\n"
    assert [p.line for p in problems(tmp_path, text)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {keys: [KEY]}}",
        "providers: {openai: {keys: KEY}}",
        "providers: {openai: {keys: [env:KEY]}}",
        "providers: {openai: KEY}",
        "providers: {openai: {KEY: x}}",
        "KEY: x",
        "KEY",
        "{KEY: 1, KEY: 2}",
        "log: {level: KEY}",
        "log: {level: KEY",
        "state: *KEY",
        "state: !KEY x",
        "providers: {openai: {upstream_url: 'https://KEY@x'}}",
        "limits: {headers: KEY}",
        "routes: [{match: a, auth: KEY}]",
        "audit: {store: KEY}",
        "providers: {bedrock: {aws: {access_key: KEY, role_arn: KEY}}}",
    ],
)
def test_a_key_written_into_the_file_is_refused_and_never_shown(tmp_path, text):
    found = problems(tmp_path, text.replace("KEY", LITERAL_KEY))
    assert found
    assert LITERAL_KEY not in "".join(map(str, found))


def test_a_key_in_place_of_a_reference_has_its_own_message(tmp_path):
    [problem] = problems(tmp_path, f"providers: {{openai: {{keys: [{LITERAL_KEY}]}}}}")
    assert "replace the secret at its provider" in problem.message


def test_a_problem_reads_as_file_line_setting_message(tmp_path):
    [problem] = problems(tmp_path, "\nstat: x")
    assert str(problem) == f"{tmp_path / 'wirekey.yaml'}:2: stat: is not a setting. Did you mean state?"
