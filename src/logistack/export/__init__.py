"""Parameters in the formats of other tools: one module each."""

from logistack.export import safetensors

__all__ = ["safetensors"]
