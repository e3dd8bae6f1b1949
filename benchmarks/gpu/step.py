"""Our step: the production decoder, `accelerate` and AdamW, on the tokens that torchtitan reads. One JSON line last.

python3 -m benchmarks.gpu.step 8B --batch 1 --compute float8 [--masters float32] [--profile]
python3 -m torch.distributed.run --nproc_per_node 2 -m benchmarks.gpu.step 8B --masters float32 --layout zero=3
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from benchmarks.gpu.words import sequences
from tradewind.families import ModelShape, known_model, parameters
from tradewind.training.model import Decoder
from tradewind.training.optimizer import AdamW
from tradewind.training.parallel import DistributedDecoder, Layout, Mesh, Precision
from tradewind.training.precision import accelerate, settle

PEAK_FLOPS = 989e12
"""Dense bf16 of an H100 or H200 SXM by its datasheet; torchtitan counts model FLOPs utilisation against it too."""
LEARNING_RATE, WARMUP = 3e-4, 20
WINDOW = 5
"""Steps that are timed together, as torchtitan does with `--metrics.log_freq 5`; the first window is left out."""
ALONE = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
KINDS = {
    "attention": ("fmha", "flash", "sdpa", "attention", "cudnn_generated"),
    "gemm": ("gemm", "cutlass", "nvjet", "cublas", "xmma", "splitk"),
    "communication": ("nccl",),
    "optimizer": ("_adamw", "adam"),
    "norm of gradients": ("_squares", "lpnorm"),
    "cross-entropy": ("_cross_entropy",),
    "float8 casts": ("_fill", "_note"),
    "norm, rotary, SwiGLU": ("_add_rms_norm", "_backward", "_forward", "_turn_in_place", "_join"),
    "copies": ("memcpy", "memset", "copy", "split_with_sizes", "chunk_cat"),
}


def shape(size: str, time_: int) -> ModelShape:
    eight = replace(known_model("llama-3.1-8b"), context=time_)
    small = replace(eight, hidden=2048, layers=16, head_dim=64, ffn=8192)
    return {"8B": eight, "1B": small}[size]


def build(asked: argparse.Namespace, sizes: ModelShape) -> Any:
    """The model as the training loop builds it, for any layout; see `training.build`."""
    masters = getattr(torch, asked.masters)
    device = torch.device("cuda", torch.cuda.current_device())
    axes: dict[str, Any] = {name: int(size) for name, size in asked.layout}
    layout = Layout.of(dist.get_world_size(), shape=sizes, **axes)
    mesh = Mesh.of(layout, device)
    alone = layout.world == 1

    def prepare(decoder: Decoder) -> None:
        group = mesh.weights.get_group("tensor") if layout.tensor > 1 else None
        say(
            accelerate(
                decoder,
                compute=asked.compute,
                scaling=asked.scaling,
                activations=asked.activations,
                tensor_group=group,
            )
        )

    compute = masters if alone else torch.bfloat16  # alone, masters have working copies
    model = DistributedDecoder(
        sizes, mesh, weights=masters, precision=Precision(compute=compute), before_sharding=prepare
    )
    for decoder in model.whole_decoders:
        settle(decoder)
    say(f"{layout}")
    draw(model, sizes)
    return model


@torch.no_grad()
def draw(model: Any, sizes: ModelShape) -> None:
    """First weights of the deviations that torchtitan draws (models/llama3/model/model.py, init_weights)."""
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        part = weight.to_local() if hasattr(weight, "to_local") else weight
        if weight.dim() == 1:
            part.fill_(1.0)
        else:
            part.normal_(0.0, deviation(name, sizes))


def deviation(name: str, sizes: ModelShape) -> float:
    if "embed_tokens" in name:
        return 1.0
    if "lm_head" in name:
        return float(sizes.hidden**-0.5)
    if name.endswith(("o_proj.weight", "up_proj.weight", "down_proj.weight")):
        return 0.02 / float((2 * (int(name.split(".layers.")[1].split(".")[0]) + 1)) ** 0.5)
    return 0.02


def flops_per_token(sizes: ModelShape) -> float:
    """torchtitan's count: 6 a parameter outside of the embedding, attention as if not causal, nothing made again."""
    count = parameters(sizes) - sizes.vocabulary * sizes.hidden
    return 6.0 * count + 12 * sizes.layers * sizes.heads * sizes.head_dim * sizes.context


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    sizes = shape(asked.size, asked.time)
    model = build(asked, sizes)
    optimizer = AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    layout, mesh = model.layout, model.mesh
    rows = sequences(asked.time, mesh.data_rank, mesh.data_world)
    tokens = torch.tensor(rows, device=mesh.device)
    group = dist.group.WORLD if layout.world > 1 else None
    scale = 1 / (asked.batch * asked.time * layout.data_world)

    def step(number: int) -> tuple[Tensor, Tensor]:
        begin = number * asked.batch % (len(tokens) - asked.batch + 1)
        batch = tokens[begin : begin + asked.batch]
        for group_of in optimizer.param_groups:
            group_of["lr"] = LEARNING_RATE * min(1.0, (number + 1) / (WARMUP + 1))
        loss = model.train_pass(batch[:, :-1].contiguous(), batch[:, 1:].contiguous(), scale=scale)
        norm = optimizer.step(max_norm=1.0, stage_ranks=layout.world // layout.pipeline, group=group)
        optimizer.zero_grad()
        return loss * scale, norm

    marks = [torch.cuda.Event(enable_timing=True) for _ in range(asked.steps // WINDOW + 1)]  # type: ignore[no-untyped-call]
    losses, norms = [], []
    for number in range(asked.steps):
        if number % WINDOW == 0:
            torch.cuda.synchronize()
            marks[number // WINDOW].record()
        loss, norm = step(number)
        losses.append(loss)
        norms.append(norm)
    marks[-1].record()
    torch.cuda.synchronize()
    windows = [a.elapsed_time(b) / 1e3 / WINDOW for a, b in itertools.pairwise(marks)]
    middle = statistics.median(windows[1:])
    for loss in losses:
        dist.all_reduce(loss.mul_(mesh.counts_losses))
    speed = asked.batch * asked.time * layout.data_world / layout.world / middle
    flops = flops_per_token(sizes)
    found: dict[str, Any] = {
        "step_ms": 1e3 * middle,
        "windows_ms": [round(1e3 * window, 1) for window in windows],
        "tokens_per_s": speed,
        "mfu": speed * flops / PEAK_FLOPS,
        "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
        "allocated_gib": torch.cuda.max_memory_allocated() / 2**30,
        "losses": {
            number + 1: round(losses[number].item(), 4)
            for number in range(asked.steps)
            if number % 5 == 4 or number == 0
        },
        "norms": {
            number + 1: round(norms[number].item(), 3)
            for number in range(asked.steps)
            if number % 5 == 4 or number == 0
        },
        "parameters": parameters(sizes),
        "card": torch.cuda.get_device_name(),
    }
    if asked.profile:
        found["profile"] = profile(step, asked.steps)
    return found


def profile(step: Any, start: int, steps: int = 2) -> dict[str, float]:
    """Milliseconds of kernels in one step by kind; printed by name too."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    with profiler(activities=[ProfilerActivity.CUDA]) as taken:
        for number in range(steps):
            step(start + number)
        torch.cuda.synchronize()
    spans = spans_of(taken)
    say(idle(spans))
    say(f"    communication without anything beside it: {exposed(spans) / steps:.1f} ms a step")
    rows = [(row.key, row.device_time_total / 1e3 / steps, row.count / steps) for row in taken.key_averages()]
    kinds: dict[str, float] = {}
    for name, spent, _ in rows:
        kinds[kind_of(name)] = kinds.get(kind_of(name), 0.0) + spent
    for name, spent, count in sorted(rows, key=lambda row: -row[1])[:32]:
        say(f"    {spent:8.2f} ms x{count:<6.0f} [{kind_of(name)}] {name[:100]}")
    return {kind: round(spent, 2) for kind, spent in sorted(kinds.items(), key=lambda row: -row[1])}


Span = tuple[float, float, str]
"""Begin and end of a kernel or copy on the device in microseconds, and its name."""


def spans_of(taken: Any) -> list[Span]:
    from torch._C._autograd import DeviceType

    return sorted(
        (event.time_range.start, event.time_range.end, event.name)
        for event in taken.events()
        if event.device_type == DeviceType.CUDA
    )


def exposed(spans: list[Span]) -> float:
    """Milliseconds in which the device does nothing but communicate."""
    communicating = [span for span in spans if kind_of(span[2]) == "communication"]
    others = [span for span in spans if kind_of(span[2]) != "communication"]
    return (covered(spans) - covered(others)) / 1e3 if communicating else 0.0


def covered(spans: list[Span]) -> float:
    """Microseconds in which at least one of the spans, sorted by their begin, runs."""
    total, end = 0.0, float("-inf")
    for start, stop, _ in spans:
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total


def idle(spans: list[Span]) -> str:
    """How long the device waited between kernels, and before which ones."""
    waits: dict[str, tuple[float, int]] = {}
    end, waited = spans[0][1], 0.0
    for start, stop, name in spans[1:]:
        gap = max(0.0, start - end) / 1e3
        waited += gap
        total, count = waits.get(name[:60], (0.0, 0))
        waits[name[:60]] = total + gap, count + 1
        end = max(end, stop)
    worst = sorted(waits.items(), key=lambda row: -row[1][0])[:8]
    span = (end - spans[0][0]) / 1e3
    return f"    span {span:.1f} ms, idle {waited:.1f} ms, {len(spans)} operations; " + "; ".join(
        f"{name} {total:.2f} ms x{count}" for name, (total, count) in worst
    )


def kind_of(kernel: str) -> str:
    lower = kernel.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in lower for part in parts)), "other")


def say(line: object) -> None:
    if int(os.environ.get("RANK", 0)) == 0:
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("size", choices=["8B", "1B"])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--time", type=int, default=8192)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compute", default="bfloat16")
    parser.add_argument("--scaling", default="tensorwise", help="of float8: tensorwise or rowwise")
    parser.add_argument("--masters", default="bfloat16")
    parser.add_argument("--activations", default="none")
    parser.add_argument("--layout", nargs="*", default=[], type=lambda part: part.split("="), help="tensor=2 zero=3 …")
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    for name, value in ALONE.items():
        os.environ.setdefault(name, value)
    dist.init_process_group("nccl", device_id=torch.device("cuda", torch.cuda.current_device()))
    found = measure(asked)
    say("FOUND " + json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
