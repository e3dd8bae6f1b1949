"""How a trainer holds what it computes: what differs between programs that train the same model in the same layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kernels = Literal["plain", "fused", "compiled"]
"""What keeps tensors for the backward pass: each of torch's basic operations, as on processors; eager kernels of
accelerators, whose norms are one operation; blocks that torch.compile has fused."""

Loss = Literal["full", "compiled", "chunked"]
"""Cross-entropy over float32 logits of all tokens; fused with its derivative; or in eight parts, with the derivative of
the output matrix made in the forward pass."""

Casts = Literal["blocks", "operations"]
"""Where float32 weights become 16-bit: a block at a time as it is gathered (FSDP's mixed precision), or at each
operation with the copies kept until the backward pass (autocast), where sums stay in float32."""


@dataclass(frozen=True)
class Trainer:
    kernels: Kernels = "compiled"
    loss: Loss = "compiled"
    casts: Casts = "blocks"


ON_PROCESSORS = Trainer(kernels="plain", loss="full")
"""Plain torch. This project's loop makes the loss in parts, so of many tokens it needs less than this says."""
ON_ACCELERATORS = Trainer()
"""As torchtitan trains by default with `--compile.enable`."""
