"""How a SMILES is written, apart from what it says: features that are all 0 where RDKit wrote it without stereo."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.distance.graph import key as canonical
from ..errors import ChemistryError

#: Counted in the text and in the canonical spelling of the same structure; the difference is a feature.
_CLASSES = {
    "stereo marks": r"[@/\\]",
    "aromatic letters": r"[cnops]",
    "bracket atoms": r"\[",
    "explicit hydrogens": r"H",
    "double bonds": r"=",
    "ring digits": r"[0-9%]",
    "branches": r"\(",
}
FEATURES = ("not canonical", "length", *_CLASSES)


def spelling(texts: Sequence[str]) -> NDArray[np.float64]:
    """(texts, len(FEATURES)), 0.25 ms a distinct text; what does not parse is not canonical, and 0 else."""
    distinct = pl.Series("text", sorted(set(texts)), dtype=pl.String)
    forms = [_canonical(text) for text in distinct]
    table = pl.DataFrame({"text": distinct, "form": pl.Series(forms, dtype=pl.String)})
    own = pl.col("form").fill_null(pl.col("text"))
    features = table.select(
        "text",
        ((pl.col("text") != own) | pl.col("form").is_null()).cast(pl.Float64).alias("not canonical"),
        (pl.col("text").str.len_chars().cast(pl.Float64) - own.str.len_chars()).alias("length"),
        *(
            (pl.col("text").str.count_matches(what).cast(pl.Float64) - own.str.count_matches(what)).alias(name)
            for name, what in _CLASSES.items()
        ),
    )
    rows = pl.DataFrame({"text": pl.Series(list(texts), dtype=pl.String)})
    found = rows.join(features, on="text", how="left", maintain_order="left").select(FEATURES)
    values: NDArray[np.float64] = found.to_numpy().astype(np.float64)
    return values


def _canonical(text: str) -> str | None:
    try:
        return canonical(text)
    except ChemistryError:
        return None
