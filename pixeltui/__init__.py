"""pixeltui: train and sample PixelCNN image models from the terminal."""

__version__ = "0.1.0"
