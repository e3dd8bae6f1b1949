from __future__ import annotations

from pathlib import Path

from tradewind.registry import Models
from tradewind.serving.model_files import ModelFiles
from tradewind.serving.prefetch import fetch
from tradewind.storage import open_store


def test_model_and_its_adapters_are_in_the_cache_afterwards(moto_s3: str, cache_folder: Path) -> None:
    store = open_store(f"{moto_s3}/prefetch")
    models = Models(store)
    for name in ("pilot", "tone"):
        files: dict[str, bytes | Path] = {"config.json": f'{{"name": "{name}"}}'.encode()}
        models.add(name, files, parents=(), family="llama", parameters=1, context=1, heldout_loss=None, card={})
    before = {path for path in cache_folder.rglob("*") if path.is_file()}
    assert fetch(store, ModelFiles.of(store, "pilot"), ["tone@1"]) > 0
    fetched = [path.read_bytes() for path in cache_folder.rglob("*") if path.is_file() and path not in before]
    assert {b'{"name": "pilot"}', b'{"name": "tone"}'} <= set(fetched)
