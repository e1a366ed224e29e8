"""Data sets by name, readers of the files they come in, and deformed images of them."""

from logistack.data.augmentation import augment
from logistack.data.dataset import Dataset, load
from logistack.data.readers import read_idx, read_semeion, read_usps

__all__ = ["Dataset", "augment", "load", "read_idx", "read_semeion", "read_usps"]
