"""LoRA beside the model, against the same adapter merged into its weights."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tradewind.engines import EngineSettings, Sampling
from tradewind.engines.transformers import TransformersEngine
from tradewind.errors import IntegrityError, SpecError

LAYER = "model.layers.{}.self_attn.q_proj"
GREEDY = Sampling(max_tokens=16, temperature=0, ignore_eos=True, whole=True)


def write_adapter(folder: Path, *, seed: int, width: int = 32, **changes: Any) -> Path:
    """An adapter of rank 4 on the queries of both layers."""
    folder.mkdir()
    draw = torch.Generator().manual_seed(seed)
    weights = {}
    for layer in range(2):
        name = f"base_model.model.{LAYER.format(layer)}"
        weights[f"{name}.lora_A.weight"] = torch.randn(4, width, generator=draw)
        weights[f"{name}.lora_B.weight"] = torch.randn(32, 4, generator=draw) * 0.3
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, **changes}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def merged(model: Path, adapter: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    weights, parts = load_file(folder / "model.safetensors"), load_file(adapter / "adapter_model.safetensors")
    for layer in range(2):
        name = LAYER.format(layer)
        down, up = (parts[f"base_model.model.{name}.lora_{side}.weight"] for side in "AB")
        weights[f"{name}.weight"] += 8 / 4 * up @ down
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


async def answer(engine: TransformersEngine, adapter: str | None) -> str:
    pieces = engine.generate(engine.read("the harbour, the"), GREEDY, adapter=adapter)
    return "".join([piece.text async for piece in pieces])


def started(folder: Path, **adapters: Path) -> TransformersEngine:
    engine = TransformersEngine()
    engine.start(folder, EngineSettings(precision="float32", adapters=adapters))
    return engine


def test_rows_of_one_batch_have_each_their_own_adapter(tiny_model: Path, tmp_path: Path) -> None:
    adapters = {name: write_adapter(tmp_path / name, seed=seed) for seed, name in enumerate(("tide", "wind"))}
    alone: dict[str | None, str] = {}
    for name, adapter in adapters.items():
        engine = started(merged(tiny_model, adapter, tmp_path / f"merged-{name}"))
        alone[name] = asyncio.run(answer(engine, None))
        engine.stop()
    engine = started(tiny_model, **adapters)
    alone[None] = asyncio.run(answer(engine, None))
    names = [None, "tide", "wind", "tide", None]

    async def together() -> list[str]:
        return await asyncio.gather(*(answer(engine, name) for name in names))

    assert asyncio.run(together()) == [alone[name] for name in names]
    assert len(set(alone.values())) == 3
    engine.stop()


def test_adapter_lies_beside_weights_of_8_bits(tiny_model: Path, tmp_path: Path) -> None:
    tide = write_adapter(tmp_path / "tide", seed=0)
    engine = TransformersEngine()
    engine.start(tiny_model, EngineSettings(precision="int8", adapters={"tide": tide}))
    plain, adapted = (asyncio.run(answer(engine, name)) for name in (None, "tide"))
    engine.stop()
    assert plain != adapted


def test_adapter_of_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"does not fit model\.layers\.0\.self_attn\.q_proj"):
        started(tiny_model, tide=write_adapter(tmp_path / "tide", seed=0, width=64))


@pytest.mark.parametrize("change", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"peft_type": "IA3"}])
def test_other_kinds_of_adapter_are_refused(tiny_model: Path, tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match="not plain LoRA"):
        started(tiny_model, tide=write_adapter(tmp_path / "tide", seed=0, **change))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_damaged_adapter_is_refused(tiny_model: Path, tmp_path: Path, name: str) -> None:
    folder = write_adapter(tmp_path / "tide", seed=0)
    (folder / name).write_bytes(b"{")
    with pytest.raises(IntegrityError, match=name):
        started(tiny_model, tide=folder)
