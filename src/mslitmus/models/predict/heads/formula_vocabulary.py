"""Which formulae the training fold needs: its peaks annotated, then product and loss formulae chosen greedily.

An annotated peak has two names: the product (the ion without what carries its charge) and the loss (the precursor ion
less the ion). Source: GrAFF-MS (Murphy et al., ICML 2023), whose vocabulary holds the most common products and losses
of NIST. There a peak with two common names takes two places; here a name counts only what the names chosen before it
leave out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import torch
from numpy.typing import NDArray

from ....chem.compositions import Rules
from ....chem.subformula import annotate_frame
from ..batching import tensor, tensors
from ..ions import ELEMENTS
from ..parts import FlatPeaks
from .formula_ions import Ions
from .formula_lists import spell

Array = NDArray[Any]


@dataclass(frozen=True)
class Annotated:
    """Explained ions of the training fold, one row a precursor ion × formula × isotope label.

    Attributes:
        ion: (rows,) number of the precursor ion.
        formula: (rows, ELEMENTS) atoms of the fragment ion.
        charge: (rows,) number of its charges.
        isotope: (rows,) label, empty for the monoisotopic.
        weight: (rows,) share of the molecule's intensity, each molecule 1 in all.
        molecule: (ions,) of each precursor ion.
        share: (ions,) of the molecule's spectra that are of this ion.
        ions: the precursor ions.
    """

    ion: Array
    formula: Array
    charge: Array
    isotope: Array
    weight: Array
    molecule: Array
    share: Array
    ions: Ions


def precursor_ions(peaks: FlatPeaks, columns: Array | None = None) -> Ions:
    """The ions of all spectra. `peaks` has the features of `ElementFeaturiser`."""
    if peaks.features is None:  # the predictor asks the head's featuriser beforehand
        raise ValueError("peaks without element counts")
    wanted = None if columns is None else tensor(columns, "cpu")
    features, said = tensors(peaks.features.arrays, "cpu"), tensors(peaks.ions, "cpu")
    return Ions.of(features, tensor(peaks.molecule, "cpu"), tensor(peaks.precursor_mz, "cpu"), said, wanted)


def annotate(peaks: FlatPeaks, learned: NDArray[np.float64], ppm: float, floor: float, isotopes: bool) -> Annotated:
    """Best formula of every peak of spectra whose ion is known.

    learned: (peaks,) intensity on the scale that is learned; a spectrum's sum is set to 1.
    """
    ions, said = precursor_ions(peaks), peaks.ions
    first, number = _distinct([peaks.molecule, said["charge"], *ions.total.numpy().T])
    kept = ions.take(first)
    frame = _frame(peaks, kept, said["charge"][first], number)
    known = said["known"] & ~np.isnan(_mass(peaks)[peaks.molecule])
    rules = Rules(floor=floor, isotopes=isotopes)
    found = annotate_frame(frame.filter(pl.Series(known)), ppm, rules=rules, best_only=True, on_error="skip")
    spectra_of = np.bincount(peaks.molecule)
    rows = _rows(found, peaks, learned, number, spectra_of)
    spelled = rows["formula"].unique(maintain_order=True)
    counts = read_formulae(spelled)
    at = rows["formula"].replace_strict(spelled, np.arange(len(spelled)), return_dtype=pl.Int64).to_numpy()
    share = np.bincount(number, minlength=len(first)) / spectra_of[peaks.molecule[first]]
    columns = (rows["charge"].abs().to_numpy(), rows["isotope"].to_numpy().astype(str), rows["weight"].to_numpy())
    return Annotated(rows["ion"].to_numpy(), counts[at], *columns, peaks.molecule[first], share, kept)


def read_formulae(spelled: pl.Series) -> NDArray[np.int16]:
    """(formulae, ELEMENTS), as `parse_formula` reads one by one, of formulae that hold each element once."""
    counts = np.zeros((len(spelled), len(ELEMENTS)), np.int16)
    for column, element in enumerate(ELEMENTS):
        number = spelled.str.extract(rf"{element}(\d*)(?:[A-Z]|$)")
        counts[:, column] = number.replace("", "1").cast(pl.Int16).fill_null(0).to_numpy()
    return counts


def _mass(peaks: FlatPeaks) -> Array:
    return np.zeros(0) if peaks.features is None else peaks.features.arrays["mass"]


def _frame(peaks: FlatPeaks, ions: Ions, charge: Array, number: Array) -> pl.DataFrame:
    """What `annotate_frame` wants: the ion's own formula, under the adduct of an ion as it is."""
    names = [spell(counts, ELEMENTS) for counts in ions.total.numpy()]
    forms = [f"[M]{abs(z) if abs(z) > 1 else ''}{'+' if z > 0 else '-'}" for z in charge.tolist()]
    columns = {"mzs": peaks.mzs, "intensities": peaks.intensities}
    lists = {n: pl.Series(pa.LargeListArray.from_arrays(peaks.offsets, pa.array(v))) for n, v in columns.items()}
    return pl.DataFrame(
        {"identifier": np.arange(len(number)), **lists, "formula": pl.Series(names, dtype=pl.String).gather(number),
         "adduct": pl.Series(forms, dtype=pl.String).gather(number)}
    ).with_columns(pl.col("identifier").cast(pl.String))  # fmt: skip


def _rows(found: pl.DataFrame, peaks: FlatPeaks, learned: Array, number: Array, spectra_of: Array) -> pl.DataFrame:
    """One row a precursor ion × formula × isotope, with its weight."""
    spectrum = found["identifier"].cast(pl.Int64).to_numpy()
    total = np.bincount(peaks.owner, learned, minlength=len(number))
    share = learned[peaks.offsets[spectrum] + found["peak"].to_numpy()] / total[spectrum]
    table = found.select("formula", "charge", "isotope").with_columns(
        ion=pl.Series(number[spectrum]), weight=pl.Series(share / spectra_of[peaks.molecule[spectrum]])
    )
    groups = table.group_by("ion", "formula", "charge", "isotope", maintain_order=True)
    return groups.agg(pl.col("weight").sum())


