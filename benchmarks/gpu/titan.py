"""torchtitan 0.2.2's own trainer, with one more flavour: the widths of Llama-3.2-1B with a head of its own."""

from __future__ import annotations

from dataclasses import replace

from torchtitan.models.llama3 import llama3_args  # type: ignore[import-not-found]
from torchtitan.train import Trainer, main  # type: ignore[import-not-found]

llama3_args["1B"] = replace(
    llama3_args["8B"], dim=2048, n_layers=16, n_heads=32, n_kv_heads=8, ffn_dim_multiplier=1.5, multiple_of=256
)

if __name__ == "__main__":
    main(Trainer)
