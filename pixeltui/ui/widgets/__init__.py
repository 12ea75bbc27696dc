"""Widgets that draw with Textual's Line API; one widget a file."""
