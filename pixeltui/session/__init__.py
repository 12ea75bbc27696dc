"""Joins a trainer to whoever watches it."""
