"""What is spent of budgets survives a restart."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.features.quotas.making import START, Clock, Enforced, usd
from tests.support.running import wait_for
from wirekey.core.errors import Refusal
from wirekey.core.shared_state.protocol import SeenTotal
from wirekey.features.quotas.definition import Quota
from wirekey.features.quotas.ledger import KEPT, Ledger, LedgerError, Spent, seen_in, totals_in

DAY = START + 86_400
QUOTA = Quota("q", "agent", usd_per_day=usd(1))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "quotas.db"


def test_totals_are_there_after_a_restart(path):
    ledger = Ledger(path, Clock())
    for amount in (1, 2, 2**40):
        ledger.add("a", amount, DAY)
    ledger.add("b", 5, DAY)
    ledger.close()
    assert totals_in(path) == {"a": Spent(3 + 2**40, DAY), "b": Spent(5, DAY)}
    again = Ledger(path, Clock())
    assert (again.spent("a"), again.spent("b"), again.spent("c")) == (3 + 2**40, 5, 0)
    again.close()


def test_the_file_is_only_for_its_owner(path):
    Ledger(path, Clock()).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_processes_of_a_machine_add_to_the_same_totals(path):
    one, two = Ledger(path, Clock()), Ledger(path, Clock())
    one.add("a", 1, DAY)
    two.add("a", 2, DAY)
    wait_for(lambda: one.read("a") == two.read("a") == 3, "both to be written")
    one.close()
    two.close()
    assert totals_in(path) == {"a": Spent(3, DAY)}


def test_totals_of_ended_periods_are_dropped(path):
    ledger = Ledger(path, Clock())
    ledger.add("a", 1, DAY)
    ledger.close()
    later = Clock(DAY + KEPT + 1)
    Ledger(path, later).close()
    assert totals_in(path) == {"a": Spent(1, DAY)}, "the clock may be wrong this time"
    Ledger(path, later).close()
    assert totals_in(path) == {}


def test_a_lifetime_total_survives_restarts_years_later_and_the_end_of_other_periods(path):
    """Nor does the retention of the audit log touch it: it is in this file, which no event is read for."""
    quota = Quota("q", "agent", usd_per_day=usd(5), usd_lifetime=usd(1))
    before = Enforced(quota, ledger=Ledger(path, Clock()))
    before.end(before.call(usd=1.0), usd=1.0)
    before.service.close()
    for years in (1, 2, 50):
        later = Clock(START + years * 365 * 86_400)
        ledger = Ledger(path, later, later)
        ledger.forget_ended()
        assert list(ledger.totals) == ["quota:q:usd_lifetime:lifetime:alice"] or years == 1
        after = Enforced(quota, ledger=ledger)
        after.clock.now = later.now
        with pytest.raises(Refusal, match=r"is used up: \$1.00 in total"):
            after.call(usd=0.1)
        after.service.close()


def test_a_file_that_is_no_database_is_named(path):
    path.write_text("no database" * 100)
    with pytest.raises(LedgerError, match=r"quotas\.db cannot be used: .*not a database.*move it away"):
        Ledger(path)
    with pytest.raises(LedgerError):
        totals_in(path)


def test_a_locked_file_is_written_when_it_is_free(path, caplog, monkeypatch):
    monkeypatch.setattr("wirekey.features.quotas.ledger.PATIENCE", 0.01)
    monkeypatch.setattr("wirekey.features.quotas.ledger.RETRY", 0.01)
    ledger = Ledger(path, Clock())
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.add("a", 1, DAY)
    wait_for(lambda: "what is spent cannot be written" in caplog.text, "a complaint")
    ledger.add("a", 2, DAY)
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: totals_in(path) == {"a": Spent(3, DAY)}, "the totals to be written")
    monkeypatch.setattr("wirekey.features.quotas.ledger.PATIENCE", 5.0)
    ledger.close()


def test_a_budget_goes_on_after_a_restart(path):
    before = Enforced(QUOTA, ledger=Ledger(path, Clock()))
    before.end(before.call(usd=0.7), usd=0.7)
    before.service.close()
    after = Enforced(QUOTA, ledger=Ledger(path, Clock()))
    after.service.restore((QUOTA,))
    assert [(row.subject, row.used) for row in after.service.view.rows((QUOTA,))] == [("alice", usd(0.7))]
    after.end(after.call(usd=0.3), usd=0.3)
    with pytest.raises(Refusal, match="is used up"):
        after.call(usd=0.1)
    after.service.close()


KILLED = """
import sys, time
from pathlib import Path
from tests.features.quotas.making import *
from wirekey.features.quotas.ledger import Ledger
enforced = Enforced(Quota("q", "agent", usd_per_day=usd(1000)), ledger=Ledger(Path(sys.argv[1]), Clock()))
for number in range(1000):
    enforced.end(enforced.call(usd=0.001), usd=0.001)
    print(number + 1, time.monotonic(), flush=True)
    time.sleep(0.001)
"""


def test_a_killed_process_loses_only_the_calls_of_the_last_moment(path):
    """What has ended a tenth of a second before is not lost. The writer is given a second, as machines are busy."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    for line in process.stdout:
        if line.startswith("300 "):
            break
    written = wait_for(lambda: sum(total.amount for total in totals_in(path).values()) >= 300 * usd(0.001), "300 calls")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert written
    assert 300 * usd(0.001) <= totals_in(path)["quota:q:usd_per_day:2026-01-01:alice"].amount <= 1000 * usd(0.001)


def test_what_is_written_stays_while_other_processes_read_the_file(path):
    """The ledger reads its file a second time, too, as it does before it restores budgets."""
    ledger = Ledger(path, Clock())
    ledger.add("a", 1, DAY)
    ledger.read_all()
    for amount in (2, 3):
        wait_for(lambda amount=amount: seen_elsewhere(path) == amount - 1, "the amount to be written")
        ledger.add("a", 1, DAY)
    ledger.close()
    assert totals_in(path)["a"].amount == 3


def seen_elsewhere(path) -> int:
    """Return the total that another process finds, such as `wirekey usage`."""
    program = (
        "import sqlite3, sys; print(*sqlite3.connect(sys.argv[1]).execute('SELECT sum(amount) FROM spent').fetchone())"
    )
    found = subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True)
    return int(found.stdout) if found.stdout.strip().isdigit() else 0


def test_a_symbolic_link_in_place_of_the_file_is_refused(path, tmp_path):
    (tmp_path / "elsewhere").touch()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LedgerError):
        Ledger(path, Clock())


def test_totals_that_were_seen_end_by_the_clock_of_the_run():
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE seen (key, amount, epoch, ends)")
        database.execute("INSERT INTO seen VALUES ('a', 7, 'e', ?)", (START + 60,))
        assert seen_in(database, START, 1000.0) == {"a": SeenTotal(7, "e", 1060.0, {})}
