"""Datasets: sources of pictures, their digests and splits, and decoding."""

from tlfeat.data.dataset import Dataset, Sample, Skipped, open_dataset
from tlfeat.data.decode import DECODER, Resize, UndecodableImage, decode
from tlfeat.data.digests import DigestIndex, digest_of, prepare_cache

__all__ = [
    "DECODER",
    "Dataset",
    "DigestIndex",
    "Resize",
    "Sample",
    "Skipped",
    "UndecodableImage",
    "decode",
    "digest_of",
    "open_dataset",
    "prepare_cache",
]
