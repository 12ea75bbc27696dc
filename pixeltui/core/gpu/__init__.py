"""Kernels for a GPU, optional: where triton is not there the same in torch."""
