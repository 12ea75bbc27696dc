"""Levels and the greys that stand for them: one rounding wherever images are shown, written and read."""


def greys(levels: int) -> bytes:
    """The grey, 0 to 255, of each of 256 values: k * 255 / (levels - 1), rounded; 255 from the highest level on."""
    return bytes(min(255, (510 * level + levels - 1) // (2 * (levels - 1))) for level in range(256))


def nearest_levels(levels: int) -> bytes:
    """The level whose grey is nearest, of each grey 0 to 255."""
    return bytes((2 * grey * (levels - 1) + 255) // 510 for grey in range(256))
