"""The built-in data set: UCI optical recognition of handwritten digits, 8x8, 17 grey levels; see digits.LICENSE.txt."""

from pathlib import Path

import numpy as np

from pixeltui.config import Data
from pixeltui.data.npz import read_arrays
from pixeltui.data.sets import Arrays, Progress, Source

FILE = Path(__file__).parent / "digits.npz"
LEVELS = 17


def load(config: Data, progress: Progress | None = None) -> Source:
    """1,797 images; none of the splits is given."""
    arrays = read_arrays(FILE)
    images, labels = arrays["images"][:, None], arrays["labels"].astype(np.int64)
    return Source(
        name="digits",
        where="digits",
        train=Arrays(images, labels),
        classes=tuple("0123456789"),
        levels=LEVELS,
    )
