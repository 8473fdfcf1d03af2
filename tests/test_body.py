"""Bodies that lie on the disk: read, edited, hashed and counted as those in memory are."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import msgspec
import pytest

from wirekey.core.body import PIECE, Body, Spool, SpooledBody
from wirekey.core.errors import Refusal
from wirekey.core.operation import Kind, Operation
from wirekey.providers.json_edits import apply_edits
from wirekey.providers.registry import PROVIDERS
from wirekey.providers.request_edits import RequestEdits

LONG = "é" * PIECE
CHAT = json.dumps({"messages": [{"role": "user", "content": LONG}], "model": "gpt-4o", "stream": True}, indent=1)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n%s\r\n--b--\r\n' % (b"\xff" * PIECE)
)
OPERATION = Operation("chat.completions", Body.JSON, Kind.INFERENCE)
UPLOAD = Operation("audio.transcriptions", Body.MULTIPART, Kind.INFERENCE)


def spooled(data: bytes, folder: Path, *, hashing: bool = False) -> SpooledBody:
    spool = Spool(folder, hashing=hashing)
    for start in range(0, len(data), 65536):
        spool.write(data[start : start + 65536])
    return spool.finish()


def open_files(folder: Path) -> list[str]:
    """What this process has open in the folder; unlinked files still say where they were."""
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [str(link) for link in links if link.is_relative_to(folder)]


@pytest.mark.parametrize("size", [1, PIECE - 1, PIECE, 3 * PIECE + 1])
def test_what_was_written_is_read_and_hashed_in_pieces(tmp_path, size):
    data = os.urandom(size)
    body = spooled(data, tmp_path, hashing=True)
    assert (len(body), b"".join(body.pieces()), bytes(memoryview(body))) == (size, data, data)
    assert body.sha256 == hashlib.sha256(data).hexdigest()
    unhashed = spooled(data, tmp_path)
    assert unhashed.sha256 is None
    assert unhashed.digest() == unhashed.sha256 == body.sha256


def test_the_file_has_no_name_is_its_owners_alone_and_goes_with_the_body(tmp_path):
    spool = Spool(tmp_path)
    spool.write(b"secret")
    assert list(tmp_path.iterdir()) == []
    assert stat.S_IMODE(os.fstat(spool._file.fileno()).st_mode) == 0o600
    body = spool.finish()
    kept = memoryview(body)[:3]
    del body
    assert bytes(kept) == b"sec"
    assert len(open_files(tmp_path)) == 1
    del kept
    assert open_files(tmp_path) == []


@pytest.mark.parametrize("data", [b"abc" * PIECE, b"\xff" + b"abc" * PIECE, CHAT.encode(), b"a"])
@pytest.mark.parametrize("word", [b"a", b"ab", b"c\xff", b"x", b"stream"])
def test_it_answers_as_bytes_do(tmp_path, data, word):
    body = spooled(data, tmp_path)
    assert body.isascii() == data.isascii()
    assert (word in body) == (word in data)
    assert body.count(word) == data.count(word)
    for start in (0, 1, PIECE - 1, len(data) - 1):
        assert body.startswith(word, start) == data.startswith(word, start)
        assert body.find(word, start) == data.find(word, start)
    assert body.startswith(memoryview(data))
    assert not body.startswith(data + b"a")
    if word not in data:
        with pytest.raises(ValueError, match="not found"):
            body.index(word)


def test_a_request_is_read_as_from_memory(tmp_path):
    provider = PROVIDERS["openai"]
    for operation, content_type, data in (
        (OPERATION, "application/json", CHAT.encode()),
        (UPLOAD, "multipart/form-data; boundary=b", FORM),
    ):
        facts = provider.operations.read_request(operation, {}, content_type, spooled(data, tmp_path))
        assert facts == provider.operations.read_request(operation, {}, content_type, data)
        assert facts.model
    assert open_files(tmp_path) == []


@pytest.mark.parametrize(
    "data",
    [
        b'{"model":"a", "model":"b", "content":"%s"}' % (b"x" * PIECE),
        b'\xef\xbb\xbf{"model":"a","content":"%s"}' % (b"x" * PIECE),
        b'{"content":"%s\xff"}' % (b"x" * PIECE),
        b"[1,%s2]" % (b"1," * PIECE),
    ],
    ids=["twice", "mark", "not UTF-8", "no object"],
)
def test_what_is_refused_in_memory_is_refused_on_disk(tmp_path, data):
    def refusal(body):
        # Not by pytest.raises, which would keep the frames, and in them the body.
        try:
            PROVIDERS["openai"].operations.read_request(OPERATION, {}, "application/json", body)
        except Refusal as refused:
            return refused.status, refused.message
        raise AssertionError("it was read")

    assert refusal(spooled(data, tmp_path)) == refusal(data)
    assert open_files(tmp_path) == []


def edited(body, edits):
    return (
        PROVIDERS["openai"]
        .operations.edit_request(OPERATION, b"/v1/chat/completions", "application/json", body, edits)
        .body
    )


def cap(body):
    return edited(body, RequestEdits(max_tokens=7))


def model(body):
    return edited(body, RequestEdits("gpt-4o-mini"))


def usage(body):
    return edited(body, RequestEdits(include_usage=True))


def form_model(body):
    target, content_type = b"/v1/audio/transcriptions", "multipart/form-data; boundary=b"
    return (
        PROVIDERS["openai"]
        .operations.edit_request(UPLOAD, target, content_type, body, RequestEdits("gpt-4o-transcribe"))
        .body
    )


@pytest.mark.parametrize(
    ("edit", "data"),
    [
        (cap, CHAT.encode()),
        (model, CHAT.encode()),
        (usage, CHAT.encode()),
        (usage, b'{"stream_options":null,"messages":"%s"}' % (b"x" * PIECE)),
        (usage, b'{"messages":"%s","stream_options":{"include_usage":false}}' % (b"x" * PIECE)),
        (lambda body: edited(body, RequestEdits("gpt-4o-mini", (), 7, include_usage=True)), CHAT.encode()),
        (form_model, FORM),
    ],
)
def test_an_edit_makes_another_body_and_leaves_no_file_of_the_first(tmp_path, edit, data):
    found = edit(spooled(data, tmp_path, hashing=True))
    assert isinstance(found, SpooledBody)
    assert bytes(memoryview(found)) == edit(data) != data
    assert found.sha256 is None, "an edited body must not keep the hash of the original"
    assert found.digest() == hashlib.sha256(edit(data)).hexdigest()
    assert len(open_files(tmp_path)) == 1


def test_no_edit_makes_no_other_body(tmp_path):
    body = spooled(CHAT.encode(), tmp_path)
    assert apply_edits(body, []) is body


class FullDisk:
    """Takes so many bytes, and then none, as a disk that fills up."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data):
        if not self.room:
            raise OSError(28, "No space left on device", "/where/it/lies")
        taken, self.room = min(len(data), self.room), max(self.room - len(data), 0)
        return self.file.write(data[:taken])

    def close(self):
        self.file.close()


