"""Splits by how the spectrum was taken: lab, instrument, adduct, energy, each in two forms.

Train and val have the train conditions, test has the test conditions.

- `same-molecules`: only the condition shifts. Every test molecule is in train under a train condition; val is drawn
  by spectrum.
- `new-molecules`: no molecule is in two folds. `lab` tests every molecule of the laboratories left out; the others draw
  molecules seen under a test condition, in seeded order, until test holds its share of the spectra. What the test
  molecules gave under a train condition is left out, and so is what the other molecules gave under a test
  condition. Val is drawn by molecule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import polars as pl

from ...errors import SplitError
from ..laboratory import LABORATORY, laboratory
from .allocate import allocate, check_fractions, draw
from .grouped import DEFAULT_FRACTIONS
from .labels import energy_condition
from .split import Assignment

Conditions = str | Sequence[str] | None


def by_lab(
    frame: pl.DataFrame,
    *,
    seed: int,
    form: str,
    test: Conditions = None,
    train: Conditions = None,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> Assignment:
    """`lab`: whole laboratories are left out (`data.laboratory`: a contributor, or several that are one). Without
    `test` they are drawn, small ones first, until the test share is filled; without `train` all others train. A
    contributor named under `test` or `train` stands for its laboratory."""
    shares = check_fractions(fractions)
    labs = frame.select(laboratory()).to_series()
    wanted, trained = (_laboratories(_names(value)) for value in (test, train))
    sizes = dict(labs.drop_nulls().value_counts().iter_rows())
    if wanted is None and trained is None and len(sizes) > 1:
        fold = allocate(sizes, {"train": 1 - shares[2], "test": shares[2]}, seed)
        wanted = tuple(sorted(name for name in fold if fold[name] == "test"))
    sides = _sides(labs, "laboratory", trained, wanted)
    return _assign(frame, "laboratory", labs, sides, seed, form, shares, {})


def by_instrument(
    frame: pl.DataFrame,
    *,
    seed: int,
    form: str,
    test: Conditions = None,
    train: Conditions = None,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> Assignment:
    """`instrument`: by `instrument_type`. Default: train on the most frequent, test on the second."""
    return _by_column(frame, "instrument_type", seed, form, train, test, fractions)


def by_adduct(
    frame: pl.DataFrame,
    *,
    seed: int,
    form: str,
    test: Conditions = None,
    train: Conditions = None,
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> Assignment:
    """`adduct`: train on one ion species, test on another. Default: the most frequent, then the second."""
    return _by_column(frame, "adduct", seed, form, train, test, fractions)


def by_energy(
    frame: pl.DataFrame,
    *,
    seed: int,
    form: str,
    low: float = 20.0,
    high: float = 40.0,
    train: Conditions = "low",
    test: Conditions = "high",
    fractions: Sequence[float] = DEFAULT_FRACTIONS,
) -> Assignment:
    """`energy`: conditions `low` (≤ low eV), `middle` and `high` (≥ high eV); unitless numbers and resonant-CID
    percentages are left out and counted. Default: train low, test high."""
    if not (isinstance(low, Real) and isinstance(high, Real) and low < high):
        raise SplitError(f"low {low!r} eV is not below high {high!r} eV", remedy="give low < high, e.g. 20 and 40")
    condition = energy_condition(frame, low, high)
    sides = _sides(condition, "energy condition", _names(train), _names(test))
    extra = {"low": float(low), "high": float(high)}
    return _assign(frame, "energy", condition, sides, seed, form, check_fractions(fractions), extra)


def _by_column(
    frame: pl.DataFrame,
    column: str,
    seed: int,
    form: str,
    train: Conditions,
    test: Conditions,
    fractions: Sequence[float],
) -> Assignment:
    shares = check_fractions(fractions)
    sides = _sides(frame[column], column.replace("_", " "), _names(train), _names(test))
    return _assign(frame, column, frame[column], sides, seed, form, shares, {})


@dataclass(frozen=True)
class _Sides:
    train: tuple[str, ...]
    test: tuple[str, ...]


def _names(value: Conditions) -> tuple[str, ...] | None:
    if value is None:
        return None
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise SplitError(f"conditions {value!r}", remedy="give a name or a list of names, e.g. [Eawag, UFZ]")
    return tuple(dict.fromkeys(names))


def _laboratories(names: tuple[str, ...] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(dict.fromkeys(LABORATORY.get(name, name) for name in names))


def _sides(condition: pl.Series, what: str, train: tuple[str, ...] | None, test: tuple[str, ...] | None) -> _Sides:
    """The conditions on either side. One side given: the other is all the rest. None given: most frequent, second."""
    counts = dict(condition.drop_nulls().value_counts().iter_rows())
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    listing = ", ".join(f"{name} ({counts[name]:,})" for name in ranked[:20]) or "none"
    if len(ranked) < 2:
        raise SplitError(f"fewer than two values of {what}: {listing}", remedy="choose a split that does not shift it")
    if train is None and test is None:
        train, test = (ranked[0],), (ranked[1],)
    train = tuple(name for name in ranked if name not in (test or ())) if train is None else train
    test = tuple(name for name in ranked if name not in train) if test is None else test
    if unknown := [name for name in (*train, *test) if name not in counts]:
        raise SplitError(f"no spectrum with {what} {unknown[0]!r}", remedy=f"these exist: {listing}")
    if both := sorted(set(train) & set(test)):
        raise SplitError(f"{what} {both[0]!r} is on both sides", remedy="name it under train or test, not both")
    if not train or not test:
        raise SplitError(f"no {what} is left for {'test' if train else 'train'}", remedy=f"these exist: {listing}")
    return _Sides(train, test)


def _assign(
    frame: pl.DataFrame,
    shifted: str,
    condition: pl.Series,
    sides: _Sides,
    seed: int,
    form: str,
    shares: tuple[float, float, float],
    extra: Mapping[str, Any],
) -> Assignment:
    rows = frame.select("identifier", "inchikey14", group=condition)
    no_condition = rows["group"].is_null()
    no_structure = rows["inchikey14"].is_null() & ~no_condition
    on_train, on_test = pl.col("group").is_in(sides.train), pl.col("group").is_in(sides.test)
    side = pl.when(on_train).then(pl.lit("train")).when(on_test).then(pl.lit("test"))
    known = rows.filter(~(no_condition | no_structure)).with_columns(side=side)
    kept = known.drop_nulls("side")
    if form == "same-molecules":
        folds, dropped = _same_molecules(kept, seed, shares)
    else:
        folds, dropped = _new_molecules(kept, seed, shares, whole=shifted == "laboratory")
    left_out = {
        f"{'energy absent or not in eV' if shifted == 'energy' else f'no {shifted}'}": int(no_condition.sum()),
        "no structure": int(no_structure.sum()),
        f"{shifted} on neither side": known.height - kept.height,
        **dropped,
    }
    parameters = {"train": list(sides.train), "test": list(sides.test), "fractions": list(shares), **extra}
    return Assignment(
        folds,
        parameters,
        left_out={reason: n for reason, n in left_out.items() if n},
        notes=(f"{shifted}: train and val {_some(sides.train)}; test {_some(sides.test)}.",),
        disjoint=("inchikey14",) if form == "new-molecules" else (),
        shifted=shifted,
    )


def _some(names: Sequence[str], most: int = 12) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _same_molecules(
    kept: pl.DataFrame, seed: int, shares: tuple[float, float, float]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Test: test-condition spectra of molecules that have train-condition spectra, of which one at least stays in
    train. Val: the train-condition spectra that come first in seeded order, up to val / (train + val) of them."""
    train_side = kept.filter(pl.col("side") == "train")
    test_side = kept.filter(pl.col("side") == "test")
    test = test_side.join(train_side.select("inchikey14").unique(), on="inchikey14", how="semi")
    if test.is_empty():
        raise SplitError(
            "no molecule has spectra on both sides", remedy="choose other conditions, or the form new-molecules"
        )
    order = {name: i for i, name in enumerate(draw(train_side["identifier"], seed))}
    ranked = train_side.with_columns(rank=pl.col("identifier").replace_strict(order, return_dtype=pl.Int64))
    in_test = pl.col("inchikey14").is_in(test["inchikey14"].unique().implode())
    last = pl.col("rank") == pl.col("rank").max().over("inchikey14")
    free = ranked.filter(~(in_test & last)).sort("rank")
    val = free.head(round(train_side.height * shares[1] / (shares[0] + shares[1])))
    train = train_side.join(val.select("identifier"), on="identifier", how="anti")
    dropped = {"test-condition spectra of molecules never seen in train": test_side.height - test.height}
    return _stack(train, val, test), dropped


