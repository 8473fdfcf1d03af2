"""The embedded engine: decides as policies read, follows their changes, and is bounded whatever they do."""

import asyncio
import logging
import time
from pathlib import Path

import pytest
import regorus.regorus as library

from tests.support.policies import BEHAVRY_CALLS, BEHAVRY_QUERY, WHOLE, write
from wirekey.core.policy import loaded_policy
from wirekey.core.policy import worker as worker_module
from wirekey.core.policy.decision import DENIED
from wirekey.core.policy.engine import EmbeddedEngine
from wirekey.core.policy.modules import PolicyError

QUERY = "data.p.authz"
PATIENCE = 60.0
LOOPING = "deny if { some i in numbers.range(1, 1000000); some j in numbers.range(1, 1000000); i * j == -1 }"


@pytest.fixture
def engine_of(tmp_path):
    made = []

    def make(query=QUERY, timeout=PATIENCE, **modules):
        path = write(tmp_path / "policies", **modules)
        made.append(EmbeddedEngine(path, query, timeout))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


def rules(text):
    return f"package p.authz\n{text}\n"


@pytest.mark.parametrize(("policy", "call", "allowed"), BEHAVRY_CALLS)
async def test_policies_of_other_proxies_run_unchanged(engine_of, policy, call, allowed):
    assert (await engine_of(BEHAVRY_QUERY, a=policy).decide(call)).allow is allowed


async def test_several_modules_and_packages_and_both_languages_make_one_policy(engine_of, tmp_path):
    (tmp_path / "policies" / "lists").mkdir(parents=True)
    (tmp_path / "policies" / "lists" / "data.yaml").write_text("cheap: [gpt-4o-mini]\n")
    (tmp_path / "policies" / "data.json").write_text('{"limits": {"tokens": 50}}')
    engine = engine_of(
        new=rules(
            'import data.lib.v1\ndeny contains "dear" if not v1.cheap(input.model)\nmax_tokens := data.limits.tokens'
        ),
        old='package p.authz\ndeny["from the old one"] { input.model == "old" }',
        lib="package lib.v1\ncheap(model) if model in data.lists.cheap",
    )
    assert (await engine.decide(WHOLE | {"model": "old"})).reasons == ("dear", "from the old one")
    decision = await engine.decide(WHOLE | {"model": "gpt-4o-mini"})
    assert (decision.allow, decision.max_tokens) == (True, 50)


async def test_a_policy_decides_the_same_in_a_worker(engine_of):
    engine = engine_of(a=rules('deny contains sprintf("no %s", [tool]) if { some tool in input.tools; tool != "ok" }'))
    assert engine._loaded.in_process is None
    assert (await engine.decide(WHOLE | {"tools": ["ok"]})).allow
    assert (await engine.decide(WHOLE | {"tools": ["a", "ok", "b"]})).reasons == ("no a", "no b")


@pytest.mark.parametrize(
    ("text", "in_process"),
    [
        ('deny if input.model in {"a", "b"}', True),
        ('deny if startswith(input.model, "x")', True),
        ('deny if regex.match("^x", input.model)', True),
        ("f(x) if x == 1\ndeny if f(input.tool_count)", True),
        ('deny if { some m in input.other_models; m == "x" }', True),
        ('deny if { every m in input.other_models { m != "x" } }', True),
        ('import input.other_models as others\ndeny if { some m in others; m == "x" }', True),
        ("deny if { some m in input.other_models; some n in input.other_models; m == n }", False),
        ("deny if { some m in input.other_models; some t in input.tools; m == t }", False),
        ('deny if input.other_models[_] == "x"', False),
        ("deny if regex.match(input.model, input.model)", False),
        ("deny if { some t in input.tools; t == 1 }", False),
        ("deny if input.tools[_] == 1", False),
        ("deny if { every t in input.tools { t == 1 } }", False),
        ("deny if count([t | t := input.tools[_]]) > 5", False),
        ("deny if { walk(input, [p, v]); v == 5 }", False),
        ("deny if count(numbers.range(1, input.max_tokens)) == 5", False),
        ('x if input.model == "a"\ndeny if x with input.model as "b"', False),
    ],
)
def test_P1_only_policies_without_long_loops_run_on_the_event_loop(engine_of, text, in_process):
    assert engine_of(a=rules(text))._loaded.report.linear_time is in_process


