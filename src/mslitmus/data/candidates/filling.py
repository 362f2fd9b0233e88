"""Fill a pool of real molecules up to its size with decoys."""

from __future__ import annotations

from pathlib import Path
from random import Random

import polars as pl

from ...schemas import CANDIDATES
from .calibrate import Likeness
from .decoys import choose, features, grow
from .library import Library
from .sets import draw

_EXCESS = 3.0  # raw decoys made for one that is kept
_SHARPNESS = 1.5  # of the draw; above 1 since a draw of one in three cannot follow the odds to their end


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
        for form, origin in choose(key, raw, _SHARPNESS * likeness.score(key, seen), wanted, taken, tautomers):
            rows.append((key, form.inchikey14, form.smiles, form.formula, origin))
    return pl.DataFrame(rows, schema=CANDIDATES, orient="row")


def _quotas(members: pl.DataFrame, formulas: list[str], missing: int, random: Random) -> list[tuple[str, int]]:
    drawn = members.sort("candidate").get_column("formula").to_list()
    picks = [drawn[int(random.random() * len(drawn))] for _ in range(missing)]
    return [(formula, picks.count(formula)) for formula in formulas]
