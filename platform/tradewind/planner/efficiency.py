"""What a chip reaches of what its data sheet promises: a few shares, measured on one chip and carried over to others.

All were measured on one H200 (989 TFLOP/s bf16, 1979 fp8, 4.8 TB/s) with torch 2.11 and CUDA 13: a profile of training
steps of an 8B and a 1B Llama, and single kernels. The shares go over to other chips with their own peaks and
bandwidths. That is an assumption, which a measurement on the chip replaces; see `correction.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from tradewind.catalog.chip import Chip, Precision
from tradewind.errors import CapacityError, did_you_mean

MATMUL_SHARE = 0.725
"""Of the peak, in products so large that their edges do not count. Power, not arithmetic, is the limit: 8192³ in bf16
runs at 772 TFLOP/s cool and 685 sustained; products of the 8B step at 705 in bf16 and 1394 in fp8, of the 1B at 740."""

BEST_SHARE: Mapping[str, float] = {
    "A100": 0.859,
    "B200": 0.776,
    "B300": 0.776,
    "GB200": 0.776,
    "MI250": 0.767,
    "MI250X": 0.767,
    "MI300X": 0.601,
    "MI325X": 0.601,
}
HOPPER_BEST_SHARE = 0.803
"""Of the peak, the best that any bf16 product reaches on chips whose names start so; `MATMUL_SHARE` scales with it.
Measured by others on A100, H100 and H200, B200, MI250X and MI300X: S. Bekman, "Machine Learning Engineering", table of
maximum achievable matmul FLOPS, read 2026-11-26. Their sisters count like them, and all others as Hopper."""

TILE = 32
"""What a product loses along each of its sides, on average: one of n does the work of n + 32."""

GROUPED_SHARE = 0.8
"""Of that, in products of many experts at a time, whose sizes differ. An assumption."""

SOFTMAX_DIM = 38
"""What the exponentials of attention cost, in widths of a head: they do not run on matrix units. From cuDNN's 458
TFLOP/s at 128 and 372 at 64 wide, in the 8B and the 1B step."""

SOFTMAX_TOKENS = 1600
"""What the diagonal and the ends of causal attention cost, in tokens: 501 TFLOP/s at 8192, 431 at 4096."""

ATTENTION_SHARE = 0.72
"""Of the peak in 16 bits, for long sequences and wide heads; with the two above."""

STREAM_SHARE = 0.86
"""Of the memory's bandwidth, in one long copy: 4.14 of 4.8 TB/s. Reading weights and cached keys is like that."""

ELEMENTWISE_SHARE = 0.56
"""Of the memory's bandwidth, in kernels that do little else: AdamW 2.63 TB/s, clipping 2.72, norms and activations that
torch.compile has fused 2.6 to 2.9."""

STEP_S = 7e-3
"""Gaps in a training step without any kernel: 6.5 to 8.2 ms."""

CPU_MATMUL_SHARE, CPU_ATTENTION_SHARE, CPU_TILE = 1.0, 0.5, 8
"""The same on processors in float32, where attention has no such costs. The peak of `processor.py` is what products
reach already; the others are assumptions."""


@dataclass(frozen=True)
class Speed:
    """What a chip reaches with large work."""

    matmul_flops: float
    """In products of the model's precision."""
    plain_flops: float
    """In products that stay in 16 bits, or 32 on processors."""
    attention_flops: float
    stream_bytes_per_s: float
    elementwise_bytes_per_s: float
    tile: int
    is_cpu: bool


def chip_speed(chip: Chip, precision: Precision) -> Speed:
    """What a chip reaches in that precision. Raises CapacityError where the catalogue has no such peak or bandwidth."""
    if chip.memory_bytes_per_s is None:
        raise CapacityError(
            f"the bandwidth of {chip.name}'s memory is not known", hint="add it to your own chips, or take another chip"
        )
    plain = peak_flops(chip, plain_precision(chip, precision))
    return _speed(chip.name, chip.kind == "cpu", peak_flops(chip, precision), plain, chip.memory_bytes_per_s)


@lru_cache(maxsize=1024)
def _speed(name: str, is_cpu: bool, peak: float, plain_peak: float, bytes_per_s: float) -> Speed:
    scale = 1.0 if is_cpu else _relative_share(name)
    matmul, attention = (CPU_MATMUL_SHARE, CPU_ATTENTION_SHARE) if is_cpu else (MATMUL_SHARE, ATTENTION_SHARE)
    return Speed(
        matmul_flops=scale * matmul * peak,
        plain_flops=scale * matmul * plain_peak,
        attention_flops=scale * attention * plain_peak,
        stream_bytes_per_s=STREAM_SHARE * bytes_per_s,
        elementwise_bytes_per_s=(STREAM_SHARE if is_cpu else ELEMENTWISE_SHARE) * bytes_per_s,
        tile=CPU_TILE if is_cpu else TILE,
        is_cpu=is_cpu,
    )


def _relative_share(name: str) -> float:
    return BEST_SHARE.get(name.split("-")[0], HOPPER_BEST_SHARE) / HOPPER_BEST_SHARE


def peak_flops(chip: Chip, precision: Precision) -> float:
    """Dense peak. Raises CapacityError for a precision that the chip does not have."""
    found = chip.flops.get(precision)
    if not found:
        raise CapacityError(
            f"{chip.name} has no {precision} peak{did_you_mean(precision, chip.flops)}",
            hint="choose a precision that the chip has, or another chip",
        )
    return found


def plain_precision(chip: Chip, precision: Precision) -> Precision:
    """The format of what is not done in fewer bits: attention, the output layer."""
    if precision in ("fp32", "bf16", "fp16") and precision in chip.flops:
        return precision
    return next((one for one in ("bf16", "fp16", "fp32") if one in chip.flops), "bf16")


def matmul_s(tokens: float, inputs: int, outputs: int, *, flops: float, bits: int, speed: Speed) -> float:
    """Seconds of one product, by the roofline (Williams et al. 2009): arithmetic or memory, whichever takes longer."""
    compute_s = 2.0 * (tokens + speed.tile) * (inputs + speed.tile) * (outputs + speed.tile) / flops
    memory_s = (tokens * (inputs + outputs) * 2 + inputs * outputs * bits / 8) / speed.stream_bytes_per_s
    return max(compute_s, memory_s)


def attention_s(pairs_flops: float, *, head_dim: float, tokens: float, speed: Speed) -> float:
    """Seconds of so many operations of causal attention over sequences of `tokens`."""
    if speed.is_cpu:
        return pairs_flops / speed.attention_flops
    share = head_dim / (head_dim + SOFTMAX_DIM) * tokens / (tokens + SOFTMAX_TOKENS)
    return pairs_flops / (share * speed.attention_flops)
