"""Likeness of predicted molecules to true ones, pair by pair: Tanimoto of Morgan fingerprints, and MCES.

Pure functions, shared by retrieval (the top candidate) and generation. What is missing or no molecule fails, it never
leaves the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem import molecule
from ..errors import ChemistryError
from .ranking_names import MCES_LIMIT

RADIUS, BITS = 2, 2048
#: Where MassSpecGym caps a distance, and what it gives a missing or invalid molecule.
PUBLISHED_LIMIT = 100.0
#: Seconds for a pair that ten seconds have not decided.
PATIENCE = 120.0
_SMILES_BLOCK, _PAIR_BLOCK = 20_000, 100_000
_POPCOUNT = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.uint8)


class Distances(NamedTuple):
    """MCES of n pairs: `value` (n,), and whether each is exact (else a bound, which must not be averaged)."""

    value: NDArray[np.float64]
    exact: NDArray[np.bool_]


def tanimoto_pairs(truth: Sequence[str], predicted: Sequence[str | None]) -> NDArray[np.float64]:
    """Tanimoto similarity (Morgan radius 2, 2048 bits) of each true SMILES to the predicted one beside it. Shape (n,).

    A predicted molecule that is missing or does not parse scores 0, as do two without any bit. Raises ChemistryError
    for a true one that does not parse.
    """
    pairs = pl.DataFrame({"a": pl.Series(truth, dtype=pl.String), "b": pl.Series(predicted, dtype=pl.String)})
    if pairs.get_column("a").null_count():
        raise ChemistryError("a true molecule has no SMILES", where="truth", remedy="give the SMILES of every truth")
    known = pl.concat([pairs.get_column("a"), pairs.get_column("b")]).drop_nulls().unique(maintain_order=True)
    packed = np.vstack([np.zeros((1, BITS // 8), np.uint8), _packed(known, set(pairs.get_column("a")))])
    number = pl.DataFrame({"text": known}).with_row_index("number", offset=1)
    rows = [
        pairs.select(pl.col(side).alias("text"))
        .join(number, on="text", how="left", maintain_order="left")
        .get_column("number")
        .fill_null(0)
        .to_numpy()
        for side in ("a", "b")
    ]
    ones = _POPCOUNT[packed].sum(axis=1, dtype=np.int64)
    out = np.zeros(pairs.height)
    for start in range(0, pairs.height, _PAIR_BLOCK):
        part = slice(start, start + _PAIR_BLOCK)
        a, b = rows[0][part], rows[1][part]
        shared = _POPCOUNT[packed[a] & packed[b]].sum(axis=1, dtype=np.int64)
        union = ones[a] + ones[b] - shared
        np.divide(shared, union, out=out[part], where=union > 0)
    return out


def mces_pairs(
    truth: Sequence[str], predicted: Sequence[str | None], published: bool = False, cache: Path | None = None
) -> Distances:
    """MCES distance of each true SMILES to the predicted one beside it.

    By default min(distance, 15), which is exact once the search has decided a pair. What it has not decided in ten
    seconds is asked again with two minutes; what is open then gets the upper bound, marked as not exact, so that an
    open pair is never counted as nearer than it is. A molecule that is missing or does not parse is at 15. With
    `published` as MassSpecGym counts: min(distance, 100), where values above 15 are lower bounds, and 100 for what is
    missing.
    `cache` is a file of `chem.distance.mces_many`. Raises ChemistryError for a true SMILES that does not parse.
    """
    from ..chem.distance import mces_many  # here, since it loads its solver

    limit = PUBLISHED_LIMIT if published else MCES_LIMIT
    value, exact = np.full(len(truth), limit), np.ones(len(truth), dtype=bool)
    valid = {text for text in dict.fromkeys(predicted) if text is not None and _parses(text)}
    asked = [k for k, text in enumerate(predicted) if text in valid]
    if not asked:
        return Distances(value, exact)
    pairs = pl.DataFrame({"smiles_a": [truth[k] for k in asked], "smiles_b": [predicted[k] for k in asked]})
    answers = mces_many(pairs, threshold=MCES_LIMIT, cache=cache)
    undecided = ~pl.col("exact") & (pl.col("mces") <= MCES_LIMIT)
    if (still := answers.select(undecided).to_series()).any():
        again = mces_many(pairs.filter(still), threshold=MCES_LIMIT, time_limit=PATIENCE, cache=cache)
        numbered = answers.with_row_index("row")
        patient = again.with_columns(numbered.filter(still).get_column("row"))
        answers = pl.concat([numbered.filter(~still), patient.select(numbered.columns)]).sort("row")
    open_ = answers.select(undecided).to_series()
    decided = answers.get_column("exact") if published else ~open_
    value[asked] = np.minimum(answers.select(pl.when(open_).then("upper").otherwise("mces")).to_series(), limit)
    exact[asked] = decided.to_numpy()
    return Distances(value, exact)


def _packed(smiles: pl.Series, must_parse: set[str]) -> NDArray[np.uint8]:
    """Morgan bits as bytes, (n, 256); no bit for what does not parse, unless it must."""
    blocks = [np.zeros((0, BITS // 8), np.uint8)]
    for start in range(0, smiles.len(), _SMILES_BLOCK):
        texts = smiles[start : start + _SMILES_BLOCK].to_list()
        try:
            bits = molecule.morgan(texts, RADIUS, BITS)
        except ChemistryError:
            if broken := [text for text in texts if text in must_parse and not _parses(text)]:
                molecule.parse(broken[0])  # raises, and names it
            good = [k for k, text in enumerate(texts) if _parses(text)]
            bits = np.zeros((len(texts), BITS), np.uint8)
            bits[good] = molecule.morgan([texts[k] for k in good], RADIUS, BITS)
        blocks.append(np.packbits(bits, axis=1))
    return np.concatenate(blocks)


def _parses(smiles: str) -> bool:
    try:
        molecule.parse(smiles)
    except ChemistryError:
        return False
    return True
