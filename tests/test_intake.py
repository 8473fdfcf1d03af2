"""Bodies larger than memory should hold: hashed as they arrive, held once, private, gone at the end."""

import hashlib
import os
import stat
import tracemalloc
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wirekey.intake import PIECE, Intake, TooLargeError

MIB = 1 << 20
OPEN_FILES = Path("/proc/self/fd")

where_open_files_are_seen = pytest.mark.skipif(not OPEN_FILES.is_dir(), reason="only Linux lists open files in /proc")


def taken(pieces, threshold=100, limit=1 << 30, folder=None):
    intake = Intake(limit, threshold=threshold, folder=folder)
    for piece in pieces:
        intake.add(piece)
    return intake


@settings(deadline=None)
@given(pieces=st.lists(st.binary(max_size=60), max_size=8))
def test_whatever_comes_in_whatever_pieces_is_what_is_read_and_hashed(pieces):
    whole = b"".join(pieces)
    intake = taken(pieces)
    assert intake.spooled is (len(whole) > 100)
    assert (intake.size, intake.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert intake.view() == whole
    assert b"".join(intake.pieces()) == whole
    intake.close()


def test_it_is_sent_on_in_pieces_also_twice_for_another_attempt():
    intake = taken([b"x" * (PIECE + 1)])
    assert [len(piece) for piece in intake.pieces()] == [PIECE, 1]
    assert sum(map(len, intake.pieces())) == PIECE + 1
    intake.close()


def test_json_is_read_from_the_file_without_a_copy():
    intake = taken([b'{"messages":', b'"' + b"x" * 500 + b'"', b"}"])
    assert intake.spooled
    assert msgspec.json.decode(intake.view()) == {"messages": "x" * 500}
    intake.close()


@where_open_files_are_seen
@pytest.mark.parametrize("pieces", [[b"x" * 1001], [b"x" * 1000, b"x"], [b"x" * 50] * 21])
def test_more_than_the_limit_is_refused_and_given_up(tmp_path, pieces):
    with pytest.raises(TooLargeError):
        taken(pieces, limit=1000, folder=tmp_path)
    assert not open_files_in(tmp_path)


def open_files_in(folder):
    return [link for file in OPEN_FILES.iterdir() if (link := os.path.realpath(file)).startswith(str(folder))]


@where_open_files_are_seen
def test_the_file_has_no_name_is_the_owners_alone_and_goes_at_the_end(tmp_path):
    intake = taken([b"secret " * 100], folder=tmp_path)
    assert not list(tmp_path.iterdir())
    assert len(open_files_in(tmp_path)) == 1
    assert stat.S_IMODE(os.fstat(intake._file.fileno()).st_mode) == 0o600
    intake.view()
    intake.close()
    intake.close()
    assert not open_files_in(tmp_path)


def test_a_large_body_takes_no_more_memory_than_the_threshold_and_a_piece():
    piece, count = b"x" * PIECE, 32 * MIB // PIECE
    tracemalloc.start()
    try:
        intake = taken((bytes(bytearray(piece)) for _ in range(count)), threshold=MIB)
        intake.view()
        for _ in intake.pieces():
            pass
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()
    assert intake.size == 32 * MIB
    intake.close()


def test_a_file_that_cannot_be_made_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="none"):
        taken([b"x" * 101], folder=tmp_path / "none")


@pytest.mark.parametrize("size", [10, 500])
def test_it_can_be_closed_while_a_part_of_it_is_still_held(size):
    intake = taken([b'{"messages":"' + b"x" * size + b'"}'])
    held = msgspec.json.decode(intake.view(), type=dict[str, msgspec.Raw])
    intake.close()
    intake.close()
    assert bytes(held["messages"]).strip(b'"') == b"x" * size


def test_nothing_is_added_once_it_was_read():
    intake = taken([b"x"])
    intake.view()
    with pytest.raises(ValueError, match="read already"):
        intake.add(b"y")
    intake.close()
