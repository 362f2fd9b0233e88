"""Fill a pool of real molecules up to its size with decoys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.molecule import morgan_packed
from ...schemas import CANDIDATES
from .calibrate import Likeness
from .decoys import Raw, choose, features, grow
from .library import Library
from .likeness import centrality
from .sets import draw

_EXCESS = 6.0  # raw decoys made for one that is kept
_SHARPNESS = 4.0  # of the draw; above 1 since a draw of one in three cannot follow the odds to their end

#: Raw decoys lie further out than truths: from the middle of the chemistry that people make, a truth resembles more.
#: The draw is tilted by so much a standard deviation of their mean similarity to one another (docs/candidates.md).
_CENTRAL = 0.8


def fill(key: str, members: pl.DataFrame, size: int, folder: Path) -> pl.DataFrame:
    """Decoys for the pool of `key`, schema `CANDIDATES`.

    Each takes its formula from a member drawn at random, the truth no likelier than another, so that no formula stands
    out by having decoys. Where a formula yields too few, the others' decoys make up for it; a small molecule may not
    have enough isomers at all.

    Args:
        members: the real molecules: candidate, smiles, formula, tautomer.
        folder: of `Library` and `Likeness`.
    """
    library, likeness = Library.load(folder), Likeness.load(folder)
    missing = size - members.height
    taken, tautomers = set(members.get_column("candidate")), set(members.get_column("tautomer"))
    random = Random(draw("decoys", key))
    rows: list[tuple[str, str, str, str, str]] = []
    formulas = sorted(members.get_column("formula").unique())
    for formula, quota in _quotas(members, formulas, missing, random):
        wanted = quota if formula != formulas[-1] else missing - len(rows)
        if wanted <= 0:
            continue
        own = members.filter(pl.col("formula") == formula).sort("candidate").get_column("smiles").to_list()
        raw = grow(formula, own, round(_EXCESS * wanted), library, random)
        if not raw:
            continue
        seen = features([each.smiles for each in raw], [each.molecule for each in raw], 0, library)
        odds = _SHARPNESS * likeness.score(key, seen) + _CENTRAL * _centrality(raw, own)
        for form, origin in choose(key, raw, odds, wanted, taken, tautomers):
            rows.append((key, form.inchikey14, form.smiles, form.formula, origin))
    return pl.DataFrame(rows, schema=CANDIDATES, orient="row")


def _centrality(raw: Sequence[Raw], members: Sequence[str]) -> NDArray[np.float64]:
    """Mean Tanimoto similarity (Morgan) of each raw decoy to all others and the members, as a z-score among the raw."""
    smiles = [each.smiles for each in raw] + list(members)
    mean = centrality(morgan_packed(smiles), np.array([0, len(smiles)]))[: len(raw), 0]
    scores: NDArray[np.float64] = (mean - mean.mean()) / max(float(mean.std()), 1e-9)
    return scores


def _quotas(members: pl.DataFrame, formulas: list[str], missing: int, random: Random) -> list[tuple[str, int]]:
    drawn = members.sort("candidate").get_column("formula").to_list()
    picks = [drawn[int(random.random() * len(drawn))] for _ in range(missing)]
    return [(formula, picks.count(formula)) for formula in formulas]
