"""One training step on CUDA devices, ours and torchtitan's on the same tokens. Ours needs no Ray."""
