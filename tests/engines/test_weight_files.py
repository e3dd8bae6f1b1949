from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tradewind.engines.weight_files import INDEX, check_weight_files
from tradewind.errors import IntegrityError


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def test_whole_files_pass(folder: Path) -> None:
    check_weight_files(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("length", [None, 0, 10, -10])
def test_missing_and_truncated_files_are_named(folder: Path, name: str, length: int | None) -> None:
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if length is not None:
        (folder / name).write_bytes(content[:length])
    with pytest.raises(IntegrityError, match=name if length is not None else r"config|no weights"):
        check_weight_files(folder)


def test_tensor_that_the_index_names_and_no_file_has_is_named(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    index = {"weight_map": dict.fromkeys(weights, "model.safetensors")}
    (folder / INDEX).write_text(json.dumps(index))
    check_weight_files(folder)
    del weights["model.norm.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(IntegrityError, match=r"lacks model\.norm\.weight"):
        check_weight_files(folder)
