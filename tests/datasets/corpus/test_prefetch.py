from __future__ import annotations

import threading
import uuid

import pytest

from tradewind.datasets.corpus import prefetch
from tradewind.datasets.corpus.prefetch import AHEAD, open_ahead
from tradewind.datasets.corpus.sources import READ_BYTES, Part, Source
from tradewind.errors import NotFoundError
from tradewind.storage import open_store


def parts(count: int) -> list[Part]:
    store = open_store(f"memory://{uuid.uuid4().hex}")
    for number in range(count):
        store.put(str(number), f"text {number}".encode())
    sizes = [len(f"text {number}") for number in range(count)]
    return [Part(Source(str(number), str(number), size, "", store.url)) for number, size in enumerate(sizes)]


def test_small_objects_come_in_their_order_with_their_bytes() -> None:
    wanted = parts(3 * AHEAD + 1)
    found = [(part, opened.read() if opened else b"") for part, opened in open_ahead(wanted)]
    assert [part for part, _ in found] == wanted
    assert [data.decode() for _, data in found] == [f"text {number}" for number in range(len(wanted))]


def test_large_objects_and_files_of_this_machine_are_left_to_open() -> None:
    wanted = [Part(Source("a", "a", READ_BYTES + 1, "", "memory://x")), Part(Source("b", "/b", 1, ""))]
    assert list(open_ahead(wanted)) == [(part, None) for part in wanted]


def test_several_are_fetched_at_a_time_and_not_many_more_than_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    together = threading.Barrier(AHEAD, timeout=30)
    fetched: list[Part] = []
    fetch = prefetch._fetch

    def counted(part: Part) -> object:
        fetched.append(part)
        if len(fetched) <= AHEAD:
            together.wait()
        return fetch(part)

    monkeypatch.setattr(prefetch, "_fetch", counted)
    opened = open_ahead(parts(10 * AHEAD))
    next(opened)
    opened.close()  # type: ignore[attr-defined]
    assert len(fetched) == AHEAD


def test_object_that_is_gone_is_told_when_its_turn_comes() -> None:
    wanted = parts(3)
    opened = open_ahead([wanted[0], Part(Source("gone", "gone", 1, "", wanted[0].source.store))])
    assert next(opened)[0] == wanted[0]
    with pytest.raises(NotFoundError, match="gone"):
        next(opened)
