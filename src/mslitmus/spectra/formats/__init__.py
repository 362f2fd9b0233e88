"""Spectrum files in and out: the format is found by content, the container (gzip, tar, zip, folder) is seen through.

>>> from mslitmus.spectra import formats
>>> result = formats.read("library.msp.gz", on_error="skip")
>>> result.frame, result.errors
"""

from __future__ import annotations

from ._problems import Problems
from .annotations import read_annotations
from .folders import files_of
from .reading import ReadResult, iter_raw, read, read_batches, read_raw, sniff
from .registry import FORMATS
from .writing import write

__all__ = [
    "FORMATS",
    "Problems",
    "ReadResult",
    "files_of",
    "iter_raw",
    "read",
    "read_annotations",
    "read_batches",
    "read_raw",
    "sniff",
    "write",
]
