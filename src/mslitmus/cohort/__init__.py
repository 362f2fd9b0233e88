"""Many LC-MS/MS runs as sample vectors, and what these tell of a phenotype. Representations by name.

A representation is built by `REPRESENTATIONS[name](**options)`, see `representation.Representation`.
"""

from __future__ import annotations

from ..registry import Registry

REPRESENTATIONS = Registry(
    "representation",
    {
        "precursor-histogram": "mslitmus.cohort.words:PrecursorHistogram",
        "fragments": "mslitmus.cohort.words:Fragments",
        "library-hits": "mslitmus.cohort.library_hits:LibraryHits",
        "embedding": "mslitmus.cohort.embedding:Embedding",
    },
)
