"""Random numbers that are pure functions of (seed, stream, step): resume needs to remember nothing but the step.

The formulas are written out here, so that splits and orders are the same on every platform and with every version of
torch and numpy.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

U64 = np.uint64


def mix(seed: int, stream: str, step: int) -> int:
    """An integer in [0, 2^63): the first 8 bytes of sha256("seed/stream/step"), little-endian, shifted right by one.

    `stream` keeps uses apart ("order", "augment", "dropout", ...), so that none shares another's numbers.
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def permutation(n: int, seed: int, stream: str, step: int = 0) -> NDArray[np.int64]:
    """A permutation of 0..n-1: these sorted by the i-th output of splitmix64 from the state mix(seed, stream, step).

    splitmix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators", as in Vigna's
    splitmix64.c. Where two outputs are equal, the lower index comes first.
    """
    with np.errstate(over="ignore"):
        golden = U64(0x9E3779B97F4A7C15)
        key = U64(mix(seed, stream, step)) + (np.arange(n, dtype=U64) + U64(1)) * golden
        key = (key ^ (key >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> U64(27))) * U64(0x94D049BB133111EB)
        key = key ^ (key >> U64(31))
    return np.argsort(key, kind="stable").astype(np.int64)
