"""One training step on CUDA devices, measured for us and for torchtitan on the same tokens. Needs torch alone for ours."""
