"""Parameters in the formats of other tools: one module each."""

from logistack.export import numpy, safetensors, torch

__all__ = ["numpy", "safetensors", "torch"]
