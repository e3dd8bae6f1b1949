"""A folder of Hugging Face files is looked over before another process fails on it: cheaply, by headers alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tradewind.errors import IntegrityError

INDEX = "model.safetensors.index.json"
HINT = "export and check its files"


def check_weight_files(folder: Path) -> None:
    """Raises IntegrityError when the configuration or a file of weights is missing, cut off or lacks a tensor."""
    _json(folder / "config.json")
    index = folder / INDEX
    wanted: dict[str, str] = _json(index)["weight_map"] if index.exists() else {}
    files = sorted(set(wanted.values())) or [path.name for path in sorted(folder.glob("*.safetensors"))]
    if not files:
        raise IntegrityError(f"{folder} has no weights (*.safetensors)", hint=HINT)
    for name in files:
        held = _tensors(folder / name)
        if missing := sorted(tensor for tensor, file in wanted.items() if file == name and tensor not in held):
            raise IntegrityError(f"{name} lacks {missing[0]}, which the index names", hint=HINT)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise IntegrityError(f"{path.name} cannot be read: {exc}", hint=HINT) from exc


def _tensors(path: Path) -> set[str]:
    """The names of a file's tensors. The length of the file is checked against its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as exc:
        raise IntegrityError(f"{path.name} cannot be read: {exc}", hint=HINT) from exc
