"""Screens and the panes they are made of."""
