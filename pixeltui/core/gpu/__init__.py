"""A pixel's steps as a few kernels for a GPU, optional: where triton is not there the same in torch."""