@pytest.fixture
def full_disk(monkeypatch):
    from wirekey.core import body as body_module

    made = body_module.tempfile.TemporaryFile
    monkeypatch.setattr(body_module.tempfile, "TemporaryFile", lambda **options: FullDisk(made(**options), PIECE + 100))


def test_a_disk_that_fills_up_is_a_refusal_that_says_so_and_the_file_is_closed(tmp_path, full_disk):
    spool = Spool(tmp_path)
    spool.write(b"a" * PIECE)
    with pytest.raises(Refusal, match="No space left on device") as refused:
        spool.write(b"a" * PIECE)
    assert (refused.value.status, refused.value.code) == (503, "cannot_hold_body")
    assert "/where" not in refused.value.message
    assert open_files(tmp_path) == []


def test_a_disk_that_has_no_room_for_an_edit_is_a_refusal_too(tmp_path, monkeypatch, request):
    body = spooled(CHAT.encode(), tmp_path)
    request.getfixturevalue("full_disk")
    with pytest.raises(Refusal, match="No space left on device"):
        model(body)
    del body
    assert open_files(tmp_path) == []


def test_a_folder_that_is_gone_is_a_refusal_too(tmp_path):
    with pytest.raises(Refusal, match="No such file or directory"):
        Spool(tmp_path / "gone")


def test_members_are_views_and_copies_of_nothing(tmp_path):
    body = spooled(CHAT.encode(), tmp_path)
    members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    before = len(open_files(tmp_path))
    del body
    assert len(open_files(tmp_path)) == before == 1
    assert json.loads(bytes(members["model"])) == "gpt-4o"
    members.clear()
    assert open_files(tmp_path) == []
