"""The folder of accounts: private files, replaced whole, changed by one process at a time."""

import os
import re
import stat
import threading
from dataclasses import replace

import pytest

from wirekey.core.command_name import COMMAND
from wirekey.core.secret import Secret
from wirekey.features.google_accounts.account_files import AccountError, AccountFiles
from wirekey.features.google_accounts.accounts import GoogleAccount

START = 1_700_000_000_000
ANN = GoogleAccount("ann", email="ann@example.com", refresh_token=Secret("1//canary"), last_used=START)


@pytest.fixture
def files(tmp_path):
    return AccountFiles(tmp_path / "google-accounts")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_an_account_is_a_file_that_only_its_owner_reads(files):
    before = os.umask(0)
    try:
        files.add(ANN)
    finally:
        os.umask(before)
    assert files.get("ann") == ANN
    assert mode(files.path("ann")) == 0o600
    assert mode(files.folder) == 0o700
    assert [path.name for path in files.folder.iterdir() if mode(path) != 0o600] == []


def test_a_folder_that_others_may_enter_is_closed_to_them(files):
    files.folder.mkdir(mode=0o755)
    files.add(ANN)
    assert mode(files.folder) == 0o700


def test_changes_by_several_processes_are_all_kept(files):
    files.add(ANN)

    def add_ten():
        for _ in range(10):
            AccountFiles(files.folder).change("ann", lambda old: replace(old, last_used=old.last_used + 1))

    threads = [threading.Thread(target=add_ten) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.get("ann").last_used == START + 40


def test_a_removed_account_leaves_nothing_and_a_late_change_does_not_bring_it_back(files):
    files.add(ANN)
    files.remove("ann")
    assert files.change("ann", lambda old: old) is None
    assert files.all() == ([], [])
    assert files.find("ann") is None
    with pytest.raises(AccountError, match=r"no account ann\. The accounts are: none yet"):
        files.get("ann")


def test_an_account_is_not_added_twice(files):
    files.add(ANN)
    with pytest.raises(AccountError, match=f"{re.escape(COMMAND)} accounts update ann"):
        files.add(replace(ANN, email="other@example.com"))
    assert files.get("ann") == ANN


@pytest.mark.parametrize("account_id", ["", ".", "..", "a/b", "../ann", "-ann", "a b", "ä", "a\n", "a" * 65, ".hidden"])
def test_an_id_that_is_no_word_is_refused(files, account_id):
    with pytest.raises(AccountError, match="at most 64 letters, digits"):
        files.find(account_id)


def test_a_broken_file_is_reported_and_the_others_are_read(files):
    files.add(ANN)
    files.add(replace(ANN, account_id="bob"))
    files.path("bob").write_text('{"access_token": "canary')
    accounts, [problem] = files.all()
    assert accounts == [ANN]
    assert "bob.json" in str(problem)
    assert "canary" not in str(problem)


def test_a_symbolic_link_in_the_place_of_an_account_is_not_followed(files, tmp_path):
    files.add(ANN)
    files.path("ann").rename(tmp_path / "elsewhere.json")
    files.path("ann").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(AccountError, match="cannot be read"):
        files.get("ann")


@pytest.mark.parametrize(
    ("email", "account_id"),
    [
        ("ann@example.com", "ann-example.com"),
        ("..@x", "x"),
        ("-@-", "account"),
        (None, "account"),
        ("ü@x", "x"),
        ("a" * 80 + "@x", "a" * 48),
    ],
    ids=range(6),
)
def test_an_id_is_made_of_the_email(files, email, account_id):
    assert files.free_id(email) == account_id


def test_an_id_made_of_an_email_is_unique(files):
    for account_id in ("ann-example.com", "ann-example.com-2", "ann-example.com-3"):
        assert files.free_id("ann@example.com") == account_id
        files.add(replace(ANN, account_id=account_id))
