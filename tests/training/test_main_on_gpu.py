"""Whole runs on one CUDA device, started by torchrun: fused and compiled blocks, in every number format."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.samples import dataset_spec, write_text
from tradewind.datasets import Datasets
from tradewind.storage import Store, open_store
from tradewind.training.proof import prove
from tradewind.training.run import Run, names

pytestmark = pytest.mark.gpu
ROOT = Path(__file__).parents[2]
SPEC = """\
kind: train
name: {name}
dataset: logbook
model: {model}
batch: {{sequences: 8, tokens_per_sequence: 256, separate_documents: {documents}}}
max_steps: 40
optimizer: {{learning_rate: 0.003, warmup_steps: 5}}
precision: {{compute: {compute}, scaling: {scaling}, masters: {masters}}}
"""
SIZES = "hidden: 256, layers: 4, heads: 4, ffn: 512"
LLAMA = f"{{{SIZES}, kv_heads: 2}}"
QWEN = f"{{family: qwen, {SIZES}, kv_heads: 2}}"
LATENT = "latent: {rank: 64, rope_dim: 32, plain_dim: 32, value_dim: 32}"
DEEPSEEK = f"{{family: deepseek, {SIZES}, {LATENT}, experts: {{routed: 8, active: 2, shared: 1, ffn: 128}}}}"
RUNS = {
    "llama": (LLAMA, "bfloat16", "tensorwise", "float32", "true"),
    "llama-float8": (LLAMA, "float8", "tensorwise", "float32", "false"),
    "llama-float8-rows": (LLAMA, "float8", "rowwise", "float32", "false"),
    "llama-short": (LLAMA, "bfloat16", "tensorwise", "bfloat16", "false"),
    "qwen": (QWEN, "bfloat16", "tensorwise", "float32", "true"),
    "deepseek": (DEEPSEEK, "bfloat16", "tensorwise", "float32", "true"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("torchrun")
    store = open_store(str(folder / "store"))
    Datasets(store).add(dataset_spec(write_text(folder / "text", documents=400, words=120)))
    return store


@pytest.mark.parametrize("name", RUNS)
def test_model_learns_and_its_run_is_proven(store: Store, tmp_path: Path, name: str) -> None:
    model, compute, scaling, masters, documents = RUNS[name]
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        SPEC.format(name=name, model=model, compute=compute, scaling=scaling, masters=masters, documents=documents)
    )
    before = set(names(store))
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    done = subprocess.run(
        [*start, "-m", "tradewind.training", str(spec), "--workspace", store.url.removeprefix("file://")],
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'platform'}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"computed in {compute}" in done.stderr
    (made,) = set(names(store)) - before
    run = Run(store, made)
    losses = [row.loss for row in run.metrics()]
    print(name, losses[::8])
    assert losses[0] > 5.5  # ln 320 = 5.8
    assert losses[-1] < 4.5
    assert prove(run).samples == 320