async def test_P1_an_endless_evaluation_is_denied_in_time_and_killed_while_the_event_loop_runs(engine_of):
    engine = engine_of(timeout=1.0, a=rules(LOOPING.replace("deny if {", 'deny if { input.model == "slow"; ')))
    workers = set(engine._loaded._workers)
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    heart = asyncio.create_task(beat())
    decision = await engine.decide(WHOLE | {"model": "slow"})
    heart.cancel()
    assert (decision.allow, decision.refusal().status) == (False, 503)
    assert "policy.timeout" in decision.failure
    assert beats > 10
    assert not any(worker.alive for worker in workers)


async def test_P1_after_a_kill_calls_are_decided_again(engine_of):
    engine = engine_of(timeout=0.5, a=rules(LOOPING.replace("deny if {", 'deny if { input.model == "slow"; ')))
    await engine.decide(WHOLE | {"model": "slow"})
    deadline = time.monotonic() + PATIENCE
    while not (await engine.decide(WHOLE)).allow:
        assert time.monotonic() < deadline


async def test_P1_a_slow_call_does_not_keep_the_others_waiting(engine_of):
    engine = engine_of(timeout=1.0, a=rules(LOOPING.replace("deny if {", 'deny if { input.model == "slow"; ')))
    await asyncio.gather(*(engine.decide(WHOLE) for _ in range(2)))
    slow = asyncio.create_task(engine.decide(WHOLE | {"model": "slow"}))
    await asyncio.sleep(0)
    decisions = await asyncio.gather(*(engine.decide(WHOLE) for _ in range(20)))
    assert not slow.done()
    assert all(decision.allow for decision in decisions)
    assert not (await slow).allow


async def test_P1_a_policy_that_is_slow_three_times_in_a_row_moves_to_a_worker(engine_of, monkeypatch):
    engine = engine_of(a=rules('deny if input.model == "x"'))
    assert (await engine.decide(WHOLE)).allow
    assert engine._loaded.in_process
    slow, quick = -1, 60
    times = [slow, slow, quick, slow, slow, slow]
    for number, longest in enumerate(times, 1):
        monkeypatch.setattr(loaded_policy, "MAX_IN_PROCESS_SECONDS", longest)
        assert (await engine.decide(WHOLE | {"model": f"y{number}"})).allow
        assert (engine._loaded.in_process is None) is (number == len(times))
    assert (await engine.decide(WHOLE)).allow


async def test_a_cancelled_call_does_not_leave_its_result_to_another(engine_of):
    engine = engine_of(a=rules("deny contains t if { some t in input.tools }"))
    for number in range(5):
        task = asyncio.create_task(engine.decide(WHOLE | {"tools": [f"cancelled {number}"]}))
        await asyncio.sleep(0)
        task.cancel()
        assert (await engine.decide(WHOLE | {"tools": [f"tool {number}"]})).reasons == (f"tool {number}",)


BAD_POLICIES = [
    ("syntax", "deny if { input.model ==", r"a\.rego:\d+:\d+: "),
    ("unsafe variable", "deny if input.model == y", r"a\.rego:2:\d+: .*unsafe"),
    ("http.send", 'deny if http.send({"method": "get", "url": "http://127.0.0.1:1"}).status_code == 200', "http.send"),
    ("http.send behind another call", 'deny if count(http.send({"url": "x"}).a.b) == 1', "http.send reaches outside"),
    ("http.send by its parts", 'deny if { x := http["send"]({"url": "x"}) }', "http.send|a.rego"),
    ("opa.runtime in a loop", "deny if opa.runtime().a.b[_].c", "opa.runtime reaches outside"),
    ("opa.runtime in a head", "deny contains opa.runtime().x if true", "opa.runtime reaches outside"),
    ("opa.runtime in a comprehension", "deny if { x := [y | y := opa.runtime().z.q] }", "opa.runtime reaches outside"),
    ("opa.runtime behind with", "deny if true with input as opa.runtime()", "opa.runtime reaches outside"),
    ("opa.runtime in a default", "default deny := opa.runtime()", "opa.runtime|a.rego"),
    ("opa.runtime", "deny if opa.runtime().env.HOME", "opa.runtime"),
    ("net.lookup_ip_addr", 'deny if net.lookup_ip_addr("localhost")', "net.lookup_ip_addr"),
    ("an unknown function", "deny if { false; nope(1) }", r"a\.rego:2:\d+: there is no function nope"),
    ("recursion of a function", "f(x) := f(x - 1)\ndeny if f(3)", r"a\.rego:2:1: the function f calls itself"),
    ("recursion of two", "f(x) := g(x)\ng(x) := f(x)\ndeny if f(3)", "calls itself"),
    ("recursion of rules", "deny if x\nx if y\ny if x", "recursion"),
    ("recursion by absolute path", "f(x) := data.p.authz.f(x)\ndeny if f(3)", "calls itself"),
    ("a conflict", 'model := "a" if input.action == "POST"\nmodel := "b" if input.stream', r"a\.rego:\d+"),
    ("division by zero", "deny if 1 / 0 == input.max_tokens", "divide by zero"),
    ("an endless loop", LOOPING, "too long|crashed its process"),
    ("too much memory", "deny if count(numbers.range(1, 100000000)) > 1", "too long|crashed its process"),
    ("another package", "", "no package data.p.authz"),
]


