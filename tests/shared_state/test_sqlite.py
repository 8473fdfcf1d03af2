"""The state in a file: what a process gets that starts later, and a file that cannot be used."""

from __future__ import annotations

import pytest

from tests.shared_state.test_several_processes import until
from wirekey.core.shared_state import SharedStateUnavailableError
from wirekey.core.shared_state.sqlite import SqliteState


async def test_a_process_that_starts_later_gets_no_old_messages(tmp_path):
    first = SqliteState(tmp_path / "shared.db")
    await first.start()
    await first.publish("keys", b"old")
    later = SqliteState(tmp_path / "shared.db")
    received: list[bytes] = []
    later.subscribe("keys", received.append)
    await later.start()
    await first.publish("keys", b"new")
    await until(lambda: received)
    await later.close()
    await first.close()
    assert received == [b"new"]


async def test_a_file_that_cannot_be_used_is_reported(tmp_path):
    (tmp_path / "shared.db").write_bytes(b"not a database, but long enough to be read as the header of one" * 20)
    state = SqliteState(tmp_path / "shared.db")
    with pytest.raises(SharedStateUnavailableError):
        await state.get("key")
    assert "shared.db" in (state.trouble() or "")
    await state.close()
