"""Rotary positions (Su et al. 2021), plain or stretched: linear, by wavelength as in Llama 3.1, YaRN."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tradewind.families import ModelShape, RopeScaling


def cos_sin(shape: ModelShape, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Tables in float32 for `rotate`: [time, dim] for positions [time], [batch, 1, time, dim] for [batch, time].

    In the half-split layout that Hugging Face uses: pair i is (x[i], x[i + dim/2]).
    """
    inverse, factor = frequencies(shape, positions.device)
    angles = positions.float()[..., None] * inverse
    angles = torch.cat((angles, angles), dim=-1)
    if positions.dim() == 2:
        angles = angles[:, None]
    return angles.cos() * factor, angles.sin() * factor


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + dim/2]) of [batch, heads, time, dim] by its position's angle, in the tables' type."""
    half = x.shape[-1] // 2
    swapped = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return (x * cos + swapped * sin).to(x.dtype)


def half_split(x: Tensor) -> Tensor:
    """Neighbouring pairs (x[2i], x[2i + 1]), which DeepSeek's weights rotate, as the pairs that `rotate` turns."""
    return torch.cat((x[..., ::2], x[..., 1::2]), dim=-1)


def restarting_positions(segments: Tensor) -> Tensor:
    """Positions [batch, time] that begin at 0 with each new segment."""
    index = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    begins = segments != segments.roll(1, dims=1)
    begins[:, 0] = True
    return index - torch.where(begins, index, 0).cummax(dim=1).values


def rotary_dim(shape: ModelShape) -> int:
    """How many dimensions of a head are rotated."""
    return shape.latent.rope_dim if shape.latent else shape.head_dim


def frequencies(shape: ModelShape, device: torch.device) -> tuple[Tensor, float]:
    """Radians that each pair turns in one position, [dim/2] in float32, and what both tables are multiplied by."""
    dim, scaling = rotary_dim(shape), shape.rope_scaling
    inverse = 1.0 / shape.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)
    if scaling is None:
        return inverse, 1.0
    if scaling.kind == "linear":
        return inverse / scaling.factor, 1.0
    if scaling.kind == "llama3":
        return _by_wavelength(inverse, scaling), 1.0
    return _yarn(inverse, scaling, shape.rope_theta), _yarn_factor(scaling)


def _by_wavelength(inverse: Tensor, scaling: RopeScaling) -> Tensor:
    """Long waves are stretched, short ones are not, and between there is a ramp (Llama 3.1's `apply_scaling`)."""
    turns = _original(scaling) * inverse / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = ((turns - low) / (high - low)).clamp(0, 1)
    return inverse * (kept + (1 - kept) / scaling.factor)


def _yarn(inverse: Tensor, scaling: RopeScaling, theta: float) -> Tensor:
    """The ramp of YaRN, section 3.2, over dimensions, as in its authors' code and in transformers."""
    half = len(inverse)
    low, high = (
        half * math.log(_original(scaling) / (turns * 2 * math.pi)) / math.log(theta)
        for turns in (scaling.beta_fast, scaling.beta_slow)
    )
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, 2 * half - 1)
    index = torch.arange(half, dtype=torch.float32, device=inverse.device)
    stretched = ((index - low) / max(high - low, 0.001)).clamp(0, 1)
    return inverse * (1 - stretched + stretched / scaling.factor)


def _yarn_factor(scaling: RopeScaling) -> float:
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    if scaling.mscale and scaling.mscale_all_dim:
        return yarn_mscale(scaling.factor, scaling.mscale) / yarn_mscale(scaling.factor, scaling.mscale_all_dim)
    return yarn_mscale(scaling.factor, 1.0)


def yarn_mscale(factor: float, mscale: float) -> float:
    """YaRN, section 3.4: 0.1 ln(factor) + 1, with the weight that DeepSeek gives the first term."""
    return 0.1 * mscale * math.log(factor) + 1.0 if factor > 1 else 1.0


def _original(scaling: RopeScaling) -> int:
    assert scaling.original_context is not None
    return scaling.original_context
