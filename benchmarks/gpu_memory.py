"""Peak memory and speed of training steps of Llama's blocks on one GPU, to hold against what the planner predicts.

    python3 benchmarks/gpu_memory.py > measured.jsonl       # on a machine with a GPU of 141 GiB, PyTorch alone
    .venv/bin/python benchmarks/gpu_memory.py measured.jsonl  # anywhere: predictions beside it, JSON as the last line

Plain PyTorch without this package, so that it runs where nothing else is installed. Each configuration is a process of
its own. docs/benchmarks/planner.md has the results.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

VOCABULARY = 128256
LENGTH = 8192
LIMIT_S = 90
ALLOCATOR = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}


@dataclass(frozen=True)
class Case:
    """`mixed`: float32 weights, products in bf16 by autocast; else everything is bf16."""

    name: str
    hidden: int
    layers: int
    heads: int
    ffn: int
    sequences: int
    mixed: bool
    compiled: bool
    recompute: bool = False
    kv_heads: int = 8


CASES = (
    Case("1B, 2 sequences, mixed, eager", 2048, 16, 32, 8192, 2, mixed=True, compiled=False),
    Case(
        "1B, 4 sequences, mixed, eager, recomputed", 2048, 16, 32, 8192, 4, mixed=True, compiled=False, recompute=True
    ),
    Case("3B, 2 sequences, bf16, compiled", 3072, 28, 24, 8192, 2, mixed=False, compiled=True),
    Case("8B, 1 sequence, bf16, compiled", 4096, 32, 32, 14336, 1, mixed=False, compiled=True),
)


def main() -> None:
    if sys.argv[1:2] == ["--case"]:
        print(json.dumps(measure(CASES[int(sys.argv[2])])))
    elif sys.argv[1:]:
        compare([json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()])
    else:
        for number, case in enumerate(CASES):
            print(run_alone(number, case), flush=True)


def run_alone(number: int, case: Case) -> str:
    """The line of one case, measured in a process of its own; one that says why where there is none."""
    command = [sys.executable, __file__, "--case", str(number)]
    try:
        done = subprocess.run(
            command, env={**os.environ, **ALLOCATOR}, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
    except subprocess.TimeoutExpired:
        return json.dumps({"name": case.name, "error": f"not done in {LIMIT_S} s"})
    except subprocess.CalledProcessError as exc:
        return json.dumps({"name": case.name, "error": exc.stderr[-600:]})
    return done.stdout.splitlines()[-1]


def measure(case: Case) -> dict[str, Any]:
    """Three steps after a first one that compiles and warms up."""
    import torch

    step = _stepper(case)
    began = time.perf_counter()
    step()
    torch.cuda.synchronize()
    first_s = time.perf_counter() - began
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    losses = [step() for _ in range(3)]
    torch.cuda.synchronize()
    step_s = (time.perf_counter() - began) / 3
    return {
        **asdict(case),
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "tokens_per_s": case.sequences * LENGTH / step_s,
        "first_step_s": first_s,
        "loss": float(losses[-1]),
    }


def compare(rows: list[dict[str, Any]]) -> None:
    """Print predictions beside what was measured, and the largest error as JSON."""
    sys.path[0] = str(Path(__file__).parents[1])
    from tradewind.catalog import load_catalog
    from tradewind.families import ModelShape
    from tradewind.planner import Layout, Node, TrainingSetup, TrainingWork
    from tradewind.planner.fit import training_memory
    from tradewind.planner.trainer import Trainer
    from tradewind.planner.training_time import training_step

    node = Node(load_catalog().chip("H200-SXM"), 1, None, None, rdma=False)
    errors: dict[str, list[float]] = {"memory": [], "speed": []}
    for row in (row for row in rows if "error" not in row):
        sizes = {name: row[name] for name in ("hidden", "layers", "heads", "kv_heads", "ffn")}
        shape = ModelShape(
            family="llama",
            vocabulary=VOCABULARY,
            head_dim=row["hidden"] // row["heads"],
            context=LENGTH,
            tied=False,
            **sizes,
        )
        work = TrainingWork(shape, 1, row["sequences"], LENGTH, master="fp32" if row["mixed"] else "bf16")
        setup = TrainingSetup(Layout(), row["sequences"], 1, "full" if row["recompute"] else "none")
        kernels, loss = ("compiled", "compiled") if row["compiled"] else ("fused", "full")
        trainer = Trainer(kernels, loss, "operations" if row["mixed"] else "blocks")  # type: ignore[arg-type]
        memory = training_memory(work, setup, trainer)
        speed = training_step(work, setup, node, 1, compiled=row["compiled"]).tokens_per_s
        errors["memory"].append(memory.reserved_bytes / row["reserved_bytes"] - 1)
        errors["speed"].append(speed / row["tokens_per_s"] - 1)
        print(
            f"{row['name']:44} {row['reserved_bytes'] / 2**30:6.1f} GiB, predicted {errors['memory'][-1]:+.1%};"
            f" {row['tokens_per_s']:8.0f} tokens/s, predicted {errors['speed'][-1]:+.1%}"
        )
    worst = {name: max(map(abs, found)) for name, found in errors.items()}
    targets = {"memory_error": (worst["memory"], 0.10), "speed_error": (worst["speed"], 0.15)}
    print(
        json.dumps(
            {
                "targets": {
                    name: {"value": round(value, 4), "target": target, "better": "lower"}
                    for name, (value, target) in targets.items()
                },
                "measured": rows,
            }
        )
    )


def _stepper(case: Case) -> Any:
    """A function that makes one training step and gives its loss."""
    import torch
    import torch.nn.functional as F

    model = _model(case)
    cos, sin = _rotary(case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def loss_of(logits: Any, targets: Any) -> Any:
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    loss_function = torch.compile(loss_of) if case.compiled else loss_of

    def step() -> Any:
        tokens = torch.randint(0, VOCABULARY, (case.sequences, LENGTH + 1), device="cuda")
        with torch.autocast("cuda", torch.bfloat16, enabled=case.mixed):
            loss = loss_function(model(tokens[:, :-1], cos, sin), tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def _rotary(case: Case) -> tuple[Any, Any]:
    import torch

    head_dim = case.hidden // case.heads
    inverse = 500000 ** -(torch.arange(0, head_dim, 2, device="cuda").float() / head_dim)
    angles = torch.outer(torch.arange(LENGTH, device="cuda").float(), inverse).repeat(1, 2)
    return angles.cos().bfloat16(), angles.sin().bfloat16()


def _model(case: Case) -> Any:
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.checkpoint import checkpoint

    head_dim = case.hidden // case.heads

    def rotate(x: Any, cos: Any, sin: Any) -> Any:
        half = head_dim // 2
        return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin

    def linear(inputs: int, outputs: int) -> Any:
        return nn.Linear(inputs, outputs, bias=False)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before, self.between = (nn.RMSNorm(case.hidden, eps=1e-5) for _ in range(2))
            self.q = linear(case.hidden, case.hidden)
            self.k, self.v = (linear(case.hidden, case.kv_heads * head_dim) for _ in range(2))
            self.o = linear(case.hidden, case.hidden)
            self.gate, self.up = (linear(case.hidden, case.ffn) for _ in range(2))
            self.down = linear(case.ffn, case.hidden)

        def forward(self, x: Any, cos: Any, sin: Any) -> Any:
            batch, length, _ = x.shape
            normed = self.before(x)
            q, k, v = (p(normed).view(batch, length, -1, head_dim).transpose(1, 2) for p in (self.q, self.k, self.v))
            mixed = F.scaled_dot_product_attention(
                rotate(q, cos, sin), rotate(k, cos, sin), v, is_causal=True, enable_gqa=True
            )
            x = x + self.o(mixed.transpose(1, 2).reshape(batch, length, case.hidden))
            normed = self.between(x)
            return x + self.down(F.silu(self.gate(normed)) * self.up(normed))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, case.hidden)
            self.layers = nn.ModuleList(Block() for _ in range(case.layers))
            self.norm = nn.RMSNorm(case.hidden, eps=1e-5)
            self.head = linear(case.hidden, VOCABULARY)

        def forward(self, tokens: Any, cos: Any, sin: Any) -> Any:
            x = self.embedding(tokens)
            for layer in self.layers:
                x = checkpoint(layer, x, cos, sin, use_reentrant=False) if case.recompute else layer(x, cos, sin)
            return self.head(self.norm(x))

    with torch.device("meta"):
        model = Model()
    if not case.mixed:
        model.bfloat16()
    model.to_empty(device="cuda")
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(1) if weight.ndim == 1 else weight.normal_(0, 0.02)
    if case.compiled:
        for layer in model.layers:
            layer.compile(fullgraph=True)
    return model


if __name__ == "__main__":
    main()
