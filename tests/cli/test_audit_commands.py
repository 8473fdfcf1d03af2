"""The output of wirekey audit for people and programs."""

import csv
import io
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.support.recorded_calls import call_of, finish
from wirekey.cli.audit import HEAD, TAIL_WIDTHS
from wirekey.cli.main import group
from wirekey.core.audit.event import ATTEMPT_NAMES, NAMES, attempt_values, event_of
from wirekey.core.audit.schema import ATTEMPT, INSERT, open_for_writing
from wirekey.core.call import AttemptRecord, Outcome

DONE = finish(call_of())
DENIED = call_of(agent="bob", outcome=Outcome.DENIED, status=403, policy_reason="no_identity: say who you are")
OPEN = call_of(model="x" * 60)


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = open_for_writing(tmp_path / "state" / "audit.db", "commit", 1)
    database.executemany(INSERT, [tuple(event_of(call).values()) for call in (DONE, DENIED, OPEN)])
    database.close()


def run(*arguments, code=0):
    result = CliRunner().invoke(group, ["audit", *arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


@pytest.mark.usefixtures("record")
def test_list_prints_one_line_for_each_call():
    lines = run("list").splitlines()
    assert lines[0].split() == " ".join(HEAD).split()
    by_id = {line.split()[-1]: line for line in lines[1:]}
    done = by_id[DONE.id[-12:]].split()
    assert done[2:-1] == [
        *("alice", "chat.completions", "gpt-4o-mini", "200", "completed", "10", "20", "0.250000", "12", "50")
    ]
    assert "in progress" in by_id[OPEN.id[-12:]]
    assert "denied" in by_id[DENIED.id[-12:]]
    assert len({line.rindex(" ") for line in lines[1:]}) == 1


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("arguments", "agents"),
    [
        ((), ["alice", "bob", "alice"]),
        (("-n", "1", "--agent", "alice"), ["alice"]),
        (("--agent", "bob"), ["bob"]),
        (("--outcome", "denied"), ["bob"]),
        (("--since", "1h"), ["alice", "bob", "alice"]),
        (("--until", "1h"), []),
        (("--since", "2001-01-01", "--until", "2001-01-02T12:00"), []),
    ],
)
def test_list_filters_calls(arguments, agents):
    assert sorted(event["agent_id"] for event in json.loads(run("list", "--json", *arguments))) == sorted(agents)


@pytest.mark.usefixtures("record")
def test_show_prints_all_fields_of_one_call():
    shown = dict(line.split(None, 1) for line in run("show", DENIED.id[-12:]).splitlines())
    assert list(shown) == list(NAMES)
    assert shown["policy_reason"] == "no_identity: say who you are"
    assert shown["input_tokens"] == "-"
    assert json.loads(run("show", DENIED.id, "--json")) == event_of(DENIED)


@pytest.mark.usefixtures("record")
def test_stats_have_bars_and_end_with_the_total():
    lines = [line.split() for line in run("stats", "--by", "agent").splitlines()]
    assert lines[0][:4] == ["AGENT", "CALLS", "DENIED", "FAILED"]
    assert lines[1][:4] + lines[1][-1:] == ["alice", "2", "0", "0", "█" * 20]
    assert lines[2][:5] + lines[2][-1:] == ["bob", "1", "1", "0", "-", "█" * 10]
    assert lines[3][:4] == ["all", "3", "1", "0"]
    assert "█" not in lines[3][-1]


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("agent", [("alice", 2), ("bob", 1)]),
        ("provider", [("openai", 3)]),
        ("model", [("gpt-4o-mini", 2), ("x" * 60, 1)]),
        ("day", [(event_of(DONE)["time"][:10], 3)]),
    ],
)
def test_stats_as_json_have_all_sums_by_name(by, groups):
    summed = json.loads(run("stats", "--by", by, "--json"))
    assert [(group["group"], group["calls"]) for group in summed["groups"]] == groups
    assert (summed["by"], summed["other"]) == (by, None)
    assert summed["total"] == {
        "calls": 3,
        "denied": 1,
        "failed": 0,
        "input_tokens": 10,
        "output_tokens": 20,
        "cost_usd": 0.25,
        "declined": 0,
        "ttfb_ms_p50": 12.5,
        "ttfb_ms_p95": 12.5,
        "ttfb_ms_p99": 12.5,
        "duration_ms_p50": 50.0,
        "duration_ms_p95": 50.0,
        "duration_ms_p99": 50.0,
    }


@pytest.mark.usefixtures("record")
def test_stats_name_the_groups_with_the_most_calls_and_sum_up_the_others():
    assert json.loads(run("stats", "--by", "agent", "--top", "1", "--json"))["other"]["denied"] == 1
    assert run("stats", "--by", "agent", "--top", "1").splitlines()[2].startswith("(others)")
    assert json.loads(run("stats", "--agent", "bob", "--json"))["total"]["calls"] == 1
    assert run("stats", "--until", "1h") == "No such calls.\n"


