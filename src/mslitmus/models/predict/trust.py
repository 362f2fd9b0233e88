"""How far is a prediction to be trusted? An expected similarity from what is known without the truth.

    x = features of molecule, conditions and predicted spectrum        (`features`)
    s = β·z(x)              ridge regression on the similarities of the validation fold
    e = g(s)                g isotonic (pool adjacent violators on equal-count groups, linear between)
    interval = e + quantiles of the residuals around that e

Validation molecules are dealt into two halves: each half is predicted by a regression on the other, so g and the
residuals are of molecules that the regression did not see (cross-conformal prediction, Vovk 2015, two folds; quantiles
by rank (n + 1) within groups of e, linear between them). Spectra of one molecule count one each although they are
alike, and g is fitted to the rows whose residuals are taken: coverage is what the test fold shows, not a theorem.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...chem.molecule import morgan_packed
from ...data.difficulty import nearest_similarity
from ...errors import ModelError
from ...metrics.rates import pooled
from ...spectra.flat import flatten

Array = NDArray[np.float64]
FEATURES = (
    "similarity to train", "entropy", "peaks", "purity", "precursor share", "highest other peak",
    "entropy without precursor", "base peak m/z", "mean m/z", "precursor m/z", "energy known", "log energy",
    "normalised energy", "resonant", "unitless", "adduct in train", "positive", "[M+H]+", "[M-H]-", "Orbitrap", "QTOF",
)  # fmt: skip
COVERAGE = 0.8
_GROUPS, _INTERVAL_GROUPS = 20, 5
_PENALTIES = tuple(10.0**power for power in (0, 1, 2, 3, 4))
_NEAR = 0.5  # Da around the precursor that count as its peak
_LEAST = 50  # rows to fit on


@dataclass(frozen=True)
class Reference:
    """The training fold as features need it: fingerprints (molecules, 32) as words, adducts with their spectra."""

    fingerprints: NDArray[np.uint64]
    adducts: dict[str, int]

    @classmethod
    def of(cls, train: pl.DataFrame) -> Self:
        """From columns smiles, inchikey14 and adduct."""
        smiles = train.unique("inchikey14", maintain_order=True)["smiles"].drop_nulls().to_list()
        counts = train["adduct"].drop_nulls().value_counts().sort("adduct")
        return cls(morgan_packed(smiles), dict(counts.iter_rows()))

    def nearest(self, smiles: Sequence[str]) -> Array:
        """Tanimoto of each to the nearest training molecule, each distinct SMILES compared once."""
        distinct = list(dict.fromkeys(smiles))
        bits, library = (_bits(words) for words in (morgan_packed(distinct), self.fingerprints))
        found = dict(zip(distinct, nearest_similarity(bits, library).tolist(), strict=True))
        return np.array([found[text] for text in smiles], np.float64)


def _bits(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return np.unpackbits(words.view(np.uint8), axis=1)


def features(queries: pl.DataFrame, predictions: pl.DataFrame, reference: Reference) -> Array:
    """(n, len(FEATURES)), row by row of `queries`; `predictions` has the same rows in the same order."""
    near = reference.nearest(queries["smiles"].to_list())
    precursor = queries["precursor_mz"].to_numpy().astype(np.float64)
    energy = queries["collision_energy"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    kind = queries["collision_energy_kind"].fill_null("").to_numpy()
    in_ev = np.isfinite(energy) & ~np.isin(kind, ["resonant-%", "unitless"])
    value = np.where(in_ev, np.nan_to_num(energy), 0.0)
    adduct = queries["adduct"].fill_null("").to_list()
    seen = np.log1p([reference.adducts.get(name, 0) for name in adduct])
    instrument = queries["instrument_type"].fill_null("").to_numpy()
    columns = [
        near, *_shape(predictions, precursor), precursor / 500.0, np.isfinite(energy), np.log1p(value),
        np.minimum(value * 500.0 / np.clip(precursor, 1.0, None), 200.0) / 100.0, kind == "resonant-%",
        kind == "unitless", seen, queries["ion_mode"].fill_null("").to_numpy() == "positive",
        *(np.array(adduct, object) == name for name in ("[M+H]+", "[M-H]-")),
        *(instrument == name for name in ("Orbitrap", "QTOF")),
    ]  # fmt: skip
    return np.stack([np.asarray(column, np.float64) for column in columns], axis=1)


def _shape(predictions: pl.DataFrame, precursor: Array) -> list[Array]:
    """What the predicted spectra look like, (n,) each in the order of FEATURES; 0 of an empty one."""
    flat, n = flatten(predictions, ModelError, "predictions"), predictions.height
    owner = np.repeat(np.arange(n), np.diff(flat.offsets))
    share = flat.intensities / np.maximum(np.bincount(owner, flat.intensities, n), 1e-30)[owner]
    other = np.abs(flat.mzs - precursor[owner]) >= _NEAR

    def entropy(mask: NDArray[np.bool_]) -> Array:
        rows, p = owner[mask], share[mask]
        p = p / np.maximum(np.bincount(rows, p, n), 1e-30)[rows]
        return np.asarray(-np.bincount(rows, p * np.log(np.maximum(p, 1e-30)), n))

    highest, best = np.zeros(n), np.zeros(n)
    np.maximum.at(highest, owner[other], share[other])
    np.maximum.at(best, owner, share)
    top = share >= best[owner]
    base = np.zeros(n)
    np.maximum.at(base, owner[top], flat.mzs[top])
    mass = np.clip(precursor, 1.0, None)
    return [
        entropy(np.ones(len(share), bool)),
        np.log1p(np.diff(flat.offsets)),
        np.sqrt(np.bincount(owner, share * share, n)),
        np.bincount(owner[~other], share[~other], n),
        highest,
        entropy(other),
        base / mass,
        np.bincount(owner, share * flat.mzs, n) / mass,
    ]


@dataclass(frozen=True)
class Trust:
    """A fitted expectation. `low`, `high`: of each feature on the fold it was fitted on, to which features are held.

    slope (features,) and `intercept` on features standardised by `centre` and `scale`; `raised` (2, k) the isotonic
    curve as x and y; `around` (3, m): centres of groups of the expectation, lower and upper offset of the interval.
    """

    centre: Array
    scale: Array
    low: Array
    high: Array
    slope: Array
    intercept: float
    raised: Array
    around: Array

    @classmethod
    def fit(cls, x: Array, y: Array, molecules: Sequence[str]) -> Self:
        """x (n, k), y (n,) similarities, and the molecule of each row, by which rows are dealt into halves.

        Raises ModelError for fewer than 50 rows, or for molecules that all fall into one half.
        """
        half = np.array([blake2b(name.encode(), digest_size=1).digest()[0] & 1 for name in molecules], bool)
        if len(y) < _LEAST or half.all() or not half.any():
            remedy = "use a validation fold with more molecules"
            raise ModelError(f"{len(y)} scored validation spectra are too few to learn trust from", remedy=remedy)
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        z = (x - centre) / scale
        unseen = {p: np.empty(len(y)) for p in _PENALTIES}
        for penalty, found in unseen.items():
            for side in (half, ~half):
                slope, intercept = _ridge(z[~side], y[~side], penalty)
                found[side] = z[side] @ slope + intercept
        penalty = min(unseen, key=lambda p: float(((unseen[p] - y) ** 2).mean()))
        raised = _isotonic(unseen[penalty], y)
        expected = np.interp(unseen[penalty], *raised)
        slope, intercept = _ridge(z, y, penalty)
        return cls(
            centre, scale, x.min(axis=0), x.max(axis=0), slope, intercept, raised, _offsets(expected, y - expected)
        )

    def predict(self, x: Array) -> tuple[Array, Array, Array]:
        """x (n, k) → expected similarity, lower and upper end of its 80 % interval, (n,) each within 0 … 1."""
        z = (np.clip(x, self.low, self.high) - self.centre) / self.scale
        expected = np.clip(np.interp(z @ self.slope + self.intercept, *self.raised), 0.0, 1.0)
        lower, upper = (np.interp(expected, self.around[0], self.around[row]) for row in (1, 2))
        return (
            expected,
            np.clip(expected + np.minimum(lower, 0), 0.0, 1.0),
            np.clip(expected + np.maximum(upper, 0), 0.0, 1.0),
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What `of_arrays` makes the same of."""
        return {name: np.asarray(getattr(self, name)) for name in self.__dataclass_fields__}

    @classmethod
    def of_arrays(cls, arrays: Any) -> Self:
        values = {name: np.asarray(arrays[name], np.float64) for name in cls.__dataclass_fields__}
        return cls(**{**values, "intercept": float(values["intercept"])})  # type: ignore[arg-type]


