"""The console. Nothing here may import torch, numpy or the packages that train: it paints before they are loaded."""
