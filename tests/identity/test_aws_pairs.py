import os
import re
import stat
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from wirekey.core.identity.aws_pairs import ACCESS_KEY, AwsPairRecord, AwsPairs, current_pair, first, key_pair, rotate
from wirekey.core.identity.master_file import MasterSecretError, load_master
from wirekey.core.secret import Secret

MASTER = Secret("5a" * 32)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SERIES = "0123456789abcdef" * 2
SCANNED_FOR = re.compile(r"(?:A3T[A-Z0-9]|AKIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ASIA|ABIA|ACCA)[A-Z0-9]{16}")


def shown(pair):
    return pair.access_key, pair.secret.reveal()


@pytest.mark.parametrize("agent", ["alice", "a", "ci.runner-7_b", "x" * 64])
@pytest.mark.parametrize("generation", [1, 2, 1000])
def test_a_pair_has_the_format_of_aws_and_is_recognised_as_wirekeys(agent, generation):
    access_key, secret = shown(key_pair(MASTER, agent, SERIES, generation))
    assert len(access_key) == 20
    assert ACCESS_KEY.fullmatch(access_key)
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", secret)
    assert not SCANNED_FOR.search(access_key)
    assert shown(key_pair(MASTER, agent, SERIES, generation)) == (access_key, secret)


def test_pairs_stay_the_same_from_version_to_version():
    assert shown(key_pair(MASTER, "alice", SERIES, 1)) == PINNED


PINNED = ("WKEYFV4KLDWXYBSSOOL7", "ZLm6/YhygmurCfm6NW/LfS4K3Qv33GLuaVjem3/a")

DIFFERENT = [
    (MASTER, "alice", SERIES, 1),
    (Secret("5b" * 32), "alice", SERIES, 1),
    (MASTER, "bob", SERIES, 1),
    (MASTER, "alice", SERIES[::-1], 1),
    (MASTER, "alice", SERIES, 2),
]


def test_the_pair_depends_on_master_agent_series_and_generation():
    pairs = [shown(key_pair(*arguments)) for arguments in DIFFERENT]
    assert len({access_key for access_key, _ in pairs}) == len({secret for _, secret in pairs}) == len(DIFFERENT)


def test_a_secret_is_not_shown_by_repr():
    pair = key_pair(MASTER, "alice", SERIES, 1)
    assert pair.secret.reveal() not in repr(pair)
    assert pair.secret.reveal() not in repr(AwsPairs(MASTER, [("alice", first(NOW))]).__dict__)


def found(record, at, generation):
    pair = key_pair(MASTER, "alice", record.series, generation)
    owner = AwsPairs(MASTER, [("alice", record)]).find(pair.access_key, (NOW + timedelta(seconds=at)).timestamp())
    return owner and (owner.agent_id, owner.pair == pair)


@pytest.mark.parametrize(
    ("overlaps", "at", "good"),
    [
        ([], 10**9, {1}),
        ([0], 0, {2}),
        ([60], 0, {1, 2}),
        ([60], 59, {1, 2}),
        ([60], 60, {2}),
        ([60, 60], 0, {2, 3}),
        ([10**6, 0], 0, {3}),
    ],
)
def test_a_rotated_pair_is_valid_for_the_overlap_and_older_pairs_are_not(overlaps, at, good):
    record = first(NOW)
    for overlap in overlaps:
        record = rotate(record, NOW, overlap)
    assert {generation for generation in range(1, 5) if found(record, at, generation)} == good
    assert all(found(record, at, generation) == ("alice", True) for generation in good)


def test_an_agent_without_a_record_has_no_pair():
    pair = current_pair(MASTER, "alice", first(NOW))
    assert AwsPairs(MASTER, []).find(pair.access_key, NOW.timestamp()) is None


def test_an_agent_added_again_after_a_revocation_has_new_pairs():
    assert current_pair(MASTER, "alice", first(NOW)) != current_pair(MASTER, "alice", first(NOW))


def test_a_record_is_stored_and_read_as_json():
    record = rotate(first(NOW), NOW, 60)
    stored = msgspec.json.encode(record)
    assert msgspec.json.decode(stored, type=AwsPairRecord) == record
    assert current_pair(MASTER, "alice", record).secret.reveal().encode() not in stored


@pytest.mark.parametrize("wrong", [{"generation": 0}, {"series": "x"}, {"unknown": 1}])
def test_an_invalid_record_is_refused(wrong):
    record = {"series": SERIES, "generation": 1, "created": "2026-03-04T05:06:07Z"}
    assert msgspec.convert(record, AwsPairRecord)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(record | wrong, AwsPairRecord)


class TestTheMasterSecret:
    def test_it_is_created_once_and_only_its_owner_can_read_it(self, tmp_path):
        path = tmp_path / "state" / "aws-master"
        master = load_master(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert re.fullmatch("[0-9a-f]{64}", master.reveal())
        assert load_master(path) == master
        assert load_master(tmp_path / "other") != master
        assert [*path.parent.iterdir()] == [path]

    def test_concurrent_creators_get_the_same_secret(self, tmp_path):
        got, start = [], threading.Barrier(8)

        def load():
            start.wait()
            got.append(load_master(tmp_path / "aws-master").reveal())

        threads = [threading.Thread(target=load) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(got), len(set(got))) == (8, 1)
        assert [*tmp_path.iterdir()] == [tmp_path / "aws-master"]

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
    def test_a_file_that_others_can_read_is_refused_with_a_fix(self, tmp_path, mode):
        path = tmp_path / "aws-master"
        load_master(path)
        path.chmod(mode)
        with pytest.raises(MasterSecretError, match=f"chmod 600 {path}"):
            load_master(path)

    @pytest.mark.parametrize("content", ["", "5a" * 31, "5A" * 32, "5a" * 32 + "\n\n", "x" * 64, "5a" * 33])
    def test_a_changed_file_is_refused_and_left_unchanged(self, tmp_path, content):
        path = tmp_path / "aws-master"
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(MasterSecretError, match="does not contain a valid") as refused:
            load_master(path)
        assert path.read_text() == content
        assert not content or content not in str(refused.value)

    @pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.symlink_to("elsewhere"), os.mkfifo])
    def test_a_path_that_is_not_a_regular_file_is_refused(self, tmp_path, make):
        path = tmp_path / "aws-master"
        make(path)
        with pytest.raises(MasterSecretError, match=str(path)):
            load_master(path)
