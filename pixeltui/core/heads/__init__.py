"""Distributions over the levels of a pixel's channels: one file each."""
