"""Another query's spectrum, molecule or metadata: which other query gives it, and the queries with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: What a donor has in common with the query, beside its ion mode.
Common = Literal["formula", "mass", "nothing"]
SPECTRUM = ("mzs", "intensities")
MOLECULE = ("smiles", "inchikey14", "formula")
_NEAR = 5.0  # Da between precursors of `mass`
_NONE = -1


def donors(rows: pl.DataFrame, pool: pl.DataFrame, common: Common, seed: int) -> NDArray[np.int64]:
    """For each row a random row of `pool` with another molecule; −1 where there is none. Shape (n,).

    `formula`: of the same formula. `mass`: a precursor within 5 Da and another formula. All share the ion mode.
    """
    rng = np.random.default_rng(seed)
    lucky = rng.permutation(pool.height)
    drawn = pool[lucky]
    molecule, formula = (_codes(drawn, rows, name) for name in ("inchikey14", "formula"))
    mode = _codes(drawn, rows, "ion_mode")
    mz = tuple(frame["precursor_mz"].to_numpy().astype(np.float64) for frame in (drawn, rows))
    chosen = np.full(rows.height, _NONE)
    start = rng.integers(0, max(pool.height, 1), rows.height)
    for row in range(rows.height):
        fits = (molecule[0] != molecule[1][row]) & (mode[0] == mode[1][row])
        if common == "formula":
            fits &= formula[0] == formula[1][row]
        elif common == "mass":
            fits &= (np.abs(mz[0] - mz[1][row]) <= _NEAR) & (formula[0] != formula[1][row])
        places = np.flatnonzero(fits)
        if places.size:  # the first at or after a random place: any may be met, none twice as often as it stands there
            chosen[row] = lucky[places[np.searchsorted(places, start[row]) % places.size]]
    return chosen


def swapped(
    queries: pl.DataFrame, pool: pl.DataFrame, chosen: NDArray[np.int64], columns: Sequence[str]
) -> pl.DataFrame:
    """Those queries that have a donor, with these columns of its."""
    has = chosen != _NONE
    names = [name for name in columns if name in queries.columns]
    given = pool[chosen[has]].select(names)
    return queries.filter(pl.Series(has)).with_columns(given.get_columns())


def another_value(queries: pl.DataFrame, columns: Sequence[str], seed: int) -> pl.DataFrame:
    """Queries with the values that another query of the same ion mode has in `columns`, where these differ.

    A value is drawn among the distinct ones, so that a rare adduct is as likely as a frequent one. Queries whose ion
    mode knows one value only are left out.
    """
    rng = np.random.default_rng(seed)
    mode = [name for name in ("ion_mode",) if name in queries.columns]
    known = queries.select(*mode, *columns).unique(maintain_order=True).sort(*mode, *columns, nulls_last=True)
    values = known.rows()
    rows = queries.select(*mode, *columns).rows()
    kept, picked = [], []
    for number, own in enumerate(rows):
        others = [k for k, value in enumerate(values) if value[: len(mode)] == own[: len(mode)] and value != own]
        if others:
            kept.append(number)
            picked.append(others[int(rng.integers(len(others)))])
    return queries[kept].with_columns(known[picked].select(columns).get_columns())


def _codes(pool: pl.DataFrame, rows: pl.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One column of both frames as codes of the same numbering; an unknown value is a value."""
    whole = pl.concat([pool[name], rows[name]]).cast(pl.String).fill_null("")
    codes = whole.rank("dense").to_numpy().astype(np.int64)
    return codes[: pool.height], codes[pool.height :]
