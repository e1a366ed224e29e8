"""Parameters, and whole classifiers, in the formats of other tools: one module each."""

from logistack.export import numpy, onnx, safetensors, torch

__all__ = ["numpy", "onnx", "safetensors", "torch"]
