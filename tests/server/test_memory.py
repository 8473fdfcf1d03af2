from __future__ import annotations

from wirekey.server.memory import GROWTH, FreeHeap


def test_memory_is_given_back_once_much_of_it_has_become_free():
    heap = FreeHeap(GROWTH)
    assert not heap.is_due(GROWTH * 2 - 1)
    assert heap.is_due(GROWTH * 2)


def test_what_was_given_back_is_not_given_back_again():
    heap = FreeHeap(0)
    assert heap.is_due(GROWTH * 3)
    heap.given_back(GROWTH * 3)
    assert not heap.is_due(GROWTH * 3)


def test_what_was_given_back_and_used_again_is_given_back_again():
    heap = FreeHeap(0)
    heap.given_back(GROWTH * 3)
    assert not heap.is_due(0)
    assert heap.is_due(GROWTH)
