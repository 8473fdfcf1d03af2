"""The lines of the log of bodies: what is masked, what is cut, and how its file is rotated."""

import json
import stat
import threading

import pytest

from wirekey.features.body_log import log as body_log
from wirekey.features.body_log.log import LONGEST_BODY, BodyEntry, BodyLog, RotatingFile, line_of

KEY = b"sk-the-key-of-the-provider-4f1c9e"
TOKEN = b"wk_" + b"a" * 43


def entry(body=b"{}", headers=(), facts=None, size=None):
    content = None if body is None else lambda: body
    return BodyEntry(
        "request", "id", facts or {}, tuple(headers), content, len(body or b"") if size is None else size, (KEY,)
    )


def line(*arguments, **named):
    return json.loads(line_of(entry(*arguments, **named)))


@pytest.mark.parametrize(
    "body",
    [
        KEY,
        b'{"error":"bad key ' + KEY + b'"}',
        KEY.replace(b"-", b"%2D"),
        json.dumps({"inner": json.dumps({"key": KEY.decode()})}).encode(),
        TOKEN,
        b"Authorization: Bearer " + TOKEN,
        b"eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLWEtand0",
    ],
)
def test_credentials_in_a_body_are_masked(body):
    text = line(body)["body"]
    for secret in (KEY.decode(), TOKEN.decode(), "c2lnbmF0dXJlLW9mLWEtand0", KEY.decode().replace("-", "%2D")):
        assert secret not in text
    assert "*" in text


@pytest.mark.parametrize("name", [b"Set-Cookie", b"Authorization", b"X-Goog-Upload-URL", b"Location", b"x-api-key"])
def test_headers_that_hold_credentials_are_removed(name):
    assert line(headers=[(name, b"a-secret-value")])["headers"] == [[name.decode(), "(removed)"]]


def test_a_credential_in_another_header_or_in_the_path_is_masked():
    logged = line(headers=[(b"x-note", KEY)], facts={"path": f"/upload?upload_id=secret&a={KEY.decode()}"})
    assert logged["headers"] == [["x-note", "*" * len(KEY)]]
    assert logged["path"] == "/upload?upload_id=(removed)&a=" + "*" * len(KEY)


@pytest.mark.parametrize("cut", range(len(KEY)))
def test_a_key_that_the_limit_cuts_is_not_logged_in_part(cut):
    body = b"x" * (LONGEST_BODY - cut) + KEY + b"more"
    text = line(body)["body"]
    assert KEY[:4].decode() not in text
    assert len(text) >= LONGEST_BODY - len(KEY)


def test_a_body_that_is_not_text_is_base64_and_an_unread_one_is_absent():
    assert line(b"\xff\x00")["body_base64"] == "/wA="
    assert "body" not in line(None)


def test_a_line_holds_no_raw_control_character():
    data = line_of(entry(b"one\ntwo\x1b[31m", facts={"path": "/a\r\nb"}))
    assert data.count(b"\n") == 1
    assert b"\x1b" not in data


def test_the_file_is_private_and_a_link_is_not_followed(tmp_path):
    (tmp_path / "loose").touch(mode=0o644)
    RotatingFile(tmp_path / "loose").close()
    assert stat.S_IMODE((tmp_path / "loose").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="link"):
        RotatingFile(tmp_path / "link")


def test_a_large_file_is_rotated_and_the_oldest_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(body_log, "ROTATE_AT", 100)
    file = RotatingFile(tmp_path / "bodies")
    for number in range(12):
        file.write(f"{number:>59}\n".encode())
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["bodies", *(f"bodies.{number}" for number in range(1, body_log.KEPT_FILES + 1))]
    assert [(tmp_path / name).read_text().strip() for name in names] == ["11", "10", "9", "8", "7", "6"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o600}


def test_entries_that_the_disk_cannot_take_in_time_are_counted_and_nothing_waits(tmp_path, monkeypatch):
    blocked = threading.Event()
    monkeypatch.setattr(RotatingFile, "write", lambda *_: blocked.wait(60))
    monkeypatch.setattr(body_log, "MAX_WAITING", 5_000)
    log = BodyLog(tmp_path / "bodies")
    for _ in range(20):
        log.write(entry(b"x" * 1000))
    assert log.lost == 15
    blocked.set()
    log.close()
    assert log.waiting == 0


def test_everything_that_waits_is_written_at_the_end(tmp_path):
    log = BodyLog(tmp_path / "bodies")
    for number in range(200):
        log.write(entry(str(number).encode()))
    log.close()
    assert [json.loads(text)["body"] for text in (tmp_path / "bodies").read_text().splitlines()] == [
        str(number) for number in range(200)
    ]
