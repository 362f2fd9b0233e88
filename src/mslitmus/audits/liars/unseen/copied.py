"""What the planted predictors of spectra must beat: copied spectra whose precursor is where it belongs."""

from __future__ import annotations

from ..liar import Row

COPIED: Row = {"model": "nearest-molecule", "name": "copied, precursor moved", "options": {"precursor": "replace"}}