def _new_molecules(
    kept: pl.DataFrame, seed: int, shares: tuple[float, float, float], *, whole: bool
) -> tuple[pl.DataFrame, dict[str, int]]:
    under_test = kept.filter(pl.col("side") == "test")["inchikey14"].value_counts()
    sizes = dict(under_test.iter_rows())
    lacking = under_test["count"].sum() if whole else shares[2] * kept.height
    chosen: set[str] = set()
    for molecule in draw(sizes, seed):
        if sizes[molecule] <= lacking or not chosen:
            chosen.add(molecule)
            lacking -= sizes[molecule]
    mine = kept["inchikey14"].is_in(list(chosen))
    is_test = kept["side"] == "test"
    learn = kept.filter(~mine & ~is_test)
    left = dict(learn["inchikey14"].value_counts().iter_rows())
    if len(left) < 2:
        raise SplitError(
            f"{len(left)} molecules are left for train and val once test molecules are taken out",
            remedy="choose other conditions, a smaller test share, or the form same-molecules",
        )
    total = shares[0] + shares[1]
    fold = allocate(left, {"train": shares[0] / total, "val": shares[1] / total}, seed)
    placed = learn.with_columns(fold=pl.col("inchikey14").replace_strict(fold, return_dtype=pl.String))
    train, val = (placed.filter(pl.col("fold") == name) for name in ("train", "val"))
    dropped = {
        "train-condition spectra of test molecules": int((mine & ~is_test).sum()),
        "test-condition spectra of molecules not drawn for test": int((~mine & is_test).sum()),
    }
    return _stack(train, val, kept.filter(mine & is_test)), dropped


def _stack(train: pl.DataFrame, val: pl.DataFrame, test: pl.DataFrame) -> pl.DataFrame:
    parts = (("train", train), ("val", val), ("test", test))
    return pl.concat([rows.select("identifier", pl.lit(name).alias("fold"), "group") for name, rows in parts])
