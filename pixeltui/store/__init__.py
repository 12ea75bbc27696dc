"""Run directories on disk: standard library and msgspec only."""