def _ridge(z: Array, y: Array, penalty: float) -> tuple[Array, float]:
    """min ‖y − b − zβ‖² + penalty ‖β‖², b unpenalised → (β, b)."""
    middle, mean = z.mean(axis=0), float(y.mean())
    inner = z - middle
    slope = np.linalg.solve(inner.T @ inner + penalty * np.eye(z.shape[1]), inner.T @ (y - mean))
    return slope, mean - float(middle @ slope)


def _isotonic(x: Array, y: Array) -> Array:
    """(2, k): means of equal-count groups by x, made non-decreasing in y by pooling adjacent violators."""
    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, min(_GROUPS, len(x)))
    sizes = np.array([len(part) for part in parts], np.float64)
    sums = np.array([y[part].sum() for part in parts])
    block = pooled(sums, sizes)
    level = (np.bincount(block, sums) / np.bincount(block, sizes))[block]
    return np.stack([np.array([x[part].mean() for part in parts]), level])


def _offsets(expected: Array, residual: Array) -> Array:
    """(3, m): centre of each group of `expected`, and the residuals below and above which a tenth of it lies."""
    order = np.argsort(expected, kind="stable")
    columns = []
    for part in np.array_split(order, _INTERVAL_GROUPS):
        ranked, n = np.sort(residual[part]), len(part)
        beyond = (1 - COVERAGE) / 2 * (n + 1)
        low, high = max(int(np.floor(beyond)) - 1, 0), min(int(np.ceil((n + 1) - beyond)) - 1, n - 1)
        columns.append((expected[part].mean(), ranked[low], ranked[high]))
    table = np.array(columns).T
    _, first = np.unique(table[0], return_index=True)  # groups pooled to one expectation
    return table[:, first]
