"""The matrix products and the other traffic of a decoder's blocks, as one chip of a tensor-parallel group does them.

Columns and rows are split as in Megatron-LM (Shoeybi et al. 2019, section 3), norms along the sequence (Korthikanti et
al. 2022, section 4.2.2), experts among the chips of their axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from tradewind.families import ModelShape
from tradewind.families.sizes import dense_layers, parameters, routed_parameters, value_dim


@dataclass(frozen=True)
class Product:
    """`inputs` × `outputs` weights, met by `visits` times the tokens of a pass; `copies` of it in a block."""

    inputs: int
    outputs: int
    copies: int = 1
    visits: float = 1.0


@dataclass(frozen=True)
class Block:
    layers: int
    products: tuple[Product, ...]
    last: Product
    """The product that ends a block: its result is not recomputed, because nothing in the backward pass needs it."""
    forward_elements: float
    backward_elements: float
    """Read and written by norms, positions, activation functions and sums, for each token."""
    attention_width: float
    """Width of a query head and of a value head, over two, times heads: multiplications for each pair of tokens."""
    exchanged_elements: float
    """Sent to experts for each token, one way."""


@lru_cache(maxsize=4096)
def blocks(shape: ModelShape, tensor: int, expert: int) -> tuple[Block, ...]:
    """The kinds of blocks of a decoder: those with one feed-forward, and those with experts."""
    dense = dense_layers(shape)
    kinds = ((dense, False), (shape.layers - dense, True))
    return tuple(_block(shape, layers, tensor, expert, sparse=sparse) for layers, sparse in kinds if layers)


def head(shape: ModelShape, tensor: int) -> Product:
    """From the last block to the vocabulary."""
    return Product(shape.hidden, _split(shape.vocabulary, tensor))


@lru_cache(maxsize=256)
def weights(shape: ModelShape) -> tuple[int, int]:
    """How many there are outside of routed experts, and in them."""
    routed = routed_parameters(shape)
    return parameters(shape) - routed, routed


def _block(shape: ModelShape, layers: int, tensor: int, expert: int, *, sparse: bool) -> Block:
    feed = _experts(shape, tensor, expert) if sparse else _feed_forward(shape.hidden, _split(shape.ffn, tensor))
    experts = shape.experts
    width, sent = float(shape.ffn), 0.0
    if sparse and experts:
        width, sent = float(experts.ffn * (experts.active + experts.shared)), float(experts.active * shape.hidden)
    heads = shape.head_dim * (shape.heads + shape.kv_heads)
    return Block(
        layers=layers,
        products=(*_attention(shape, tensor), *feed),
        last=feed[-1],
        # Norms: 2 + 4; two sums: 3; positions: read and write; gate: two in, one out; experts: gather and sum.
        forward_elements=(9 * shape.hidden + 2 * heads + 3 * width + 4 * sent) / tensor,
        backward_elements=(8 * shape.hidden + 2 * heads + 6 * width + 4 * sent) / tensor,
        attention_width=shape.heads * (shape.head_dim + value_dim(shape)) / 2 / tensor,
        exchanged_elements=sent,
    )


def _attention(shape: ModelShape, tensor: int) -> tuple[Product, ...]:
    heads = _split(shape.heads, tensor)
    out = Product(heads * value_dim(shape), shape.hidden)
    if shape.latent is None:
        return Product(shape.hidden, shape.head_dim * (heads + 2 * _split(shape.kv_heads, tensor))), out
    latent = shape.latent
    queries: tuple[Product, ...] = (Product(shape.hidden, heads * shape.head_dim),)
    if latent.query_rank:
        queries = Product(shape.hidden, latent.query_rank), Product(latent.query_rank, heads * shape.head_dim)
    down = Product(shape.hidden, latent.rank + latent.rope_dim)
    return *queries, down, Product(latent.rank, heads * (latent.plain_dim + latent.value_dim)), out


def _feed_forward(hidden: int, ffn: int, copies: int = 1, visits: float = 1.0) -> tuple[Product, ...]:
    return Product(hidden, 2 * ffn, copies, visits), Product(ffn, hidden, copies, visits)


def _experts(shape: ModelShape, tensor: int, expert: int) -> tuple[Product, ...]:
    experts = shape.experts
    assert experts is not None
    router = Product(shape.hidden, experts.routed)
    shared = _feed_forward(shape.hidden, _split(experts.shared * experts.ffn, tensor)) if experts.shared else ()
    visits = expert * experts.active / experts.routed
    routed = _feed_forward(shape.hidden, _split(experts.ffn, tensor), _split(experts.routed, expert), visits)
    return router, *shared, *routed


def _split(width: int, parts: int) -> int:
    return -(-width // parts)
