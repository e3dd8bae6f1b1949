"""Objects larger than memory should hold: they are sent and read piece by piece."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tradewind.storage import open_store
from tradewind.testing.servers import start_moto

MIB = 2**20


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with start_moto() as server:
        server.make_bucket("harbour")
        for name, value in {"ENDPOINT_URL": server.endpoint, "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield server.endpoint


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("endpoint")
def test_a_gibibyte_is_put_and_streamed_in_constant_memory(tmp_path: Path) -> None:
    source = tmp_path / "source"
    block = os.urandom(MIB)
    with source.open("wb") as file:
        for number in range(1024):
            file.write(number.to_bytes(8, "big") + block[8:])
    expected = hashlib.sha256()
    with source.open("rb") as file:
        while piece := file.read(MIB):
            expected.update(piece)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        put_bytes = pool.submit(_put, source).result(timeout=300)
        whole_bytes = pool.submit(_put_whole).result(timeout=300)
        digest, read_bytes = pool.submit(_read).result(timeout=300)
    print(f"peak memory grew by {put_bytes / MIB:.0f} MiB (a file), {whole_bytes / MIB:.0f} MiB (bytes)")
    print(f"and by {read_bytes / MIB:.0f} MiB (a stream)")
    assert digest == expected.hexdigest()
    assert put_bytes < 128 * MIB
    assert whole_bytes < 128 * MIB
    assert read_bytes < 128 * MIB


def _put(source: Path) -> int:
    store = open_store("s3://harbour")
    store.put("small", b"1")
    before = _peak_bytes()
    store.put("large", source)
    return _peak_bytes() - before


def _put_whole() -> int:
    """What is needed besides the bytes themselves."""
    data = os.urandom(256 * MIB)
    before = _peak_bytes()
    open_store("s3://harbour").put("whole", data)
    return _peak_bytes() - before


def _read() -> tuple[str, int]:
    store = open_store("s3://harbour")
    store.get("small")
    before, found = _peak_bytes(), hashlib.sha256()
    for piece in store.stream("large"):
        found.update(piece)
    return found.hexdigest(), _peak_bytes() - before


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
