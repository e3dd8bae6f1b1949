"""How many tokens' logits are in memory at a time."""

CHUNK_TOKENS = 1024
"""Of 128,256 words, 1024 tokens have 0.25 GiB of logits in bf16."""
