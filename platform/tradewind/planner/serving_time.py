"""How fast a replica answers: a model of continuous batching (Orca, Yu et al. 2022).

A step gives each answer in flight its next token: weights are read once, and the cached keys and values of all. Prompts
are read in the same steps, and hold up the answers by what they compute. Averages over steps stand for steps; loads are
steady, arrivals are Poisson. Not modelled: prefix caching, speculative decoding, preemption of answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from tradewind.catalog.chip import BITS, Chip, Precision
from tradewind.families import ModelShape
from tradewind.families.sizes import cache_bytes_per_token, dense_layers
from tradewind.planner.efficiency import GROUPED_SHARE, Speed, chip_speed, matmul_s
from tradewind.planner.layout import ServingSetup
from tradewind.planner.network import Link, all_reduce_s, all_to_all_s, ring, send_s
from tradewind.planner.node import Node
from tradewind.planner.pass_time import forward_attention_s
from tradewind.planner.products import Product, blocks, head
from tradewind.planner.work import ServingWork

HOST_S, BLOCK_GAP_S = 0.3e-3, 30e-6
"""Of a step without kernels: scheduling, and the gaps between a block's ten kernels in a CUDA graph. From 4.95 ms a
token of an 8B Llama, whose weights alone take 3.63. This and what follows: vLLM 0.26 on one H200."""

ANSWER_S = 7e-6
"""Of a step, for each answer in flight: choosing a token and handing it out. From 1000 and 400 answers at a time."""

PROMPT_BLOCK_S = 40e-6
"""Of a step with a prompt, for each block: it is too large for a CUDA graph. From 5.53 and 9.43 ms a token at 8 and 32
requests a second, of 512 tokens each."""

REQUEST_S, SERVER_S = 1e-3, 5e-3
"""Taking in a prompt and giving out its first token: in the engine's process, and through HTTP in addition. From
16.2 ms to the first token of one prompt alone, and 31.9 on average at 8 requests a second."""

CPU_HOST_S, CPU_BLOCK_S = 0.5e-3, 0.3e-3
"""On processors, where each kernel of a block is a call of torch. Estimated."""

LOWEST_LOAD = 0.01
"""Answers in flight on average, where a replica has nearly nothing to do."""


@dataclass(frozen=True)
class ServingRate:
    """What one replica does under a steady load."""

    requests_per_s: float
    tokens_per_s: float
    """Read and written."""
    ttft_s: float
    """Time to the first token, on average."""
    itl_s: float
    """Time between two tokens of an answer, on average."""
    sequences: float
    """In flight, on average."""


def serving_rate(work: ServingWork, setup: ServingSetup, node: Node) -> ServingRate:
    """The highest load of one replica that keeps the work's bounds, with at most `setup.sequences` in flight.

    Where even an idle replica breaks a bound, the rate is that of an idle one, and its times say which bound. Raises
    CapacityError where the chip lacks the precision, or the catalogue its figures. Estimated.
    """
    replica = _Replica.of(work, setup, node)
    most = replica.load(setup.sequences)
    if _keeps(work, most) or not _keeps(work, replica.load(LOWEST_LOAD)):
        return most if _keeps(work, most) else replica.load(LOWEST_LOAD)
    low, high = LOWEST_LOAD, float(setup.sequences)
    while high > 1.02 * low:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _keeps(work, replica.load(middle)) else (low, middle)
    return replica.load(low)


def serving_load(work: ServingWork, setup: ServingSetup, node: Node, requests_per_s: float) -> ServingRate | None:
    """What one replica does when so many requests arrive; None where that is more than it can take."""
    replica = _Replica.of(work, setup, node)
    low, high = 0.0, float(setup.sequences)
    if replica.load(high).requests_per_s < requests_per_s:
        return None
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if replica.load(middle).requests_per_s < requests_per_s else (low, middle)
    return replica.load(high)


def replicas_needed(work: ServingWork, rate: ServingRate) -> int:
    """Replicas for the busiest hour, each at `rate`."""
    return max(1, math.ceil(work.requests_per_s * work.peak_factor / rate.requests_per_s - 1e-9))


@dataclass(frozen=True)
class _Replica:
    work: ServingWork
    speed: Speed
    tensor: int
    pipeline: int
    expert: int
    tensor_link: Link
    expert_link: Link
    stage_link: Link

    @classmethod
    def of(cls, work: ServingWork, setup: ServingSetup, node: Node) -> _Replica:
        layout = setup.layout
        return cls(
            work,
            chip_speed(node.chip, _computed_in(node.chip, work.weights)),
            layout.tensor,
            layout.pipeline,
            layout.expert,
            ring(node, inner=1, ranks=layout.tensor),
            ring(node, inner=layout.tensor, ranks=layout.expert),
            ring(node, inner=layout.tensor * layout.expert, ranks=layout.pipeline),
        )

    def load(self, sequences: float) -> ServingRate:
        """With so many requests in flight. Stages and groups of experts have a part of them each."""
        work = self.work
        parallel = self.pipeline * self.expert
        inside = sequences / parallel
        prompts = inside / work.tokens_out
        answers = inside - prompts
        chunk = work.tokens_in * max(1.0, prompts)
        decode_s = self._decode_s(answers)
        prompt_s = self._prompt_s(answers, chunk) / max(1.0, prompts)
        step_s = decode_s + prompts * prompt_s
        round_s = step_s * self.pipeline
        requests_per_s = sequences / (work.tokens_out * round_s)
        return ServingRate(
            requests_per_s=requests_per_s,
            tokens_per_s=requests_per_s * (work.tokens_in + work.tokens_out),
            ttft_s=self._ttft_s(decode_s, prompt_s, step_s, requests_per_s / parallel),
            itl_s=round_s,
            sequences=sequences,
        )

    def _ttft_s(self, decode_s: float, prompt_s: float, step_s: float, arrivals_per_s: float) -> float:
        """Waiting, and the own step. Steps of answers are vacations of a server of prompts: half of one is left on
        average, and prompts before one's own take what Pollaczek and Khinchine say (Doshi 1986, equation 1.2). The next
        step is planned already (asynchronous scheduling), and prompts that come meanwhile share one's own.
        """
        busy = arrivals_per_s * prompt_s
        wait_s = decode_s / 2 + busy * prompt_s / (2 * (1 - busy)) + step_s
        own_s = self.pipeline * (decode_s + prompt_s)
        return SERVER_S + REQUEST_S + wait_s * (1 + busy) + own_s

    def _decode_s(self, answers: float) -> float:
        """A step that gives each answer a token, through all stages one after another."""
        shape, speed = self.work.shape, self.speed
        host_s, block_s = (CPU_HOST_S, CPU_BLOCK_S) if speed.is_cpu else (HOST_S, BLOCK_GAP_S)
        outputs_s = _product_s(head(shape, self.tensor), answers, "bf16", speed)
        return (
            self._tokens_s(answers)
            + outputs_s
            + self._cache_s(answers)
            + host_s
            + shape.layers * block_s
            + answers * ANSWER_S
        )

    def _prompt_s(self, answers: float, tokens: float) -> float:
        """What `tokens` of prompts add to a step."""
        work = self.work
        pairs_s = sum(
            block.layers * forward_attention_s(block, tokens, work.tokens_in, work.shape.head_dim, self.speed)
            for block in blocks(work.shape, self.tensor, self.expert)
        )
        gaps_s = 0.0 if self.speed.is_cpu else PROMPT_BLOCK_S * work.shape.layers
        return self._tokens_s(answers + tokens) - self._tokens_s(answers) + pairs_s + gaps_s

    def _tokens_s(self, tokens: float) -> float:
        """Products, what lies between them, and exchanges, for tokens of answers and prompts alike."""
        work, shape = self.work, self.work.shape
        kernels_s = _kernels_s(shape, work.weights, self.speed, self.tensor, self.expert, tokens)
        activations = tokens * shape.hidden * 2
        sent_s = 2 * shape.layers * all_reduce_s(self.tensor_link, activations, self.tensor)
        if shape.experts and self.expert > 1:
            size_bytes = activations * shape.experts.active
            sent_s += 2 * (shape.layers - dense_layers(shape)) * all_to_all_s(self.expert_link, size_bytes, self.expert)
        if self.pipeline > 1:
            sent_s += (self.pipeline - 1) * send_s(self.stage_link, activations)
        return kernels_s + sent_s

    def _cache_s(self, answers: float) -> float:
        """Attention of one token each to what is cached: keys and values are read, or it is arithmetic that counts."""
        work, shape = self.work, self.work.shape
        kept = answers * (work.tokens_in + work.tokens_out / 2)
        parts = 1 if shape.latent else min(self.tensor, shape.kv_heads)
        read_s = kept * cache_bytes_per_token(shape, work.cache) / parts / self.speed.stream_bytes_per_s
        width = shape.latent.rank * 2 + shape.latent.rope_dim if shape.latent else 2 * shape.head_dim
        compute_s = 2.0 * kept * shape.layers * shape.heads * width / self.tensor / self.speed.attention_flops
        return max(read_s, compute_s)


def _keeps(work: ServingWork, rate: ServingRate) -> bool:
    return (work.ttft_s is None or rate.ttft_s <= work.ttft_s) and (work.itl_s is None or rate.itl_s <= work.itl_s)


def _computed_in(chip: Chip, weights: Precision) -> Precision:
    """The format of products: the weights' own if the chip has it, else a wider one, into which they are unpacked.

    Integers always are, because most models keep them for their weights alone.
    """
    own: tuple[Precision, ...] = () if weights in ("int8", "int4") else (weights,)
    wider: tuple[Precision, ...] = (*own, "bf16", "fp16", "fp32")
    return next((one for one in wider if one in chip.flops), weights)


@lru_cache(maxsize=65536)
def _kernels_s(shape: ModelShape, weights: Precision, speed: Speed, tensor: int, expert: int, tokens: float) -> float:
    total_s = 0.0
    for block in blocks(shape, tensor, expert):
        products_s = sum(_product_s(one, tokens, weights, speed) for one in block.products)
        between_s = tokens * block.forward_elements * 2 / speed.elementwise_bytes_per_s
        total_s += block.layers * (products_s + between_s)
    return total_s


def _product_s(product: Product, tokens: float, weights: Precision, speed: Speed) -> float:
    """Of experts, those that some token visits."""
    copies, visits = float(product.copies), product.visits
    if product.copies > 1:
        copies *= 1.0 - (1.0 - min(1.0, visits)) ** tokens
        visits *= product.copies / copies if copies else 1.0
    return copies * matmul_s(
        tokens * visits,
        product.inputs,
        product.outputs,
        flops=speed.matmul_flops if product.copies == 1 else GROUPED_SHARE * speed.matmul_flops,
        bits=BITS[weights],
        speed=speed,
    )
