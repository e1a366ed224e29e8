"""Parameters, and whole classifiers, in the formats of other tools: one module each."""

from logistack.export import numpy, onnx, safetensors, sklearn, torch

__all__ = ["numpy", "onnx", "safetensors", "sklearn", "torch"]