@dataclass(frozen=True)
class Names:
    """Distinct formulae of one kind, and which of them each row of `Annotated` bears (−1: none)."""

    counts: Array  # (names, ELEMENTS)
    isotopes: Array  # (names,)
    of: Array  # (rows,)


def products(found: Annotated) -> Names:
    """Ions without their carrier. Only singly charged ones that hold it have such a name."""
    counts = found.formula - (found.ions.total - found.ions.rest).numpy()[found.ion]
    least = np.where(np.array(ELEMENTS) == "H", -1, 0)  # CF3+ is CF3 less a hydrogen and a proton
    return _names(counts, found.isotope, (found.charge == 1) & (counts >= least).all(axis=1))


def losses(found: Annotated) -> Names:
    """What the precursor ion lost, charges kept; the loss of nothing comes first, whether shown or not."""
    lost = found.ions.total.numpy()[found.ion] - found.formula
    names = _names(lost, found.isotope, found.charge == found.ions.charge.numpy()[found.ion])
    nothing = np.flatnonzero((names.counts == 0).all(axis=1) & (names.isotopes == ""))
    order = np.concatenate([nothing, np.setdiff1d(np.arange(len(names.counts)), nothing)])
    counts, isotopes, of = names.counts[order], names.isotopes[order], np.append(np.argsort(order), -1)[names.of]
    if len(nothing):
        return Names(counts, isotopes, of)
    counts = np.concatenate([np.zeros((1, len(ELEMENTS)), np.int16), counts])
    return Names(counts, np.concatenate([[""], isotopes]).astype(str), np.where(of >= 0, of + 1, -1))


def _names(counts: Array, isotopes: Array, named: Array) -> Names:
    labels, label = np.unique(isotopes, return_inverse=True)
    counts, label, of = counts[named].astype(np.int16), label[named], np.full(len(counts), -1)
    first, of[named] = _distinct([label, *counts.T])
    return Names(counts[first], labels[label[first]], of)


def _distinct(columns: Sequence[Array]) -> tuple[Array, Array]:
    """(first row of each distinct row, number of each row's) of integer columns. Rows become one number in mixed radix
    first, since sorting numbers is twenty times faster than sorting rows."""
    code, size = np.zeros(len(columns[0]), np.int64), 1
    for column in columns:
        low = int(column.min(initial=0))
        span = int(column.max(initial=0)) - low + 1
        if size * span >= 2**62:
            code = np.unique(code, return_inverse=True)[1]
            size = int(code.max(initial=0)) + 1
        code, size = code * span + (column - low), size * span
    _, first, number = np.unique(code, return_index=True, return_inverse=True)
    return first, number


def choose(first: Array, second: Array, weight: Array, allowed: Array, size: int, always: Array) -> Array:
    """Names in the order chosen: `always`, then each time the one that adds most, until `size` or nothing is added.

    first, second: (rows,) the two names of a row, −1 for none; allowed: (names,) bool.
    """
    allowed = allowed.copy()
    allowed[always] = True
    rows = np.tile(np.arange(len(first)), 2)
    names = np.concatenate([first, second])
    usable = (names >= 0) & allowed[names]
    rows, names = rows[usable], names[usable]
    order = np.argsort(names, kind="stable")
    members, starts = rows[order], np.searchsorted(names[order], np.arange(len(allowed) + 1))
    gain = np.bincount(names, weight[rows], minlength=len(allowed))
    covered = np.zeros(len(first), bool)
    chosen: list[int] = []
    while len(chosen) < size:
        name = int(always[len(chosen)]) if len(chosen) < len(always) else int(gain.argmax())
        if len(chosen) >= len(always) and gain[name] <= 1e-9:
            break
        chosen.append(name)
        new = members[starts[name] : starts[name + 1]]
        new = new[~covered[new]]
        covered[new] = True
        other = np.where(first[new] == name, second[new], first[new])
        np.subtract.at(gain, other[other >= 0], weight[new[other >= 0]])
        gain[name] = -np.inf
    return np.array(chosen, np.int64)


def shown_by(names: Names, found: Annotated) -> Array:
    """(names,) number of molecules that show each."""
    named = names.of >= 0
    name = names.of[named]
    first, _ = _distinct([name, found.molecule[found.ion[named]]])
    return np.bincount(name[first], minlength=len(names.counts))


def spread(first: Array, second: Array, weight: Array, chosen: Array, names: int) -> Array:
    """(chosen,) weight of the rows of each chosen name; a row that bears two gives half to each."""
    place = np.full(names + 1, -1)
    place[chosen] = np.arange(len(chosen))
    a, b = place[first], place[second]
    each = weight / np.maximum((a >= 0).astype(int) + (b >= 0), 1)
    total = np.zeros(len(chosen))
    for at in (a, b):
        np.add.at(total, at[at >= 0], each[at >= 0])
    return total


def possible(fits: Any, found: Annotated, chunk: int = 512) -> Array:
    """(entries,) molecules in which each entry can be. fits: Ions → (n, entries) bool."""
    with torch.no_grad():
        able = [fits(part).numpy() for part in found.ions.chunks(chunk)]
    parts = np.split(found.share, np.arange(chunk, len(found.share), chunk))
    total: Array = np.sum([share @ fit for share, fit in zip(parts, able, strict=True)], axis=0)
    return total