@pytest.mark.parametrize(("text", "message"), [row[1:] for row in BAD_POLICIES], ids=[row[0] for row in BAD_POLICIES])
def test_P4_a_bad_policy_is_refused_at_the_start_with_its_position(engine_of, monkeypatch, text, message):
    if "too long" in message:
        monkeypatch.setattr(worker_module, "LOAD_SECONDS", 1.0)
    source = rules(text) if text else "package other.authz\ndeny := false"
    with pytest.raises(PolicyError, match=message):
        engine_of(a=source)


def test_P1_the_library_has_no_network_in_it():
    code = Path(library.__file__).read_bytes()
    assert b"eval_query" in code
    for name in (b"getaddrinfo", b"\0connect\0", b"\0socket\0", b"sendto"):
        assert name not in code


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("deny if startswith(input.model, 5 * input.tool_count)", {"tool_count": 1}),
        ("deny if 1 / input.message_count == 1", {"message_count": 0}),
        ("deny := input.model", {}),
        ("deny contains input.tools", {}),
        ('default allow := "no"', {}),
    ],
)
async def test_P2_an_error_or_a_malformed_response_denies_and_is_logged(engine_of, caplog, text, call):
    path_free = {"model": "m", **call}
    try:
        engine = engine_of(a=rules(text))
    except PolicyError:
        return  # found at the start already
    decision = await engine.decide(WHOLE | path_free)
    assert (decision.allow, decision.refusal().status) == (False, 503)
    assert decision.failure in caplog.text


async def wait_for_revision(engine, path, changed, previous):
    """Change the policy, and look until it is in force."""
    changed()
    deadline = time.monotonic() + PATIENCE
    while engine.revision == previous:
        assert time.monotonic() < deadline
        await engine.refresh()


async def test_P4_a_changed_policy_is_loaded_and_has_another_revision(engine_of, tmp_path):
    engine = engine_of(a=rules('deny if input.model == "a"'))
    first = engine.revision
    assert not (await engine.decide(WHOLE | {"model": "a"})).allow
    path = tmp_path / "policies"
    await wait_for_revision(engine, path, lambda: write(path, a=rules('deny if input.model == "b"')), first)
    decision = await engine.decide(WHOLE | {"model": "a"})
    assert (decision.allow, decision.revision) == (True, engine.revision)
    await wait_for_revision(engine, path, lambda: (path / "data.yaml").write_text("x: 1\n"), engine.revision)
    await wait_for_revision(engine, path, (path / "data.yaml").unlink, engine.revision)


@pytest.mark.parametrize(
    "bad", ["package p.authz\ndeny if {", "package p.authz\ndeny if y == 1", "package other\nx := 1", None]
)
async def test_P4_a_bad_new_policy_leaves_the_previous_one_in_force_and_is_logged_once(
    engine_of, tmp_path, caplog, bad
):
    engine = engine_of(a=rules('deny if input.model == "a"'))
    first = engine.revision
    file = tmp_path / "policies" / "a.rego"
    file.unlink() if bad is None else file.write_text(bad)
    for _ in range(3):
        await engine.refresh()
    assert engine.revision == first
    assert not (await engine.decide(WHOLE | {"model": "a"})).allow
    assert caplog.text.count("stays in force") == 1
    assert bad is None or "a.rego:2" in caplog.text or "no package" in caplog.text
    file.write_text(rules('deny if input.model == "good again"'))
    await engine.refresh()
    assert engine.revision != first


