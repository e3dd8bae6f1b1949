"""Products of activations with weights, forward and backward, in the type of the activations or in float8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from tradewind.training.kernels import Scaled, largest, scaled, scaled_by_row
from tradewind.training.kernels.cast import E4M3, E5M2
from tradewind.training.precision.working import working

Scaling = Literal["tensorwise", "rowwise"]
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
    """In float8 with the current scale of each tensor or row; sums in float32, results in the type of the activations.

    Forward sums may stay in the tensor cores' own width ("fast accumulation"), backward ones not, as in torchao's
    recipe `tensorwise`. There several weights that share their input share one scale, and gradients have the format of
    the wider range. In its `rowwise` each of the six factors has a scale for each of the rows that it is multiplied by,
    so that a large one costs the others nothing; then gradients have the finer format, as everything in DeepSeek-V3
    (2024, section 3.3.2), whose scales are finer still. Where ranks have parts of the columns that are summed over,
    each multiplies under scales of its own part, and what is added over ranks is without scales.
    """

    scaling: Scaling = "tensorwise"
    result: torch.dtype = torch.bfloat16

    @property
    def notes(self) -> bool:
        return self.scaling == "tensorwise"

    def forward(self, x: Tensor, top: Tensor | None, weights: Weights, *, keep: bool) -> Forward:
        held = tuple(working(weight, x.dtype) for weight in weights)
        weights_top = largest(*held) if self.notes else None
        left = self._cast((x,), top, rows=True, columns=keep)
        right = self._cast(held, weights_top, rows=True, columns=False)
        out = _multiply(left.rows, left.scale, right.rows, right.scale, x.dtype, fast=True)
        return Forward(out, weights_top, () if left.columns is None else (left.columns, left.columns_scale))

    def kept(self, x: Tensor, top: Tensor | None) -> Kept:
        cast = self._cast((x,), top, rows=False, columns=True)
        assert cast.columns is not None
        return cast.columns, cast.columns_scale

    def reached(self, grad: Tensor, top: Tensor | None) -> Scaled | Tensor:
        top = largest(grad) if self.notes and top is None else top
        return self._cast((grad,), top, E5M2 if self.notes else E4M3, rows=True, columns=True)

    def by_input(self, grad: Scaled | Tensor, weights: Weights, weights_top: Tensor | None) -> Tensor:
        assert isinstance(grad, Scaled)
        held = tuple(working(weight, self.result) for weight in weights)
        turned = self._cast(held, weights_top, rows=False, columns=True)
        return _multiply(grad.rows, grad.scale, turned.columns, turned.columns_scale, self.result)

    def by_weights(self, grad: Scaled | Tensor, kept: Kept, weights: Weights) -> list[Tensor]:
        assert isinstance(grad, Scaled)
        x, scale = kept
        product = _multiply(grad.columns, grad.columns_scale, x, scale, self.result)
        return list(torch.split(product, _sizes(weights)))

    def _cast(
        self, parts: Weights, top: Tensor | None, dtype: torch.dtype = E4M3, *, rows: bool, columns: bool
    ) -> Scaled:
        if self.scaling == "rowwise":
            return scaled_by_row(parts, dtype, rows=rows, columns=columns)
        assert top is not None
        return scaled(parts, top, dtype, rows=rows, columns=columns)


def _sizes(weights: Weights) -> list[int]:
    return [len(weight) for weight in weights]


def _multiply(
    a: Tensor | None, a_scale: Tensor, b: Tensor | None, b_scale: Tensor, dtype: torch.dtype, fast: bool = False
) -> Tensor:
    """a times the transpose of b, both by rows: the one layout that Hopper's float8 units read."""
    assert a is not None
    assert b is not None
    if not a.is_cuda:
        return ((a.float() @ b.float().t()) * a_scale * b_scale.t()).to(dtype)
    return torch._scaled_mm(a, b.t(), scale_a=a_scale, scale_b=b_scale.t(), out_dtype=dtype, use_fast_accum=fast)


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
