"""The owner of an upload is found by the id in its URL. Uploads are bounded in number and age."""

import pytest

from wirekey.core.credentials.uploads import Uploads, id_of_upload_url, upload_ids, with_gateway_base

URL = "https://generativelanguage.googleapis.com/upload/v1beta/files?upload_id=AbC-1&upload_protocol=resumable"


def test_an_upload_belongs_to_the_agent_that_began_it():
    uploads = Uploads()
    uploads.remember("one", "alice", None, now=0)
    uploads.remember("two", None, None, now=0)
    assert uploads.find("one", now=1).agent == "alice"
    assert uploads.find("two", now=1).agent is None
    assert uploads.find("three", now=1) is None


def test_an_id_issued_again_stays_with_its_first_agent():
    uploads = Uploads()
    uploads.remember("one", "alice", None, now=0)
    uploads.remember("one", "bob", None, now=1)
    assert uploads.find("one", now=2).agent == "alice"


def test_the_oldest_upload_is_forgotten_above_the_limit():
    uploads = Uploads(most=2)
    for number in range(3):
        uploads.remember(str(number), "alice", None, now=number)
    assert [uploads.find(str(number), now=3) is None for number in range(3)] == [True, False, False]


def test_an_upload_is_forgotten_after_its_lifetime():
    uploads = Uploads(longest=10)
    uploads.remember("old", "alice", None, now=0)
    uploads.remember("new", "alice", None, now=5)
    assert uploads.find("old", now=10) is not None
    assert uploads.find("old", now=11) is None
    assert uploads.find("new", now=11) is not None
    assert len(uploads.started) == 1


def test_the_id_itself_is_not_kept():
    uploads = Uploads()
    uploads.remember("canary-id", "alice", None, now=0)
    assert "canary-id" not in repr(uploads) + repr(uploads.started)


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/upload/v1beta/files?upload_id=a", ("a",)),
        ("/upload/v1beta/files?upload_protocol=resumable&upload_id=a%2Db", ("a-b",)),
        ("/upload/v1beta/files?upload%5Fid=a", ("a",)),
        ("/upload/v1beta/files?Upload-Id=a", ("a",)),
        ("/upload/v1beta/files?upload_id=a&upload_id=b", ("a", "b")),
        ("/upload/v1beta/files?xupload_id=a", ()),
        ("/upload/v1beta/files", ()),
        ("/v1beta/files?upload_id=a", ()),
    ],
)
def test_ids_are_found_in_any_spelling_that_a_server_might_accept(path, ids):
    assert upload_ids(path) == ids


@pytest.mark.parametrize(
    ("url", "found"),
    [(URL, "AbC-1"), (URL.replace("upload_id", "id"), None), ("", None), ("/upload/x?upload_id=1&upload_id=2", None)],
)
def test_the_id_is_read_from_the_url_of_an_upload(url, found):
    assert id_of_upload_url(url) == found


def test_a_url_that_bypasses_the_gateway_gets_the_gateways_base():
    host = "generativelanguage.googleapis.com"
    assert with_gateway_base(URL.replace(host, "127.0.0.1:4711"), "127.0.0.1:4711", f"https://{host}") == URL
    assert with_gateway_base(URL, "127.0.0.1:4711", f"https://{host}") == URL
