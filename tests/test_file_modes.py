"""Which other users can read or write a file, judged by its mode and group."""

from types import SimpleNamespace

import pytest

from wirekey.core import file_modes
from wirekey.core.file_modes import ENTER, READ, WRITE, opened_to_others, replaceable_by_others


@pytest.fixture(autouse=True)
def groups(monkeypatch):
    """User 500 is ada; group 500 is hers alone, 501 is not named like her, 502 has another member."""
    file_modes.is_private_group.cache_clear()
    users = {500: ("ada", 500), 501: ("ada", 501), 502: ("ada", 502), 0: ("root", 0)}
    members = {500: ("ada", ["ada"]), 501: ("staff", []), 502: ("ada", ["ada", "bob"]), 0: ("root", [])}
    known_users = SimpleNamespace(getpwuid=lambda uid: SimpleNamespace(pw_name=users[uid][0], pw_gid=users[uid][1]))
    known_groups = SimpleNamespace(
        getgrgid=lambda gid: SimpleNamespace(gr_name=members[gid][0], gr_mem=members[gid][1])
    )
    monkeypatch.setattr(file_modes, "pwd", known_users)
    monkeypatch.setattr(file_modes, "grp", known_groups)
    yield
    file_modes.is_private_group.cache_clear()


@pytest.mark.parametrize(
    ("uid", "gid", "private"),
    [(500, 500, True), (501, 501, False), (502, 502, False), (500, 501, False), (0, 0, False), (77, 77, False)],
)
def test_a_private_group_contains_only_its_user(uid, gid, private):
    assert file_modes.is_private_group(uid, gid) is private


class File:
    def __init__(self, mode, uid=500, gid=501):
        self.mode, self.uid, self.gid = mode, uid, gid

    def stat(self):
        return SimpleNamespace(st_mode=0o100000 | self.mode, st_uid=self.uid, st_gid=self.gid)


@pytest.mark.parametrize(
    ("mode", "gid", "read_only", "bits"),
    [
        (0o600, 501, False, 0),
        (0o644, 501, False, 0o044),
        (0o620, 501, False, 0o020),
        (0o664, 500, False, 0o004),
        (0o660, 500, False, 0),
        (0o666, 500, False, 0o006),
        (0o666, 501, True, 0o044),
    ],
)
def test_the_bits_that_others_have(monkeypatch, mode, gid, read_only, bits):
    flags = file_modes.os.ST_RDONLY if read_only else 0
    monkeypatch.setattr(file_modes.os, "statvfs", lambda _: SimpleNamespace(f_flag=flags))
    assert opened_to_others(File(mode, gid=gid)) == bits
    assert bits & ~(READ | WRITE | ENTER) == 0


def test_a_missing_file_is_open_to_nobody(tmp_path):
    assert opened_to_others(tmp_path / "missing") == 0


@pytest.mark.parametrize(("mode", "replaceable"), [(0o700, False), (0o755, False), (0o777, True), (0o1777, False)])
def test_files_in_a_folder_that_all_can_write_are_replaceable_without_the_sticky_bit(monkeypatch, mode, replaceable):
    monkeypatch.setattr(file_modes.os, "statvfs", lambda _: SimpleNamespace(f_flag=0))
    assert replaceable_by_others(File(mode)) is replaceable
