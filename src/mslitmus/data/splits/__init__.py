"""Splits: which spectra a model may learn from, which fix its thresholds, and which it is tested on.

A split is one function (see `split.Splitter`) in one file, and one line in `SPLITS`.
"""

from __future__ import annotations

from .make import SPLITS, check_settings, make_split
from .split import FORMS, Assignment, Split, Splitter

__all__ = ["FORMS", "SPLITS", "Assignment", "Split", "Splitter", "check_settings", "make_split"]
