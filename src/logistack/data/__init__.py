"""Data sets by name, and readers of the files they come in."""

from logistack.data.dataset import Dataset, load
from logistack.data.readers import read_idx, read_semeion, read_usps

__all__ = ["Dataset", "load", "read_idx", "read_semeion", "read_usps"]
