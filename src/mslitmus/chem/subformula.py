"""Peaks → sub-formulae of the precursor ion, for one spectrum or for a dataset.

Of a peak's candidates the best is the one with the smallest error. Candidates whose error is within 0.00005 Da (half
the last digit of a m/z with four decimals) of the smallest are tied; among those the whole ion comes first, then
even-electron ions before radicals, then lower charge, fewer heteroatoms (all atoms but C and H), smaller error. A peak
with no candidate may be the isotope partner of an explained one; one with a candidate only in spectra that were
isolated widely (`isotopes.match_isotopes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from ..errors import ChemistryError
from ..schemas import Schema
from .compositions import Rules, SubFormulae
from .formula import ELECTRON, MASSES, parse_adduct, parse_formula
from .isotopes import ISOTOPE_ELEMENTS, ISOTOPE_LABELS, match_isotopes

Array = NDArray[Any]

#: One row a candidate formula of a peak. `formula` is the fragment ion's composition without its charge; of an isotope
#: peak it is the formula of its monoisotopic partner, and `isotope` names the heavy atoms (empty: monoisotopic).
ANNOTATIONS: Schema = {
    "identifier": pl.String(),
    "peak": pl.UInt32(),  # position in `mzs`
    "mz": pl.Float64(),  # measured, Da
    "formula": pl.String(),
    "charge": pl.Int8(),  # signed
    "error_ppm": pl.Float64(),  # (measured - theoretical) / theoretical
    "rdbe": pl.Float32(),  # of the ion: half-integer for even-electron ions of odd charge
    "isotope": pl.String(),
    "n_alternatives": pl.UInt32(),  # other candidates of this peak
    "is_best": pl.Boolean(),
}


# A m/z written with four decimals is known to half of the last one: errors closer than this are no reason to choose.
_ROUNDING = 5e-5
_ROW = np.dtype(
    [("peak", "i8"), ("name", "i8"), ("charge", "i1"), ("theory", "f8"), ("twice", "i4"), ("isotope", "i1"),
     ("others", "u4"), ("best", "?")]
)  # fmt: skip


@lru_cache(maxsize=8)
def sub_formulae(formula: str, adduct: str) -> SubFormulae:
    """The table of one ion (the last few are kept). Raises ChemistryError where formula and adduct do not make one."""
    form = parse_adduct(adduct)
    return SubFormulae.of(form.ion_formula(parse_formula(formula)), form.charge)


def annotate(
    mzs: ArrayLike,
    formula: str,
    adduct: str,
    ppm: float = 10.0,
    *,
    intensities: ArrayLike | None = None,
    rules: Rules | None = None,
) -> pl.DataFrame:
    """Candidates of the peaks of one spectrum, best first within a peak.

    Args:
        mzs: (n,) ascending, Da.
        formula: of the neutral molecule (of the ion itself where the adduct is `[M]+`).
        adduct: its atoms count as available to fragments: `[M+Na]+` allows one Na, `[M-H]-` one H fewer than M has.
        ppm: tolerance; `rules.floor` sets a least one in Da.
        intensities: (n,), any scale; without them isotope partners are told by m/z alone.

    Returns: `ANNOTATIONS` without `identifier`; peaks without a candidate have no row.
    Raises ChemistryError where formula and adduct do not make an ion, or m/z are not ascending.
    """
    peaks = np.asarray(mzs, np.float64)
    heights = np.full(len(peaks), np.nan) if intensities is None else np.asarray(intensities, np.float64)
    if len(heights) != len(peaks) or (np.diff(peaks) < 0).any():
        raise ChemistryError(
            "peaks must be ascending in m/z, with one intensity each", remedy="sort both arrays by m/z first"
        )
    table = sub_formulae(formula, adduct)
    rows, names = _explain(table, np.array([0, len(peaks)]), peaks, heights, ppm, rules or Rules())
    return _table(rows, names, peaks)


def annotate_frame(
    frame: pl.DataFrame,
    ppm: float = 10.0,
    *,
    rules: Rules | None = None,
    best_only: bool = False,
    on_error: Literal["raise", "skip"] = "raise",
    threads: int = 1,
) -> pl.DataFrame:
    """Candidates of every peak of a dataset; each distinct ion is enumerated once.

    Args:
        frame: columns `identifier`, `mzs`, `intensities`, `formula`, `adduct` of the SPECTRA schema. Spectra without
            formula or adduct get no row.
        best_only: keep the best candidate of each peak (n_alternatives still counts the others).
        on_error: `skip` leaves out spectra whose formula and adduct make no ion; `raise` is ChemistryError naming one.
        threads: ions are shared out over this many threads.

    Returns: `ANNOTATIONS`, in the order of `frame`, then by peak, best first.
    """
    options = rules or Rules()
    known = frame.with_row_index("row").drop_nulls(["formula", "adduct"]).sort("formula", "adduct", maintain_order=True)
    offsets, mzs, heights = _flat(known)
    ions = known.group_by("formula", "adduct", maintain_order=True).agg(pl.len(), pl.col("identifier").first())
    ends = ions["len"].cum_sum().to_list()

    def work(ion: tuple[str, str, int, str], end: int) -> tuple[Array, list[str]]:
        formula, adduct, size, identifier = ion
        part = offsets[end - size : end + 1]
        try:
            table = sub_formulae(formula, adduct)
        except ChemistryError as error:
            if on_error == "skip":
                return np.zeros(0, _ROW), []
            raise ChemistryError(error.message, where=identifier, remedy=error.remedy) from error
        window = slice(part[0], part[-1])
        rows, names = _explain(table, part - part[0], mzs[window], heights[window], ppm, options)
        rows = rows[rows["best"]] if best_only else rows
        rows["peak"] += part[0]
        return rows, names

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(work, ions.iter_rows(), ends))
    return _assemble(parts, known, offsets, mzs)


def explained(annotations: pl.DataFrame, frame: pl.DataFrame, min_intensity: float = 0.0) -> pl.DataFrame:
    """What the annotation accounts for, one row a spectrum of `frame`, in its order.

    Args:
        annotations: of `annotate_frame`; a peak counts once, whether monoisotopic or an isotope partner.
        frame: the spectra that were annotated.
        min_intensity: only peaks at least this strong (base peak = 1) count, in numerator and denominator.

    Returns: identifier, n_peaks, peaks (share explained), intensity (share explained); the shares are null where the
    spectrum has no such peak, or no formula or adduct.
    """
    known = frame.with_row_index("row")
    offsets, _, heights = _flat(known)
    row = np.repeat(np.arange(len(known)), np.diff(offsets))
    keys = pl.DataFrame({"identifier": known["identifier"], "start": offsets[:-1]})
    best = annotations.filter("is_best").select("identifier", "peak").join(keys, on="identifier")
    hit = np.zeros(len(heights), bool)
    hit[(best["start"] + best["peak"].cast(pl.Int64)).to_numpy()] = True
    counted = heights >= min_intensity

    def total(weights: Array) -> Array:
        return np.bincount(row, weights=weights, minlength=len(known))

    peaks, height = total(counted), total(counted * heights)
    table = pl.DataFrame(
        {"n_peaks": peaks.astype(np.int64), "hits": total(hit & counted), "height": height,
         "caught": total((hit & counted) * heights)}
    )  # fmt: skip
    able = (known["formula"].is_not_null() & known["adduct"].is_not_null()).alias("able")
    return table.with_columns(known["identifier"], able).select(
        "identifier",
        "n_peaks",
        pl.when(pl.col("able") & (pl.col("n_peaks") > 0)).then(pl.col("hits") / pl.col("n_peaks")).alias("peaks"),
        pl.when(pl.col("able") & (pl.col("height") > 0)).then(pl.col("caught") / pl.col("height")).alias("intensity"),
    )


def _flat(frame: pl.DataFrame) -> tuple[Array, Array, Array]:
    """offsets (spectra + 1,), m/z and intensities (peaks,) of all spectra end to end."""
    lengths = frame["mzs"].list.len()
    offsets = np.concatenate([[0], np.cumsum(lengths.to_numpy(), dtype=np.int64)])
    mzs, heights = (frame[c].filter(lengths > 0).explode().to_numpy() for c in ("mzs", "intensities"))
    return offsets, mzs.astype(np.float64), heights.astype(np.float64)


def _explain(
    table: SubFormulae, offsets: Array, mzs: Array, heights: Array, ppm: float, rules: Rules
) -> tuple[Array, list[str]]:
    """Candidates (`_ROW`, by peak, best first) of spectra of one ion laid end to end, and the names they refer to."""
    tolerance = np.maximum(mzs * (ppm * 1e-6), rules.floor)
    peak, row, hydrogen, z = table.match(mzs, tolerance, rules)
    sign = 1 if table.charge > 0 else -1
    theory = (table.mass[row] + hydrogen * MASSES["H"]) / z - sign * ELECTRON
    twice, counts = table.twice[row] - hydrogen, table.counts(row)
    hetero = counts[:, [column for column, element in enumerate(table.elements) if element != "C"]].sum(1)
    part = (counts.sum(1) + hydrogen) < sum(table.limits) + table.hydrogens
    order, best, others = _rank(peak, np.abs(mzs[peak] - theory), part, (twice - z) % 2, z, hetero)
    names, name = table.names(row, hydrogen)
    rows = np.zeros(len(peak), _ROW)
    for field, values in zip(_ROW.names or (), (peak, name, sign * z, theory, twice, 0, others, best), strict=True):
        rows[field] = values
    if not rules.isotopes or not len(rows):
        return rows[order], names
    winner = np.flatnonzero(best)
    owner = np.full(len(mzs), -1)
    owner[peak[winner]] = winner
    atoms = np.zeros((len(mzs), len(ISOTOPE_ELEMENTS)), np.int64)
    for column, element in enumerate(ISOTOPE_ELEMENTS):
        if element in table.elements:
            atoms[peak[winner], column] = counts[winner, table.elements.index(element)]
    base = np.where(owner >= 0, theory[owner], np.nan)
    heavy, parent, code, exact, rivals = match_isotopes(offsets, mzs, heights, tolerance, base, z[owner], atoms)
    partners = rows[owner[parent]]
    partners["peak"], partners["isotope"], partners["theory"], partners["others"] = heavy, code, exact, rivals
    taken, number = np.isin(peak, heavy), np.bincount(peak, minlength=len(mzs))
    rows["best"] &= ~taken  # in widely isolated spectra a partner may take the place of a chance formula
    rows["others"] += taken
    partners["others"] += number[heavy].astype(np.uint32)
    every = np.concatenate([partners, rows[order]])
    return every[np.argsort(every["peak"], kind="stable")], names


def _rank(peak: Array, error: Array, *plausibility: Array) -> tuple[Array, Array, Array]:
    """Order of the candidates (best first within a peak), who is best, and how many others each has.

    `plausibility`: keys that order the tied, the first counts most, smaller is better.
    """
    if not len(peak):
        return peak, np.zeros(0, bool), peak
    first = np.flatnonzero(np.r_[True, peak[1:] != peak[:-1]])  # candidates come peak after peak
    size = np.diff(np.r_[first, len(peak)])
    tied = error <= np.repeat(np.minimum.reduceat(error, first), size) + _ROUNDING
    order = np.lexsort((error, *reversed(plausibility), ~tied, peak))
    best = np.zeros(len(peak), bool)
    best[order[first]] = True
    return order, best, np.repeat(size - 1, size)


def _assemble(
    parts: Sequence[tuple[Array, list[str]]], known: pl.DataFrame, offsets: Array, mzs: Array
) -> pl.DataFrame:
    """One table of the parts of all ions, back in the order of the original frame."""
    shift, names = 0, []
    for rows, spelled in parts:
        rows["name"] += shift
        shift += len(spelled)
        names.extend(spelled)
    rows = np.concatenate([np.zeros(0, _ROW), *(rows for rows, _ in parts)])
    spectrum = np.searchsorted(offsets, rows["peak"], side="right") - 1
    # stable, so that a peak's candidates stay best first; isotope partners stand at the end of their ion's part
    order = np.lexsort((rows["peak"], known["row"].to_numpy()[spectrum]))
    rows, spectrum = rows[order], spectrum[order]
    table = _table(rows, names, mzs).with_columns(
        peak=pl.Series(rows["peak"] - offsets[spectrum]).cast(pl.UInt32),
        identifier=known["identifier"].gather(spectrum),
    )
    return table.select(list(ANNOTATIONS))


def _table(rows: Array, names: Sequence[str], mzs: Array) -> pl.DataFrame:
    """`ANNOTATIONS` without the identifier; `peak` is the position in `mzs`."""
    measured = mzs[rows["peak"]]
    columns: dict[str, Any] = {
        "peak": rows["peak"],
        "mz": measured,
        "formula": pl.Series(names, dtype=pl.String).gather(rows["name"]),
        "charge": rows["charge"],
        "error_ppm": (measured - rows["theory"]) / rows["theory"] * 1e6,
        "rdbe": rows["twice"] / 2,
        "isotope": pl.Series(ISOTOPE_LABELS, dtype=pl.String).gather(rows["isotope"].astype(np.uint32)),
        "n_alternatives": rows["others"],
        "is_best": rows["best"],
    }
    return pl.DataFrame(columns).cast({name: ANNOTATIONS[name] for name in columns})
