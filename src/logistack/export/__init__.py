"""Parameters in the formats of other tools: one module each."""

from logistack.export import module, numpy, safetensors, torch

__all__ = ["module", "numpy", "safetensors", "torch"]
