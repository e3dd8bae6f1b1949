"""Products of activations with weights, forward and backward, in the type of the activations or in float8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tradewind.training.kernels import Scaled, largest, scaled
from tradewind.training.kernels.cast import E4M3, E5M2
from tradewind.training.precision.working import working

Weights = tuple[Tensor, ...]
Kept = tuple[Tensor, ...]
"""What a product's backward pass needs of its input, as tensors that autograd can save."""


@dataclass(frozen=True)
class Forward:
    out: Tensor
    weights_top: Tensor | None
    """The largest |weight|, where it was needed."""
    kept: Kept = ()


class Products(Protocol):
    """How a step multiplies. Weights are [out, in]; several that share their input have their outputs side by side."""

    @property
    def notes(self) -> bool:
        """Whether `top`, the largest |value|, of inputs and gradients is needed."""

    def forward(self, x: Tensor, top: Tensor | None, weights: Weights, *, keep: bool) -> Forward:
        """x times the transposed weights. With `keep`, what `kept` gives comes out of the same pass over x."""

    def kept(self, x: Tensor, top: Tensor | None) -> Kept:
        """The input in the form that `by_weights` takes."""

    def reached(self, grad: Tensor, top: Tensor | None) -> Scaled | Tensor:
        """The gradient of an output in the form that the other two take."""

    def by_input(self, grad: Scaled | Tensor, weights: Weights, weights_top: Tensor | None) -> Tensor:
        """The gradient of the input."""

    def by_weights(self, grad: Scaled | Tensor, kept: Kept, weights: Weights) -> list[Tensor]:
        """The gradient of each weight, in the type of the activations."""


@dataclass(frozen=True)
class Plain:
    """In the type of the activations. Weights of another type are cast once and held: see `working`."""

    notes: bool = False

    def forward(self, x: Tensor, top: Tensor | None, weights: Weights, *, keep: bool) -> Forward:  # noqa: ARG002
        held = [working(weight, x.dtype) for weight in weights]
        joined = adjacent(held)
        if joined is not None:
            return Forward(x @ joined.t(), None, (x,) if keep else ())
        out = torch.empty(len(x), sum(_sizes(weights)), dtype=x.dtype, device=x.device)
        for weight, part in zip(held, torch.split(out, _sizes(weights), dim=1), strict=True):
            torch.mm(x, weight.t(), out=part)
        return Forward(out, None, (x,) if keep else ())

    def kept(self, x: Tensor, top: Tensor | None) -> Kept:  # noqa: ARG002
        return (x,)

    def reached(self, grad: Tensor, top: Tensor | None) -> Scaled | Tensor:  # noqa: ARG002
        return grad

    def by_input(
        self,
        grad: Scaled | Tensor,
        weights: Weights,
        weights_top: Tensor | None,  # noqa: ARG002
    ) -> Tensor:
        assert isinstance(grad, Tensor)
        held = [working(weight, grad.dtype) for weight in weights]
        joined = adjacent(held)
        if joined is not None:
            return torch.mm(grad, joined)
        first, *others = zip(torch.split(grad, _sizes(weights), dim=1), held, strict=True)
        summed = first[0] @ first[1]
        for part, weight in others:
            summed.addmm_(part, weight)
        return summed

    def by_weights(self, grad: Scaled | Tensor, kept: Kept, weights: Weights) -> list[Tensor]:
        assert isinstance(grad, Tensor)
        (x,) = kept
        if len(weights) == 1 or adjacent([working(weight, x.dtype) for weight in weights]) is not None:
            return list(torch.split(grad.t() @ x, _sizes(weights)))
        return [part.t() @ x for part in torch.split(grad, _sizes(weights), dim=1)]


@dataclass(frozen=True)
class Float8:
    """In float8 with the current scale of each tensor; sums in float32, results in the type of the activations.

    Forward sums may stay in the tensor cores' own width ("fast accumulation"), backward ones not, as in torchao's
    recipe `tensorwise`. Several weights that share their input share one scale.
    """

    notes: bool = True
    result: torch.dtype = torch.bfloat16

    def forward(self, x: Tensor, top: Tensor | None, weights: Weights, *, keep: bool) -> Forward:
        held = tuple(working(weight, x.dtype) for weight in weights)
        weights_top = largest(*held)
        left = scaled((x,), _given(top), E4M3, rows=True, columns=keep)
        right = scaled(held, weights_top, E4M3, rows=True, columns=False)
        out = _multiply(left.rows, left, right.rows, right, x.dtype, fast=True)
        return Forward(out, weights_top, () if left.columns is None else (left.columns, left.scale))

    def kept(self, x: Tensor, top: Tensor | None) -> Kept:
        cast = scaled((x,), _given(top), E4M3, rows=False, columns=True)
        assert cast.columns is not None
        return cast.columns, cast.scale

    def reached(self, grad: Tensor, top: Tensor | None) -> Scaled | Tensor:
        return scaled((grad,), largest(grad) if top is None else top, E5M2, rows=True, columns=True)

    def by_input(self, grad: Scaled | Tensor, weights: Weights, weights_top: Tensor | None) -> Tensor:
        assert isinstance(grad, Scaled)
        held = tuple(working(weight, self.result) for weight in weights)
        turned = scaled(held, _given(weights_top), E4M3, rows=False, columns=True)
        return _multiply(grad.rows, grad, turned.columns, turned, self.result)

    def by_weights(self, grad: Scaled | Tensor, kept: Kept, weights: Weights) -> list[Tensor]:
        assert isinstance(grad, Scaled)
        x = Scaled(None, *kept)
        return list(torch.split(_multiply(grad.columns, grad, x.columns, x, self.result), _sizes(weights)))


def _sizes(weights: Weights) -> list[int]:
    return [len(weight) for weight in weights]


def _given(top: Tensor | None) -> Tensor:
    assert top is not None
    return top


def _multiply(
    a: Tensor | None, left: Scaled, b: Tensor | None, right: Scaled, dtype: torch.dtype, fast: bool = False
) -> Tensor:
    """a times the transpose of b, both by rows: the one layout that Hopper's float8 units read."""
    assert a is not None
    assert b is not None
    if not a.is_cuda:
        return ((a.float() @ b.float().t()) * left.scale * right.scale).to(dtype)
    return torch._scaled_mm(a, b.t(), scale_a=left.scale, scale_b=right.scale, out_dtype=dtype, use_fast_accum=fast)


def adjacent(parts: list[Tensor]) -> Tensor | None:
    """The matrix of which the parts are consecutive rows in memory; None where they lie elsewhere."""
    first = parts[0]
    end = first.data_ptr()
    for part in parts:
        if part.data_ptr() != end or not part.is_contiguous():
            return None
        end += part.numel() * part.element_size()
    if len(parts) == 1:
        return first
    if first.untyped_storage().data_ptr() != parts[-1].untyped_storage().data_ptr():
        return None
    return first.as_strided((sum(map(len, parts)), first.shape[1]), (first.shape[1], 1))
