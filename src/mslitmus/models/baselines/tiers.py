"""Which training spectra a query's neighbour may come from: tiers, tried in order.

- `formula`: the training molecule has the query's formula (of the neutral molecule; the query must name it).
- `subformula`: its formula is contained in the query's or contains it, every element counted, hydrogen too.
- `mass`: its neutral mass agrees with the query's within the precursor tolerance, both from precursor m/z and adduct;
  where either adduct is unknown, the precursor m/z agree.
- `all`: every training spectrum.

Within a tier, the pool of a query is the spectra of its ion mode; where the tier has none of these, all of the tier.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.formula import Formula, parse_adduct, parse_formula
from ...errors import ChemistryError, ModelError
from ...spectra.library import Subsets
from ...spectra.tolerance import Tolerance

TIERS = ("formula", "subformula", "mass", "all")
OF_FORMULA = ("formula", "subformula")  # these need queries that name their formula
_NONE = np.zeros(0, np.int64)
Rows = NDArray[np.int64]


class Tiers:
    """Pools of library rows.

    Args:
        rows: of the library: adduct, precursor_mz, formula, ion_mode.
        tolerance: of the tier `mass`.
    """

    def __init__(self, rows: pl.DataFrame, tolerance: str) -> None:
        self._every = np.arange(rows.height)
        modes = rows.get_column("ion_mode").to_list()
        self._of_mode = {mode: np.array([m == mode for m in modes], bool) for mode in set(modes)}
        self._tolerance = Tolerance.of(tolerance)
        masses, precursors = neutral_masses(rows), _precursors(rows)
        self._by_mass = _Sorted(masses, self._every)
        self._by_precursor = _Sorted(precursors, self._every)
        self._without_mass = _Sorted(precursors[np.isnan(masses)], np.flatnonzero(np.isnan(masses)))
        formulas = [readable(text) for text in rows.get_column("formula")]
        self._formulas = [formula for formula in dict.fromkeys(formulas) if formula is not None]
        number = {formula: k for k, formula in enumerate(self._formulas)}
        self._formula_of = np.array([-1 if f is None else number[f] for f in formulas], np.int64)
        self._elements = sorted({element for formula in self._formulas for element, _ in formula.counts})
        self._counts = np.array([[f[e] for e in self._elements] for f in self._formulas], np.int64)
        self._counts = self._counts.reshape(len(self._formulas), len(self._elements))

    def pools(self, tier: str, queries: pl.DataFrame) -> Subsets:
        """The pool of each query in one tier; empty lists where it has none.

        Raises ModelError for a tier of formulae if the queries have no column `formula`.
        """
        keys = self._keys(tier, queries)
        numbers: dict[Hashable, int] = {}
        lists: list[Rows] = []
        of = np.zeros(queries.height, np.int64)
        for query, key in enumerate(zip(keys, queries.get_column("ion_mode"), strict=True)):
            if key not in numbers:
                numbers[key] = len(lists)
                members = self._members(tier, key[0])
                if key[1] in self._of_mode:
                    same = members[self._of_mode[key[1]][members]]
                    members = same if same.size else members
                lists.append(members)
            of[query] = numbers[key]
        return Subsets.from_lists(of, lists)

    def _keys(self, tier: str, queries: pl.DataFrame) -> Sequence[Hashable]:
        if tier == "all":
            return [None] * queries.height
        if tier == "mass":
            return list(
                zip(neutral_masses(queries).tolist(), queries.get_column("precursor_mz").to_list(), strict=True)
            )
        if "formula" not in queries.columns:
            raise ModelError(
                f"tier {tier!r} needs the formula of the queries, which this task hides",
                remedy="tiers: [mass, all], or tell the task that the formula is given",
            )
        return [readable(text) for text in queries.get_column("formula")]

    def _members(self, tier: str, key: Hashable) -> Rows:
        """Library rows of a tier, ascending."""
        if tier == "all":
            return self._every
        if tier == "mass":
            return self._same_mass(*key)  # type: ignore[misc]
        if not isinstance(key, Formula):
            return _NONE
        counts = np.array([key[e] for e in self._elements])
        known = sum(n for _, n in key.counts) == counts.sum()  # else it holds an element that no training molecule has
        if tier == "formula":
            chosen = (self._counts == counts).all(axis=1) & known
        else:
            chosen = (self._counts <= counts).all(axis=1) | ((self._counts >= counts).all(axis=1) & known)
        return np.flatnonzero(chosen[self._formula_of] & (self._formula_of >= 0)) if chosen.size else _NONE

    def _same_mass(self, mass: float, precursor: float) -> Rows:
        if np.isnan(mass):
            return np.sort(self._by_precursor.within(precursor, self._tolerance))
        known = self._by_mass.within(mass, self._tolerance)
        return np.sort(np.concatenate([known, self._without_mass.within(precursor, self._tolerance)]))


class _Sorted:
    """Library rows by ascending value, NaN last."""

    def __init__(self, values: NDArray[np.float64], rows: Rows) -> None:
        order = np.argsort(values, kind="stable")
        self._values, self._rows = values[order], rows[order]

    def within(self, value: float, tolerance: Tolerance) -> Rows:
        if np.isnan(value):
            return _NONE
        low, high = tolerance.window(value)
        begin, end = np.searchsorted(self._values, low), np.searchsorted(self._values, high, side="right")
        return self._rows[begin:end]


def neutral_masses(frame: pl.DataFrame) -> NDArray[np.float64]:
    """Monoisotopic mass of each row's molecule from `precursor_mz` and `adduct` (Da), NaN where either is unknown."""
    adducts = frame.get_column("adduct")
    read = {text: _adduct_terms(text) for text in adducts.drop_nulls().unique()}
    scale, offset = (
        adducts.replace_strict({text: terms[k] for text, terms in read.items()}, default=None, return_dtype=pl.Float64)
        for k in range(2)
    )
    masses = frame.get_column("precursor_mz").cast(pl.Float64) * scale + offset
    return masses.fill_null(float("nan")).to_numpy()


def _adduct_terms(text: str) -> tuple[float | None, float | None]:
    """(scale, offset) with neutral mass = m/z · scale + offset; None of what is no adduct."""
    try:
        adduct = parse_adduct(text)
    except ChemistryError:
        return None, None
    offset = adduct.neutral_mass(0.0)
    return adduct.neutral_mass(1.0) - offset, offset


def _precursors(frame: pl.DataFrame) -> NDArray[np.float64]:
    return frame.get_column("precursor_mz").cast(pl.Float64).fill_null(float("nan")).to_numpy()


@lru_cache(maxsize=65536)
def readable(text: str | None) -> Formula | None:
    """The formula, None where there is none or it cannot be read."""
    try:
        return parse_formula(text) if text else None
    except ChemistryError:
        return None
