from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tradewind.specs import ServeSpec
from tradewind.storage import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def echo_spec(folder: Path, *, law: dict[str, Any] | None = None, **changes: Any) -> ServeSpec:
    """An endpoint of the echo engine, which needs no model but a folder."""
    model = folder / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text("{}")
    values = {"traffic": {"tokens_in": 12, "tokens_out": 8}, "engine_settings": law or {}} | changes
    return ServeSpec.of(name="chat", model=str(model), engine="echo", **values)