@pytest.mark.usefixtures("record")
def test_bars_are_ascii_if_the_terminal_has_no_blocks(tmp_path):
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii"}
    program = [sys.executable, "-c", "from wirekey.cli.audit import command; command()", "stats", "--by", "agent"]
    said = subprocess.run(program, env=environment, capture_output=True, text=True, check=True).stdout
    assert "#" * 20 in said
    assert said.isascii()


@pytest.mark.usefixtures("record")
def test_export_prints_or_writes_a_new_private_file(tmp_path):
    lines = [json.loads(line) for line in run("export").splitlines()]
    assert sorted(event["id"] for event in lines) == sorted([DONE.id, DENIED.id, OPEN.id])
    assert len(list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--agent", "bob"))))) == 1
    run("export", "-o", "all.jsonl")
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 3
    assert stat.S_IMODE((tmp_path / "all.jsonl").stat().st_mode) == 0o600
    assert "File exists" in run("export", "-o", "all.jsonl", code=2)


@pytest.mark.usefixtures("record")
def test_tail_prints_ended_calls_until_interrupted(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", "from wirekey.cli.audit import command; command()", "tail"],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    lines = [process.stdout.readline() for _ in range(3)]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert process.stdout.read() == ""
    process.stdout.close()
    assert "alice" in lines[1] + lines[2]
    assert "bob" in lines[1] + lines[2]
    assert all(len(line.rstrip()) == sum(TAIL_WIDTHS) + 2 * (len(HEAD) - 1) for line in lines[1:])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("list", "--since", "yesterday"), 2, "Write 15m, 2h or 7d"),
        (("list", "--outcome", "fine"), 2, "completed"),
        (("show", "zzzz"), 1, "No call has an id"),
    ],
)
@pytest.mark.usefixtures("record")
def test_errors_have_a_message_and_an_exit_code(arguments, code, says):
    assert says in run(*arguments, code=code)


@pytest.mark.parametrize("arguments", [("list",), ("tail",), ("stats",), ("export",), ("show", "0")])
def test_a_missing_audit_file_is_named(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert "state/audit.db" in run(*arguments, code=1)


def test_an_empty_audit_is_not_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    open_for_writing(tmp_path / "state" / "audit.db", "commit", 1).close()
    assert run("list") == run("stats") == "No such calls.\n"
    assert run("export") == ""
    assert json.loads(run("stats", "--json")) == {"by": "day", "groups": [], "other": None, "total": None}


def with_attempts(record_folder):
    failed = AttemptRecord(
        "api.openai.com", "openai/1", None, "gpt-4o", "first_byte", None, 12.5, "openai.chat>openai.responses", "n"
    )
    call = finish(call_of(agent="carol"), attempts=2, failed_attempts=(failed,))
    database = open_for_writing(record_folder / "state" / "audit.db", "commit", 1)
    database.execute(INSERT, tuple(event_of(call).values()))
    database.executemany(ATTEMPT, attempt_values(call))
    database.close()
    return call


@pytest.mark.usefixtures("record")
def test_show_prints_each_attempt_of_a_retried_call(tmp_path):
    call = with_attempts(tmp_path)
    event, attempts = run("show", call.id).split("\n\n")
    assert len(event.splitlines()) == len(NAMES)
    head, first, second = attempts.splitlines()
    assert head.split()[0] == "ATTEMPT"
    assert first.split()[:8] == ["1", "api.openai.com", "openai/1", "-", "gpt-4o", "first_byte", "-", "12.5"]
    assert first.split()[8:] == ["openai.chat>openai.responses"]
    assert second.split()[:7] == ["2", "api.openai.com", "openai/1", "-", "gpt-4o-mini", "-", "200"]
    assert second.split()[-1] == "-"
    shown = json.loads(run("show", call.id, "--json"))
    assert [attempt["failure"] for attempt in shown.pop("each_attempt")] == ["first_byte", None]
    assert shown == event_of(call)
    assert json.loads(run("show", DONE.id, "--json")) == event_of(DONE)


@pytest.mark.usefixtures("record")
def test_export_with_attempts_prints_attempts_instead_of_calls(tmp_path):
    call = with_attempts(tmp_path)
    lines = [json.loads(line) for line in run("export", "--attempts").splitlines()]
    assert [(line["call_id"], line["number"], line["status"]) for line in lines] == [
        (call.id, 1, None),
        (call.id, 2, 200),
    ]
    written = list(csv.reader(io.StringIO(run("export", "--attempts", "--format", "csv"))))
    assert written[0] == list(ATTEMPT_NAMES)
    assert len(written) == 3
    assert run("export", "--attempts", "--agent", "bob") == ""
