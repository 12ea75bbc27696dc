"""`python -m pixeltui`, which is also what torchrun starts."""

from pixeltui.cli import run

if __name__ == "__main__":
    run()
