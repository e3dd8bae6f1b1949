from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tradewind.records import StoredFile
from tradewind.storage import open_store, put_content
from tradewind.storage.origin import StoreOrigin
from tradewind.storage.transfer.meter import COALESCED_BYTES, TransferMeter, spanned
from tradewind.storage.transfer.tariffs import Tariff

FAR = Tariff("internet", 0.09, "list", "2026")
NEAR = Tariff("region", 0.0, "list", "2026")


def counts(meter: TransferMeter) -> list[tuple[str, str, int]]:
    return [(moved.store, moved.boundary, moved.num_bytes) for moved in meter.total()]


def test_bytes_are_counted_by_store_and_boundary() -> None:
    meter = TransferMeter()
    for store, tariff, num_bytes in (("a", FAR, 1), ("a", FAR, 2), ("a", NEAR, 4), ("b", FAR, 8), ("c", FAR, 0)):
        meter.count(store, tariff, num_bytes)
    assert counts(meter) == [("a", "internet", 3), ("a", "region", 4), ("b", "internet", 8)]


def test_price_is_that_of_the_moment() -> None:
    meter = TransferMeter()
    meter.count("a", FAR, 10**9)
    batch = meter.take()
    assert batch is not None
    assert [moved.nusd for moved in batch.moved] == [90_000_000]


def count_a_thousand(meter: TransferMeter) -> None:
    for _ in range(1000):
        meter.count("a", FAR, 1)


def test_threads_lose_nothing() -> None:
    meter = TransferMeter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: count_a_thousand(meter), range(8)))
    assert counts(meter) == [("a", "internet", 8000)]


def test_batch_comes_again_until_it_is_done_and_new_bytes_wait_for_the_next() -> None:
    meter = TransferMeter()
    assert meter.take() is None
    meter.count("a", FAR, 1)
    first = meter.take()
    assert first is not None
    meter.count("a", FAR, 2)
    assert meter.take() == first
    meter.done(first)
    second = meter.take()
    assert second is not None
    assert (second.name != first.name, [moved.num_bytes for moved in second.moved]) == (True, [2])
    meter.done(second)
    assert meter.take() is None
    assert counts(meter) == [("a", "internet", 3)]


def test_copy_in_another_process_starts_from_nothing() -> None:
    meter = TransferMeter()
    meter.count("a", FAR, 1)
    assert pickle.loads(pickle.dumps(meter)).take() is None


def test_origin_of_a_store_counts_what_it_reads(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    file = put_content(store, "data", b"x" * 1000)
    origin = StoreOrigin(store)
    origin.download(file, tmp_path / "target", what="it")
    assert origin.get_ranges(file, [(0, 10)], check=lambda _: True, what="it") == [b"x" * 10]
    assert counts(origin.meter) == [(store.url, "none", 1010)]
    assert isinstance(file, StoredFile)


@given(st.lists(st.tuples(st.integers(0, 5 * COALESCED_BYTES), st.integers(0, COALESCED_BYTES)), max_size=6))
def test_span_of_ranges_is_what_travels(parts: list[tuple[int, int]]) -> None:
    ranges = [(start, start + length) for start, length in parts]
    joined: list[list[int]] = []
    for start, end in sorted(ranges):
        if joined and start - joined[-1][1] <= COALESCED_BYTES:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    assert spanned(ranges) == sum(end - start for start, end in joined)
