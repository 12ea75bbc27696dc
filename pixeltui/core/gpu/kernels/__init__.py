"""Triton kernels. Imported only where they run: triton comes with torch's CUDA builds alone.

depthwise.py, products.py and mixture_loss.py are for whole images. trunk.py and mixture.py are for a sampler's pixel: a
program takes a tile of T images through the whole of a step; images know nothing of one another within it, so no
program waits for another. Matrices are [K, N] as in packed.py, read C columns at a time, all rows at once; T, C and the
padded sizes are powers of 2. Everything there is fp32, products are multiply-adds: tensor cores would round the
factors. wave.py is for the pixels of a wave, enough of them for tensor cores to pay even with each factor in two parts.
"""

from pixeltui.core.gpu.kernels.depthwise import depthwise_gradients, depthwise_sums, norm_gradient
from pixeltui.core.gpu.kernels.mixture import mixture_pixel
from pixeltui.core.gpu.kernels.mixture_loss import mixture_gradient, mixture_log_prob
from pixeltui.core.gpu.kernels.products import product, silu_gradient
from pixeltui.core.gpu.kernels.trunk import trunk_pixel
from pixeltui.core.gpu.kernels.wave import wave_norm, wave_product, wave_taps

__all__ = [
    "depthwise_gradients",
    "depthwise_sums",
    "mixture_gradient",
    "mixture_log_prob",
    "mixture_pixel",
    "norm_gradient",
    "product",
    "silu_gradient",
    "trunk_pixel",
    "wave_norm",
    "wave_product",
    "wave_taps",
]
