"""Elementwise work of a training step, each pass over memory made once.

Every function here has two bodies with one meaning: plain torch, which any device runs, and a Triton kernel under
`on_gpu/`, which is imported only for tensors that lie on a CUDA device. Matrices have one row for each token. All sums
are made in float32 whatever the tensors hold. None of these functions records a gradient: `precision.block` calls them
from autograd functions that write the backward pass out.
"""

from tradewind.training.kernels.cast import Scaled, largest, scaled, scaled_by_row
from tradewind.training.kernels.cross_entropy import cross_entropy_
from tradewind.training.kernels.gating import swiglu, swiglu_backward
from tradewind.training.kernels.norm import add_rms_norm, rms_norm, rms_norm_backward
from tradewind.training.kernels.rotary import join_turned_back, turn_
from tradewind.training.kernels.update import adamw_, add_parts, scale_, squares

__all__ = [
    "Scaled",
    "adamw_",
    "add_parts",
    "add_rms_norm",
    "cross_entropy_",
    "join_turned_back",
    "largest",
    "rms_norm",
    "rms_norm_backward",
    "scale_",
    "scaled",
    "scaled_by_row",
    "squares",
    "swiglu",
    "swiglu_backward",
    "turn_",
]
