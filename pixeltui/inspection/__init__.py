"""A run's weights looked at from within: the figures (`findings`), what they mean (`verdicts`), pictures (`sheets`)."""

IMAGES = 64
"""of the split, where nobody says how many"""