@pytest.mark.parametrize("in_process", [True, False])
async def test_P4_a_reload_under_load_loses_no_call_and_mixes_no_revisions(engine_of, tmp_path, in_process):
    loop = "" if in_process else "some t in input.tools; t != null; "

    def source(number):
        return rules(f'deny contains "revision {number}" if {{ {loop}input.action == "POST" }}')

    engine = engine_of(a=source(0))
    assert engine._loaded.report.linear_time is in_process
    said, stop = {}, asyncio.Event()

    async def ask():
        while not stop.is_set():
            decision = await engine.decide(WHOLE)
            assert decision.failure is None
            said.setdefault(decision.revision, set()).add(decision.reasons)
            await asyncio.sleep(0)

    callers = [asyncio.create_task(ask()) for _ in range(8)]
    path = tmp_path / "policies"
    for number in range(1, 4):
        await wait_for_revision(engine, path, lambda: write(path, a=source(number)), engine.revision)  # noqa: B023
        while engine.revision not in said:
            await asyncio.sleep(0)
    stop.set()
    await asyncio.gather(*callers)
    assert len(said) == 4
    assert all(len(reasons) == 1 for reasons in said.values())


async def test_an_engine_is_created_without_blocking_the_event_loop(engine_of, tmp_path):
    path = write(tmp_path / "policies", a=rules('deny if input.model == "a"'))
    beats = 0

    async def beat():
        nonlocal beats
        while True:
            await asyncio.sleep(0)
            beats += 1

    beating = asyncio.create_task(beat())
    engine = await EmbeddedEngine.create(path, QUERY, PATIENCE)
    beating.cancel()
    assert beats > 10
    assert engine.revision == engine_of(a=rules('deny if input.model == "a"')).revision
    assert not (await engine.decide(WHOLE | {"model": "a"})).allow
    engine.close()
    (path / "a.rego").write_text("package p.authz\ndeny if {")
    with pytest.raises(PolicyError):
        await EmbeddedEngine.create(path, QUERY, PATIENCE)


async def test_a_closed_engine_finishes_its_calls_and_then_ends_its_processes(engine_of):
    engine = engine_of(a=rules("deny contains t if { some t in input.tools; some u in input.tools; t == u }"))
    asked = [asyncio.create_task(engine.decide(WHOLE | {"tools": [str(number)]})) for number in range(20)]
    await asyncio.sleep(0)
    workers = set(engine._loaded._workers)
    engine.close()
    assert [(await each).reasons for each in asked] == [(str(number),) for number in range(20)]
    assert workers
    assert not any(worker.alive for worker in workers)


async def test_an_unused_package_is_logged(engine_of, caplog):
    with caplog.at_level(logging.WARNING):
        engine_of(a=rules("deny := false"), b="package other.authz\ndeny if true")
    assert "other.authz is not used" in caplog.text


async def test_another_package_counts_if_the_query_refers_to_it(engine_of, caplog):
    engine = engine_of(a=rules("deny if data.other.authz.deny"), b="package other.authz\ndeny if input.stream")
    decision = await engine.decide(WHOLE)
    assert decision.reasons == (f"{DENIED} (p.authz, a.rego:2)",)
    assert "is not used" not in caplog.text


@pytest.mark.parametrize(
    "query", ["data", "data.a b", "data.a;http.send({})", "input.x", "data.p.authz[_]", "x", "data..p"]
)
def test_P3_the_query_is_a_package_path(engine_of, query):
    with pytest.raises(PolicyError, match="is not a package path"):
        engine_of(query, a=rules("deny := false"))


async def test_an_allow_rule_that_is_not_true_denies_even_without_a_default(engine_of):
    engine = engine_of(a=rules('allow if input.model == "a"'))
    assert (await engine.decide(WHOLE | {"model": "a"})).allow
    decision = await engine.decide(WHOLE | {"model": "b"})
    assert (decision.allow, decision.failure) == (False, None)


def test_a_worker_does_not_see_the_environment(engine_of, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-in-the-environment")
    engine = engine_of(a=rules("deny if { some t in input.tools; t == 1 }"))
    for worker in engine._loaded._workers:
        environment = Path(f"/proc/{worker._process.pid}/environ").read_bytes()
        assert b"canary" not in environment
        assert environment
