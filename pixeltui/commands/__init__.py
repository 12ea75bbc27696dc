"""One module a command: `add_arguments(parser)` and `run(args) -> exit status`. Slow imports are inside `run`."""
