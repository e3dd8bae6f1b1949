from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tradewind.errors import CapacityError, IntegrityError
from tradewind.families import known_model
from tradewind.families.known import published
from tradewind.registry import Models
from tradewind.serving.fit import Model, check_fits, memory_of, need_memory
from tradewind.serving.hosts import Host
from tradewind.serving.model_files import ModelFiles
from tradewind.specs import ServeSpec
from tradewind.storage import open_store

GIB = 2**30
LLAMA_70B, LLAMA_8B = Model(known_model("llama-3.3-70b"), 0), Model(known_model("llama-3.1-8b"), 0)
ON_CHIP = {"engine": "vllm", "chips_per_replica": 1, "engine_settings": {"max_model_len": 8192}}


def spec(**changes: Any) -> ServeSpec:
    return ServeSpec.of(name="chat", model="llama", **changes)


def gpus(word: str, count: int) -> Host:
    return Host({"GPU": float(count)}, {"ray.io/accelerator-type": word})


def processors(gib: float) -> Host:
    return Host({"CPU": 16.0, "memory": gib * GIB})


@pytest.mark.parametrize(
    ("model", "changes", "hosts"),
    [
        (LLAMA_8B, ON_CHIP, [gpus("L4", 1)]),
        (LLAMA_70B, ON_CHIP | {"chips_per_replica": None, "parallel": {"tensor": 4}}, [gpus("H100", 8)]),
        (LLAMA_70B, ON_CHIP, [gpus("L4", 1), gpus("AMD-Instinct-MI300X-OAM", 1)]),
        (LLAMA_70B, ON_CHIP, [gpus("L4", 1), gpus("unheard-of", 1)]),
        (LLAMA_70B, ON_CHIP | {"engine_settings": {"cpu_offload_gb": 100}}, []),
        (LLAMA_8B, {}, [processors(17)]),
        (LLAMA_70B, {}, []),
        (Model(None, 3 * GIB), {}, [processors(3.1)]),
        (LLAMA_8B, ON_CHIP, [Host({"GPU": 1.0}, {}, 24 * GIB)]),
    ],
)
def test_replica_that_fits_one_machine_or_one_of_unknown_memory_is_no_error(
    model: Model, changes: dict[str, Any], hosts: list[Host]
) -> None:
    need_memory(spec(**changes), model, hosts)


@pytest.mark.parametrize(
    ("model", "changes", "hosts", "complaint", "hints"),
    [
        (
            LLAMA_70B,
            ON_CHIP,
            [gpus("L4", 8), gpus("H100", 4)],
            r"needs 13\d\.\d GiB of memory \(weights 131\.4 GiB, .*an H100-NVL has 86\.5 GiB to use: 5\d\.\d GiB too",
            ["parallel.tensor: 2", "precision: float8", "like B200-SXM"],
        ),
        (
            LLAMA_8B,
            ON_CHIP | {"engine_settings": {}},
            [gpus("L4", 1)],
            r"cache 16\.0 GiB.* an L4 has 22\.1 GiB",
            ["max_model_len: 30720", "like A100-SXM-40GB"],
        ),
        (
            LLAMA_70B,
            ON_CHIP | {"chips_per_replica": None, "parallel": {"tensor": 4}},
            [gpus("L4", 8)],
            "GiB of each chip .* an L4 has",
            ["parallel.tensor: 8", "precision: float8"],
        ),
        (LLAMA_8B, ON_CHIP, [Host({"GPU": 1.0}, {}, 16 * GIB)], "the chip has 14.7 GiB to use", ["precision: float8"]),
        (
            LLAMA_70B,
            {},
            [processors(30)],
            r"weights 131\.4 GiB.*the machine has 30\.0 GiB to use",
            ["chips_per_replica"],
        ),
        (LLAMA_8B, {"precision": "float32"}, [processors(17)], r"weights 29\.9 GiB", ["precision: bfloat16"]),
        (LLAMA_8B, {"precision": "int8"}, [processors(17)], r"weights 29\.9 GiB", ["a machine with"]),
        (
            Model(None, 3 * GIB),
            {},
            [processors(2.5)],
            "needs 3.0 GiB.* 512.0 MiB too little",
            ["a machine with 3.0 GiB"],
        ),
    ],
)
def test_replica_that_is_too_large_is_refused_by_how_much_and_with_what_would_fit(
    model: Model, changes: dict[str, Any], hosts: Sequence[Host], complaint: str, hints: list[str]
) -> None:
    with pytest.raises(CapacityError, match=complaint) as caught:
        need_memory(spec(**changes), model, hosts)
    assert [hint for hint in hints if hint not in str(caught.value.hint)] == []


def test_what_the_hint_says_fits() -> None:
    wish = spec(**ON_CHIP | {"engine_settings": {"max_model_len": 30720}})
    need_memory(wish, LLAMA_8B, [gpus("L4", 1)])
    with pytest.raises(CapacityError):
        need_memory(spec(**ON_CHIP | {"engine_settings": {"max_model_len": 31744}}), LLAMA_8B, [gpus("L4", 1)])


def test_processor_without_16_bits_needs_twice_the_memory() -> None:
    need_memory(spec(), LLAMA_8B, [processors(17)])
    with pytest.raises(CapacityError, match=r"weights 29\.9 GiB") as caught:
        need_memory(spec(), LLAMA_8B, [processors(17)], bits=32)
    assert "precision: bfloat16" in str(caught.value.hint)


def test_files_of_fewer_bits_weigh_what_they_are() -> None:
    assert memory_of(spec(), Model(known_model("llama-3.3-70b"), 40 * GIB, is_quantised=True)).weights == 40 * GIB


def test_echo_needs_no_room(tmp_path: Path) -> None:
    check_fits(spec(engine="echo"), _files(tmp_path, dict(published("llama-3.3-70b").config)), [processors(1)])


def test_model_is_refused_by_its_config_alone(tmp_path: Path) -> None:
    files = _files(tmp_path, dict(published("llama-3.3-70b").config))
    with pytest.raises(CapacityError, match=r"weights 131\.4 GiB"):
        check_fits(spec(), files, [processors(64)])


def test_model_of_no_known_family_is_as_large_as_its_files(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bytes(5000))
    assert Model.of(_files(tmp_path, {"model_type": "mamba"})) == Model(None, 5000)


def test_registered_model_without_a_config_is_as_large_as_its_files(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    made: dict[str, Any] = {"family": "x", "parameters": 1, "context": 1, "heldout_loss": None, "card": {}}
    Models(store).add("pilot", {"model.safetensors": bytes(5000)}, parents=(), **made)
    assert Model.of(ModelFiles.of(store, "pilot")) == Model(None, 5000)


def test_damaged_config_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(IntegrityError, match=r"config\.json of .* cannot be read"):
        Model.of(ModelFiles.of(open_store(str(tmp_path)), str(tmp_path)))


def _files(folder: Path, config: dict[str, Any]) -> ModelFiles:
    (folder / "config.json").write_text(json.dumps(config))
    return ModelFiles.of(open_store(str(folder)), str(folder))
