from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import pytest

from tradewind.engines import EngineSettings
from tradewind.engines.engine import Profile
from tradewind.engines.vllm_settings import ONE_PROCESS, arguments, set_environment
from tradewind.errors import IntegrityError, SpecError


def made(*, cpu: bool = False, **changes: Any) -> dict[str, Any]:
    return arguments(Path("/files"), EngineSettings(**changes), cpu=cpu)


@pytest.mark.parametrize("cpu", [False, True])
def test_profiles_go_from_even_answers_to_full_chips(cpu: bool) -> None:
    tokens = [made(cpu=cpu, profile=profile)["max_num_batched_tokens"] for profile in get_args(Profile)]
    assert tokens == sorted(set(tokens))


def test_step_has_room_for_a_token_of_each_sequence() -> None:
    assert made(max_concurrency=5000, profile="latency")["max_num_batched_tokens"] == 5000


def test_chips_are_shared_as_asked() -> None:
    wanted = made(tensor=4, pipeline=2, expert=True)
    assert (wanted["tensor_parallel_size"], wanted["pipeline_parallel_size"]) == (4, 2)
    assert wanted["enable_expert_parallel"] is True
    assert "distributed_executor_backend" not in wanted


def test_processor_has_no_worker_process_and_compiles_nothing() -> None:
    wanted = made(cpu=True)
    assert wanted["distributed_executor_backend"] == ONE_PROCESS
    assert wanted["enforce_eager"] is True


def latent(folder: Path, rank: int) -> Path:
    (folder / "config.json").write_text(json.dumps({"kv_lora_rank": rank, "qk_rope_head_dim": 64}))
    return folder


def test_processor_does_not_turn_latent_vectors_by_the_kernel_that_does_it_wrongly(tmp_path: Path) -> None:
    settings, files = EngineSettings(), latent(tmp_path, 512)
    assert arguments(files, settings, cpu=True)["compilation_config"] == {"custom_ops": ["-rotary_embedding"]}
    assert "compilation_config" not in arguments(files, settings, cpu=False)
    assert "compilation_config" not in made(cpu=True)
    own = EngineSettings(more={"compilation_config": {"level": 0, "custom_ops": ["+rms_norm"]}})
    assert arguments(files, own, cpu=True)["compilation_config"] == {
        "level": 0,
        "custom_ops": ["-rotary_embedding", "+rms_norm"],
    }


@pytest.mark.parametrize(("rank", "whole"), [(512, None), (256, None), (32, "1")])
def test_latent_vectors_of_a_width_that_vllm_does_not_attend_to_are_made_whole(
    rank: int, whole: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {})
    set_environment(latent(tmp_path, rank), cpu=False)
    assert os.environ.get("VLLM_MLA_DISABLE") == whole


def test_own_knobs_win() -> None:
    assert made(more={"max_num_seqs": 7})["max_num_seqs"] == 7


@pytest.mark.parametrize(
    ("precision", "argument"),
    [("auto", ("dtype", "auto")), ("bfloat16", ("dtype", "bfloat16")), ("float8", ("quantization", "fp8"))],
)
def test_precision_is_said_in_vllms_way(precision: Any, argument: tuple[str, str]) -> None:
    assert argument in made(precision=precision).items()


def test_precision_that_vllm_does_not_make_is_refused() -> None:
    with pytest.raises(SpecError, match="no int8 weights when it loads"):
        made(precision="int8")
    with pytest.raises(SpecError, match="no float8 on a processor"):
        made(precision="float8", cpu=True)


@pytest.mark.parametrize(("rank", "room"), [(1, 1), (4, 8), (8, 8), (65, 128)])
def test_adapters_have_room_for_their_rank(tmp_path: Path, rank: int, room: int) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": rank}))
    wanted = made(adapters={"tide": tmp_path})
    assert (wanted["enable_lora"], wanted["max_loras"], wanted["max_lora_rank"]) == (True, 1, room)
    assert wanted["lora_modules"] == {"tide": str(tmp_path)}


def test_adapters_that_are_too_wide_or_broken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="adapter 'tide' cannot be read"):
        made(adapters={"tide": tmp_path})
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 1000}))
    with pytest.raises(SpecError, match="rank 1000"):
        made(adapters={"tide": tmp_path})


def test_environment_that_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(os, "environ", {"PYTHONDONTWRITEBYTECODE": "1", "VLLM_CPU_KVCACHE_SPACE": "9"})
    set_environment(Path("/files"), cpu=True)
    assert os.environ["VLLM_CPU_KVCACHE_SPACE"] == "9"
    assert os.environ["TORCHDYNAMO_DISABLE"] == "1"
    assert "PYTHONDONTWRITEBYTECODE" not in os.environ
    assert not sys.dont_write_bytecode
