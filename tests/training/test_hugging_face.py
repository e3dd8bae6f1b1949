from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from tests.training.conftest import Ranks
from tests.training.model.shapes import SHAPES, ours, theirs, tokens
from tradewind.errors import IntegrityError, NotFoundError, SpecError
from tradewind.families import ModelShape, family
from tradewind.storage import Store, open_store
from tradewind.training import tensor_file
from tradewind.training.hugging_face import full_tensors, load_into, tensors, write_weights
from tradewind.training.model import Decoder
from tradewind.training.model.shards import local_part
from tradewind.training.origin import read_shape

shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def write(model: Decoder, folder: Path, **options: Any) -> list[str]:
    config = family(model.shape.family).hugging_face_config(model.shape)
    (folder / "config.json").write_text(json.dumps(config))
    return write_weights(full_tensors(model), model.shape, folder, **options)


def same_logits(one: Any, other: Any, shape: ModelShape) -> None:
    with torch.inference_mode():
        mine, its = one(tokens(shape)), other(tokens(shape))
    torch.testing.assert_close(mine, getattr(its, "logits", its), atol=1e-4, rtol=1e-4)


@shapes
def test_what_is_written_loads_in_transformers_with_the_same_logits(shape: ModelShape, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    mine = ours(shape)
    write(mine, tmp_path, max_shard_bytes=20_000)
    made: Any = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    loaded, report = made
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    same_logits(mine, loaded.eval(), shape)


@shapes
def test_what_transformers_writes_is_read_with_the_same_logits(shape: ModelShape, tmp_path: Path) -> None:
    other = theirs(shape)
    other.save_pretrained(tmp_path, max_shard_size="20KB")
    read = read_shape(open_store(str(tmp_path)))
    assert read == shape
    model = Decoder(read)
    load_into(model, tmp_path)
    same_logits(model.eval(), other, shape)


@pytest.mark.parametrize("limit", [2_000, 20_000, 10**9])
def test_no_file_is_larger_than_the_limit_unless_one_tensor_is(limit: int, tmp_path: Path) -> None:
    names = write(ours(SHAPES["deepseek v3"]), tmp_path, max_shard_bytes=limit)
    files = [name for name in names if name.endswith(".safetensors")]
    for name in files:
        held = load_file(tmp_path / name)
        assert len(held) == 1 or sum(weight.numel() * 4 for weight in held.values()) <= limit
    assert (len(files) > 1) == (limit < 10**9) == ((tmp_path / "model.safetensors.index.json").exists())


def test_index_names_the_file_of_each_tensor(tmp_path: Path) -> None:
    write(ours(SHAPES["qwen3 moe"]), tmp_path, max_shard_bytes=20_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    held = {name: path.name for path in tmp_path.glob("*.safetensors") for name in load_file(path)}
    assert index["weight_map"] == held
    assert index["metadata"]["total_size"] == sum(weight.numel() * 4 for _, weight in tensors(tmp_path))


def test_weights_are_written_in_the_type_that_is_asked_for(tmp_path: Path) -> None:
    model = ours(SHAPES["deepseek v3"])
    write(model, tmp_path, dtype=torch.bfloat16)
    written = dict(tensors(tmp_path))
    kept = {name for name, weight in written.items() if weight.dtype == torch.float32}
    assert kept == {f"model.layers.{layer}.mlp.gate.e_score_correction_bias" for layer in (1, 2)}
    other = Decoder(model.shape)
    load_into(other, tmp_path)
    assert torch.equal(other.model.norm.weight, model.model.norm.weight.bfloat16().float())  # type: ignore[union-attr]


@shapes
def test_weights_in_bfloat16_are_read_and_written_bit_for_bit(shape: ModelShape, tmp_path: Path) -> None:
    first, again, other = tmp_path / "first", tmp_path / "again", Decoder(shape)
    first.mkdir()
    again.mkdir()
    write(ours(shape), first, dtype=torch.bfloat16)
    load_into(other, first)
    write(other, again, dtype=torch.bfloat16)
    assert (again / "model.safetensors").read_bytes() == (first / "model.safetensors").read_bytes()


class Counting:
    """A store that remembers the ranges that were read from it and the largest of them."""

    def __init__(self, folder: Path) -> None:
        self._store = open_store(str(folder))
        self.read: list[int] = []

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        self.read.append(sum(end - start for start, end in ranges))
        return self._store.get_ranges(key, ranges)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def counting(folder: Path) -> Any:
    store = Counting(folder)
    assert isinstance(store, Store)
    return store


def test_reading_holds_some_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ours(SHAPES["untied"])
    write(model, tmp_path, max_shard_bytes=20_000)
    monkeypatch.setattr(tensor_file, "RANGE_BYTES", 512)
    monkeypatch.setattr(tensor_file, "FIRST_BYTES", 8)
    store, other = counting(tmp_path), Decoder(model.shape)
    load_into(other, store)
    headers = [size for size in store.read if size > 512 * tensor_file.RANGES_AT_ONCE]
    assert all(size < 4000 for size in headers)
    assert len(headers) <= len(list(tmp_path.glob("*.safetensors")))
    same_logits(other.eval(), model, model.shape)


def test_writing_takes_one_tensor_at_a_time(tmp_path: Path) -> None:
    """Each whole tensor is dropped before the next is made, and files leave the disk of this machine one by one."""
    import weakref

    model = ours(SHAPES["deepseek v3"])
    alive: list[Any] = []

    def watched() -> Iterator[tuple[str, torch.Tensor]]:
        for name, weight in full_tensors(model):
            copy = weight.clone()
            alive.append(weakref.ref(copy))
            yield name, copy
            del copy
            assert sum(reference() is not None for reference in alive) <= 2

    write_weights(watched(), model.shape, tmp_path, max_shard_bytes=20_000)
    assert len(alive) == len(model.state_dict())  # no head is tied here


def sharded(shape: ModelShape) -> Decoder:
    with torch.device("meta"):
        model = Decoder(shape)
    mesh = init_device_mesh("cpu", (4,))
    for layer in model.model.layers.values():
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to_empty(device="cpu")
    return model


def loads_its_part(shape: ModelShape, folder: Path, target: Path) -> tuple[int, int]:
    """Load a sharded model and write it again. Gives the bytes read and those held."""
    store, model, state = counting(folder), sharded(shape), ours(shape).state_dict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensor_file, "FIRST_BYTES", 8)
        load_into(model, store)
    held = 0
    for name, weight in model.state_dict().items():
        local, offsets = local_part(weight)
        inside = tuple(slice(first, first + size) for first, size in zip(offsets, local.shape, strict=True))
        assert torch.equal(local, state[name][inside]), name
        held += local.numel() * 4
    write_weights(full_tensors(model), shape, target if torch.distributed.get_rank() == 0 else None)
    return sum(store.read), held


@pytest.mark.parametrize("name", ["grouped", "deepseek v3"])
def test_each_rank_reads_only_what_it_holds(name: str, tmp_path: Path, ranks: Ranks) -> None:
    shape, (source, target) = SHAPES[name], (tmp_path / "source", tmp_path / "target")
    source.mkdir()
    target.mkdir()
    write(ours(shape), source)
    header = 8 + int.from_bytes((source / "model.safetensors").read_bytes()[:8], "little")
    for read, held in ranks.run(loads_its_part, shape, source, target, world=4):
        assert held <= read <= held + header + 8
    assert (target / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()


def test_stage_of_a_pipeline_reads_its_layers(tmp_path: Path) -> None:
    model = ours(SHAPES["llama"])
    write(model, tmp_path)
    stage = Decoder(model.shape)
    stage.model.embed_tokens = None
    del stage.model.layers["0"]
    load_into(stage, tmp_path)
    with torch.inference_mode():
        first = model.model
        assert first.embed_tokens is not None
        x = torch.randn(1, 9, model.shape.hidden)
        cos, sin, mask = first.surroundings(x, None, None)
        expected = model.lm_head(first.norm(first.layers["1"](x, cos, sin, mask)))  # type: ignore[misc]
        assert torch.equal(stage.eval()(x), expected)


def test_fp8_weights_are_multiplied_out_by_blocks(tmp_path: Path) -> None:
    shape = ModelShape("llama", 97, 192, 1, 4, 4, 48, 200, 40, tied=True)
    model = ours(shape)
    write(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    scales = torch.rand(2, 2) + 0.5
    stretched = scales.repeat_interleave(128, 0).repeat_interleave(128, 1)[:200, :192]
    weights[name] = (weights[name] / stretched).to(torch.float8_e4m3fn)
    weights[f"{name}_scale_inv"] = scales
    save_file(weights, tmp_path / "model.safetensors")
    load_into(model, tmp_path)
    assert torch.equal(model.state_dict()[name], weights[name].float() * stretched)


def test_fp8_weights_without_scales_are_refused(tmp_path: Path) -> None:
    model = ours(SHAPES["llama"])
    write(model, tmp_path, dtype=torch.float8_e4m3fn)
    with pytest.raises(SpecError, match=r"is in torch\.float8_e4m3fn without scales"):
        load_into(model, tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": 1}, None),  # layers behind the last are those that predict further tokens
        ({"layers": 3}, "the files lack model.layers.2"),
        ({"qk_norm": True}, "the files lack model.layers.0.self_attn.q_norm.weight"),
        ({"ffn": 56}, r"gate_proj.weight is \[48, 32\] in the files and \[56, 32\] in the model"),
    ],
)
def test_weights_of_another_model_are_refused(change: dict[str, Any], complaint: str | None, tmp_path: Path) -> None:
    write(ours(SHAPES["untied"]), tmp_path)
    other = Decoder(replace(SHAPES["untied"], **change))
    if complaint is None:
        load_into(other, tmp_path)
    else:
        with pytest.raises(SpecError, match=complaint):
            load_into(other, tmp_path)


def test_tensors_without_a_place_are_refused(tmp_path: Path) -> None:
    write(ours(SHAPES["qwen2"]), tmp_path)
    with pytest.raises(SpecError, match=r"self_attn.q_proj.bias and 5 more tensors that the model has no place for"):
        load_into(Decoder(replace(SHAPES["qwen2"], qkv_bias=False)), tmp_path)


@pytest.mark.parametrize("cut", [4, 100, -1])
def test_file_that_is_cut_short_is_refused(cut: int, tmp_path: Path) -> None:
    write(ours(SHAPES["llama"]), tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(IntegrityError, match="is no whole safetensors file"):
        load_into(Decoder(SHAPES["llama"]), tmp_path)


def test_folder_without_weights_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"has neither model\.safetensors nor"):
        load_into(Decoder(SHAPES["llama"]), tmp_path)
