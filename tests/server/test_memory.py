from __future__ import annotations

from wirekey.server.memory import GROWTH, FreeHeap


def test_memory_is_returned_when_much_has_become_free():
    heap = FreeHeap(GROWTH)
    assert not heap.is_due(GROWTH * 2 - 1)
    assert heap.is_due(GROWTH * 2)


def test_returned_memory_is_not_returned_again():
    heap = FreeHeap(0)
    assert heap.is_due(GROWTH * 3)
    heap.returned(GROWTH * 3)
    assert not heap.is_due(GROWTH * 3)


def test_returned_memory_that_was_used_since_is_returned_again():
    heap = FreeHeap(0)
    heap.returned(GROWTH * 3)
    assert not heap.is_due(0)
    assert heap.is_due(GROWTH)
