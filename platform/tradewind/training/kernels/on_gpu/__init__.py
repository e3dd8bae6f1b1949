"""Triton bodies of the kernels. Import nothing from here for tensors that are not on a CUDA device."""
