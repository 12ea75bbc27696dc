"""A pixel's steps as Triton kernels. Imported only where they run: triton comes with torch's CUDA builds alone.

A program takes a tile of T images through the whole of a step; images know nothing of one another within it, so no
program waits for another. Matrices are [K, N] as in packed.py, read C columns at a time, all rows at once; T, C and the
padded sizes are powers of 2. Everything is fp32, products are multiply-adds: tensor cores would round the factors.
"""

from pixeltui.core.gpu.kernels.depthwise import depthwise_sums, depthwise_taps
from pixeltui.core.gpu.kernels.mixture import mixture_pixel
from pixeltui.core.gpu.kernels.trunk import trunk_pixel

__all__ = ["depthwise_sums", "depthwise_taps", "mixture_pixel", "trunk_pixel"]
