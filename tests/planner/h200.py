"""What was measured on one and two NVIDIA H200: torch 2.11 with CUDA 13, NCCL 2.28.9, multicast off, 2026-11-21.

`torchtitan` is torchtitan 0.2.2 with its `bfloat16` or mixed precision, `plain` is hand-written torch with the same
shapes. Tokens a second and chip, the mean of two windows of five steps, or the median of twelve steps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from tradewind.catalog import Chip
from tradewind.catalog.chip import Precision
from tradewind.families import ModelShape
from tradewind.planner.layout import Layout, Recompute, TrainingSetup
from tradewind.planner.node import Node
from tradewind.planner.training_time import StepTime, training_step
from tradewind.planner.work import TrainingWork
from tradewind.records import Measurement

H200 = Chip(
    name="H200-SXM",
    vendor="nvidia",
    kind="gpu",
    memory_bytes=141 * 2**30,
    flops={"bf16": 989e12, "fp16": 989e12, "fp8": 1979e12},
    memory_bytes_per_s=4.8e12,
    link="NVLink4",
    link_bytes_per_s=450e9,
    power_w=700.0,
    runtime="cuda",
    supports=frozenset(),
    price_usd=None,
    source="data sheet",
)

LLAMA_8B = ModelShape("llama", 128256, 4096, 32, 32, 8, 128, 14336, 8192, tied=False)
LLAMA_1B = ModelShape("llama", 128256, 2048, 16, 32, 8, 64, 8192, 8192, tied=False)


ONE, TWO = Layout(), Layout(shard=2)


@dataclass(frozen=True)
class Row:
    name: str
    shape: ModelShape
    tokens_per_sequence: int
    micro_batch: int
    precision: Precision
    master: Precision
    recompute: Recompute
    tokens_per_s: float
    layout: Layout = ONE
    micro_batches: int = 1
    compiled: bool = True

    @property
    def work(self) -> TrainingWork:
        return TrainingWork(
            self.shape, 100, self.setup.sequences, self.tokens_per_sequence, self.precision, self.master
        )

    @property
    def setup(self) -> TrainingSetup:
        return TrainingSetup(self.layout, self.micro_batch, self.micro_batches, self.recompute)

    @property
    def node(self) -> Node:
        return Node(H200, self.layout.chips, None, None, rdma=False)

    def predicted(self) -> StepTime:
        return training_step(self.work, self.setup, self.node, 1, compiled=self.compiled)

    @property
    def all_tokens_per_s(self) -> float:
        return self.tokens_per_s * self.layout.chips

    def measurement(self) -> Measurement:
        return Measurement(
            measurement_id=self.name,
            work="training",
            chip=H200.name,
            chips_per_node=self.layout.chips,
            nodes=1,
            shape=asdict(self.shape),
            layout=asdict(self.layout),
            precision=self.precision,
            tokens_per_sequence=self.tokens_per_sequence,
            sequences=self.setup.sequences,
            recompute=self.recompute,
            tokens_per_s=self.all_tokens_per_s,
            predicted_tokens_per_s=self.predicted().tokens_per_s,
            source="h200",
        )


ROWS = (
    Row("torchtitan 8B selective", LLAMA_8B, 8192, 1, "bf16", "bf16", "selective", 9695),
    Row("torchtitan 8B", LLAMA_8B, 8192, 1, "bf16", "bf16", "none", 10601),
    Row("torchtitan 8B two sequences, one window", LLAMA_8B, 8192, 2, "bf16", "bf16", "none", 10592),
    Row("torchtitan 8B two sequences full", LLAMA_8B, 8192, 2, "bf16", "bf16", "full", 8970),
    Row("torchtitan 8B selective eager", LLAMA_8B, 8192, 1, "bf16", "bf16", "selective", 9254, compiled=False),
    Row("torchtitan 8B 4096 selective", LLAMA_8B, 4096, 2, "bf16", "bf16", "selective", 10390),
    Row("torchtitan 8B selective fp8", LLAMA_8B, 8192, 1, "fp8", "bf16", "selective", 12573),
    Row("torchtitan 8B fp8", LLAMA_8B, 8192, 1, "fp8", "bf16", "none", 12728),
    Row("torchtitan 1B", LLAMA_1B, 8192, 2, "bf16", "fp32", "none", 52469),
    Row("torchtitan 1B eager", LLAMA_1B, 8192, 2, "bf16", "fp32", "none", 45584, compiled=False),
    Row("torchtitan 1B fp8", LLAMA_1B, 8192, 2, "fp8", "fp32", "none", 58405),
    Row("torchtitan 1B 4096", LLAMA_1B, 4096, 4, "bf16", "fp32", "none", 59170),
    Row("torchtitan 8B two chips selective", LLAMA_8B, 8192, 1, "bf16", "fp32", "selective", 8786, TWO),
    Row("torchtitan 8B two chips", LLAMA_8B, 8192, 1, "bf16", "fp32", "none", 9541, TWO),
    Row("torchtitan 8B two chips two sequences", LLAMA_8B, 8192, 2, "bf16", "fp32", "selective", 9428, TWO),
    Row("torchtitan 8B two chips fp8", LLAMA_8B, 8192, 2, "fp8", "fp32", "selective", 12615, TWO),
    Row("torchtitan 8B tensor 2", LLAMA_8B, 8192, 1, "bf16", "bf16", "selective", 8541, Layout(tensor=2)),
    Row("torchtitan 8B pipeline 2", LLAMA_8B, 8192, 1, "bf16", "bf16", "selective", 8029, Layout(pipeline=2), 4),
    Row("plain 8B", LLAMA_8B, 8192, 1, "bf16", "bf16", "none", 10508),
    Row("plain 8B whole logits", LLAMA_8B, 8192, 1, "bf16", "bf16", "none", 10479),
    Row("plain 8B keys expanded", LLAMA_8B, 8192, 1, "bf16", "bf16", "none", 10458),
    Row("plain 8B two sequences", LLAMA_8B, 8192, 2, "bf16", "bf16", "none", 10849),
    Row("plain 8B 4096", LLAMA_8B, 4096, 2, "bf16", "bf16", "none", 11280),
    Row("plain 8B fp8", LLAMA_8B, 8192, 1, "fp8", "bf16", "none", 13018),
    Row("plain 1B", LLAMA_1B, 8192, 2, "bf16", "bf16", "none", 55264),
    Row("plain 8B two chips", LLAMA_8B, 8192, 1, "bf16", "fp32", "none", 9690, TWO),
)

BY_ROWS = Row("torchtitan 8B fp8 scaled by rows", LLAMA_8B, 8192, 1, "fp8", "bf16", "none", 11222)
"""The one that is not predicted: `fp8` means one scale for a tensor, and one for each row costs 12 % more time."""
