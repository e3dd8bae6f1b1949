"""Our training step beside torchtitan's on CUDA devices: same shapes, settings and tokens, in one call.

    PYTHONPATH=platform:. python3 benchmarks/training.py --gpus 1 [--only 8B-bf16 8B-float8 1B] [--deadline-s 580]

torchtitan 0.2.2 and torchao 0.17.0 must be importable; ours needs torch alone. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FLOAT8 = "--model.converters quantize.linear.float8 --quantize.linear.float8.filter_fqns output"
ROWS = "--quantize.linear.float8.recipe_name rowwise"
BF16 = "--training.dtype bfloat16"
OP = "--activation_checkpoint.mode selective --activation_checkpoint.selective_ac_option op"
NO_AC = "--activation_checkpoint.mode none"
PIPELINE = "--parallelism.pipeline_parallel_degree 2 --parallelism.pipeline_parallel_schedule 1F1B"
ROW = re.compile(r"step: *(\d+) .*?loss: *(-?[\d.a-z]+).*?memory: *([\d.]+)GiB.*?tps: ([\d,]+)")


@dataclass(frozen=True)
class Case:
    gpus: int
    ours: str
    titan: str
    """Flavour, batch, flags; of one case, the same as of the case before, which is not run again."""
    target: float | None
    """Least ratio of our tokens a second to torchtitan's."""


ZERO3 = f"8B 1 {NO_AC}"
CASES = {
    "8B-bf16": Case(1, "8B --compute bfloat16", f"8B 1 {BF16} {NO_AC}", 1.06),
    "8B-float8": Case(1, "8B --compute float8", f"8B 1 {BF16} {NO_AC} {FLOAT8}", 1.12),
    "8B-float8-rows": Case(
        1, "8B --compute float8 --scaling rowwise", f"8B 1 {BF16} {NO_AC} {FLOAT8} {ROWS}", None
    ),
    "1B": Case(1, "1B --batch 2 --masters float32", f"1B 2 {NO_AC}", 1.08),
    "8B-shard": Case(2, "8B --masters float32 --layout zero=3", ZERO3, 1.06),
    "8B-shard-zero2": Case(2, "8B --masters float32 --layout zero=2", ZERO3, 1.06),
    "8B-shard-float8": Case(
        2, "8B --batch 2 --masters float32 --layout zero=3 --compute float8", f"8B 2 {OP} {FLOAT8}", 1.10
    ),
    "8B-tensor": Case(2, "8B --layout tensor=2", f"8B 1 {BF16} {NO_AC} --parallelism.tensor_parallel_degree 2", 1.05),
    "8B-pipeline": Case(2, "8B --batch 4 --layout pipeline=2 microbatches=4", f"8B 4 {BF16} {NO_AC} {PIPELINE}", 1.05),
}  # fmt: skip


def titan_command(case: Case, assets: Path, steps: int) -> list[str]:
    flavour, batch, *flags = case.titan.split()
    launch = f"-m torch.distributed.run --nproc_per_node={case.gpus} --rdzv_backend c10d --rdzv_endpoint=localhost:0"
    asked = (
        f"--local-ranks-filter 0 --role rank --tee 3 -m benchmarks.gpu.titan --model.name llama3"
        f" --model.hf_assets_path {assets}/tokenizer --training.dataset c4_test --training.dataset_path {assets}/text"
        f" --optimizer.name AdamW --optimizer.lr 3e-4 --optimizer.eps 1e-8 --lr_scheduler.warmup_steps 200"
        f" --training.max_norm 1.0 --metrics.log_freq 5 --metrics.disable_color_printing"
        f" --job.dump_folder {assets}/dump --compile.enable --compile.components model,loss"
        f" --model.flavor {flavour} --training.seq_len 8192"
        f" --training.local_batch_size {batch} --training.steps {steps}"
    )
    return [sys.executable, *launch.split(), *asked.split(), *flags]


def our_command(case: Case, steps: int, profile: bool) -> list[str]:
    launch = f"-m torch.distributed.run --nproc_per_node={case.gpus} --rdzv_backend c10d --rdzv_endpoint=localhost:0"
    asked = [*["-m", "benchmarks.gpu.step"], *case.ours.split(), "--steps", str(steps)]
    return [sys.executable, *(launch.split() if case.gpus > 1 else []), *asked, *(["--profile"] if profile else [])]


def run(command: list[str], log: Path, limit_s: float) -> str:
    """What the command printed; its process group is ended at the limit."""
    with log.open("w") as out:
        out.write(" ".join(command) + "\n")
        out.flush()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, cwd=ROOT)
        try:
            process.wait(timeout=max(limit_s, 1))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return log.read_text()


def titan_found(text: str) -> dict[str, Any]:
    rows = [
        (int(step), loss, float(memory), float(speed.replace(",", "")))
        for step, loss, memory, speed in ROW.findall(text)
    ]
    steady = sorted(speed for step, _, _, speed in rows if step >= 10)
    if not steady:
        return {"error": [line[-300:] for line in text.splitlines() if re.search("Error|error:|OutOfMemory", line)][:4]}
    return {
        "tokens_per_s": statistics.median(steady),
        "windows": steady,
        "reserved_gib": max(memory for _, _, memory, _ in rows),
        "losses": {step: float(loss) for step, loss, _, _ in rows},
    }


def our_found(text: str) -> dict[str, Any]:
    line = next((line for line in reversed(text.splitlines()) if line.startswith("FOUND ")), None)
    return {"error": text.splitlines()[-12:]} if line is None else dict(json.loads(line.removeprefix("FOUND ")))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--ours-alone", action="store_true")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--deadline-s", type=float, default=580)
    parser.add_argument("--logs", type=Path, default=Path("training.logs"))
    asked = parser.parse_args()
    end = time.monotonic() + asked.deadline_s
    asked.logs.mkdir(parents=True, exist_ok=True)
    if not asked.ours_alone:
        from benchmarks.gpu.words import write_for_titan

        write_for_titan(asked.logs)
    results: dict[str, Any] = {}
    ran: dict[str, dict[str, Any]] = {}
    for name, case in CASES.items():
        if case.gpus != asked.gpus or (asked.only and name not in asked.only):
            continue
        ours = our_found(
            run(our_command(case, asked.steps, True), asked.logs / f"{name}.ours.log", min(150, end - time.monotonic()))
        )
        if case.titan not in ran and not asked.ours_alone:
            command = titan_command(case, asked.logs, asked.steps)
            ran[case.titan] = titan_found(
                run(command, asked.logs / f"{name}.titan.log", min(170, end - time.monotonic()))
            )
        results[name] = {"ours": ours, "torchtitan": ran.get(case.titan, {})}
        print(f"{name}: ratio {ratio(**results[name])} (target {case.target})")
        print(f"  ours {json.dumps(ours)}\n  torchtitan {json.dumps(ran.get(case.titan))}", flush=True)
    print(json.dumps({"targets": targets(results)}))


def ratio(ours: dict[str, Any], torchtitan: dict[str, Any]) -> float | None:
    """Our tokens a second by theirs; None where one of the two gave none."""
    speeds = ours.get("tokens_per_s"), torchtitan.get("tokens_per_s")
    return speeds[0] / speeds[1] if speeds[0] and speeds[1] else None


def targets(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "value": ratio(**both),
            "target": CASES[name].target,
            "better": "higher",
            "tokens_per_s": {who: found.get("tokens_per_s") for who, found in both.items()},
            "reserved_gib": {who: found.get("reserved_gib") for who, found in both.items()},
        }
        for name, both in results.items()
    }


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
