"""What Learning to Split splits: spectra, or molecules with the mean of their spectra; and two predictors to be fooled.

Both predict the Morgan fingerprint from the binned spectrum, in closed form, so that each round's is fresh and the
search takes minutes: `linear` (ridge regression of every bit) and `nearest` (the fingerprint of the training item with
the largest cosine). Likeness to the truth is Σ min / Σ max, which is Tanimoto where the prediction is 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.molecule import morgan
from ..data.difficulty import energy_bin, nearest_similarity
from ..errors import ConfigError, SplitError
from .learned_split import LearnedSplit, Predictor, Rows, Settings, learn_split

Unit = Literal["molecule", "spectrum"]
PREDICTORS = ("linear", "nearest")
#: Da; the width of a bin and the end of the last.
BIN, LAST = 1.0, 1000.0
#: Bits that the splitter sees of the label, by folding the 2048.
FOLDED = 512
#: Classes of precursor m/z (quantiles) whose shares both sides keep.
CLASSES = 5
#: Penalty of the ridge regression, per item.
RIDGE = 1e-3
_BLOCK = 2048
#: Marks of curation that leave a record out.
REFUSED = ("duplicate", "conflicting-label", "unit-resolution")
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Items:
    """n items.

    Attributes:
        unit, keys (n,): InChIKey-14 or identifiers.
        spectra (n, bins): roots of binned intensities, length 1.
        seen (n, d): what the splitter sees: spectrum, conditions, folded fingerprint.
        labels (n,): class of precursor m/z.
        molecule (n,): row of `bits`; bits (molecules, 2048).
    """

    unit: Unit
    keys: pl.Series
    spectra: Floats
    seen: Floats
    labels: NDArray[np.int64]
    molecule: NDArray[np.int64]
    bits: NDArray[np.uint8]

    @classmethod
    def of(cls, frame: pl.DataFrame, unit: Unit = "molecule") -> Items:
        """Of a SPECTRA frame; records without structure or peaks, and those with a flag of `REFUSED`, are left out."""
        rows = _kept(frame)
        named = rows.group_by("inchikey14").agg(pl.col("smiles").min()).sort("inchikey14")
        bits = morgan(named["smiles"].to_list())
        place = named.select("inchikey14").with_row_index("molecule")
        molecule = rows.join(place, on="inchikey14", how="left", maintain_order="left")["molecule"].to_numpy()
        spectra, conditions = _binned(rows), _conditions(rows)
        mass = rows["precursor_mz"].to_numpy().astype(np.float64)
        keys = rows["identifier"]
        if unit == "molecule":
            spectra, conditions = _means(spectra, molecule, len(bits)), _means(conditions, molecule, len(bits))
            mass = _means(mass[:, None].astype(np.float32), molecule, len(bits))[:, 0].astype(np.float64)
            molecule, keys = np.arange(len(bits)), named["inchikey14"]
            spectra = _unit(spectra)
        edges = np.quantile(mass, np.linspace(0, 1, CLASSES + 1)[1:-1])
        folded = bits.reshape(len(bits), -1, FOLDED).max(axis=1).astype(np.float32)
        scaled = (mass / LAST)[:, None].astype(np.float32)
        seen = np.concatenate([spectra, scaled, conditions, folded[molecule]], axis=1)
        labels = np.searchsorted(edges, mass, side="right").astype(np.int64)
        return cls(unit, keys, spectra, seen, labels, molecule.astype(np.int64), bits)

    def predictor(self, name: str) -> Predictor:
        """One of `PREDICTORS`. Raises ConfigError."""
        found: dict[str, Callable[[Rows], Callable[[Rows], Floats]]] = {
            "linear": self._linear,
            "nearest": self._nearest,
        }
        if name not in found:
            raise ConfigError(f"no predictor {name!r}", remedy=f"choose {' or '.join(PREDICTORS)}")

        def predict(train: Rows, asked: Rows) -> NDArray[np.float64]:
            answer = found[name](train)
            blocks = [asked[start : start + _BLOCK] for start in range(0, len(asked), _BLOCK)]
            return np.concatenate([np.zeros(0), *(_likeness(answer(b), self.bits[self.molecule[b]]) for b in blocks)])

        return predict

    def oracle(self, train: Rows, asked: Rows) -> NDArray[np.float64]:
        """Tanimoto of each item's molecule to the best training molecule."""
        known = np.unique(self.molecule[train])
        wanted, back = np.unique(self.molecule[asked], return_inverse=True)
        best: NDArray[np.float64] = nearest_similarity(self.bits[wanted], self.bits[known])[back].astype(np.float64)
        return best

    def _linear(self, train: Rows) -> Callable[[Rows], Floats]:
        x = np.concatenate([self.spectra[train], np.ones((len(train), 1), np.float32)], axis=1)
        moments = (x.T @ x).astype(np.float64) + RIDGE * len(train) * np.eye(x.shape[1])
        sums = np.zeros((len(self.bits), x.shape[1]), np.float32)
        np.add.at(sums, self.molecule[train], x)
        weights = np.linalg.solve(moments, (sums.T @ self.bits.astype(np.float32)).astype(np.float64)).astype(
            np.float32
        )
        return lambda rows: np.clip(self.spectra[rows] @ weights[:-1] + weights[-1], 0, 1)

    def _nearest(self, train: Rows) -> Callable[[Rows], Floats]:
        library = np.ascontiguousarray(self.spectra[train].T)
        return lambda rows: self.bits[self.molecule[train[(self.spectra[rows] @ library).argmax(axis=1)]]].astype(
            np.float32
        )


def learned(items: Items, predictor: str, settings: Settings, say: Callable[[str], None]) -> tuple[LearnedSplit, Any]:
    """The learned split, and its record: rounds, the shuffled control, and what other methods make of the split.

    `beside`: method → mean likeness on test of the learned split and of a random one of the same sizes. All learn from
    train alone.
    """
    predict = items.predictor(predictor)
    found = learn_split(items.seen, items.labels, predict, settings, say=say)
    say("control: the same search with shuffled answers")
    control = learn_split(items.seen, items.labels, predict, settings, shuffled=True, say=say)
    rng = np.random.default_rng(settings.seed + 1)
    shuffled = rng.permutation(found.folds)
    methods: dict[str, Predictor] = {name: items.predictor(name) for name in PREDICTORS} | {"oracle": items.oracle}
    beside = {
        name: {
            title: float(method(np.flatnonzero(folds == 0), np.flatnonzero(folds == 2)).mean())
            for title, folds in (("learned", found.folds), ("random", shuffled))
        }
        for name, method in methods.items()
    }
    record = {
        "unit": items.unit, "predictor": predictor, "items": len(items.keys), "threshold": found.threshold,
        "chosen": found.chosen, "rounds": [r.to_json() for r in found.rounds], "gap": found.best.gap,
        "gap_random": found.first.gap, "gap_shuffled": control.best.gap,
        "rounds_shuffled": [r.to_json() for r in control.rounds], "beside": beside,
    }  # fmt: skip
    return found, record


def fold_table(items: Items, found: LearnedSplit) -> pl.DataFrame:
    """`inchikey14` or `identifier`, and `fold`: what the split `folds` reads."""
    key = "inchikey14" if items.unit == "molecule" else "identifier"
    names = [("train", "val", "test")[fold] for fold in found.folds]
    return pl.DataFrame({key: items.keys, "fold": names}).sort(key)


def _kept(frame: pl.DataFrame) -> pl.DataFrame:
    rows = frame.drop_nulls(["smiles", "inchikey14"]).filter(pl.col("mzs").list.len() > 0)
    for flag in REFUSED if "flags" in rows.columns else ():
        rows = rows.filter(~pl.col("flags").fill_null([]).list.contains(flag))
    if rows.is_empty():
        raise SplitError("no spectrum has a structure", remedy="a learned split needs labelled spectra")
    return rows.sort("identifier")


def _binned(rows: pl.DataFrame) -> Floats:
    peaks = rows.select("mzs", "intensities").with_row_index("row").explode("mzs", "intensities")
    peaks = peaks.filter(pl.col("mzs") < LAST)
    out = np.zeros((rows.height, int(LAST / BIN)), np.float32)
    where = peaks["row"].to_numpy().astype(np.int64), (peaks["mzs"].to_numpy() / BIN).astype(np.int64)
    np.add.at(out, where, peaks["intensities"].to_numpy().astype(np.float32))
    roots: Floats = np.sqrt(out)
    return _unit(roots)


def _unit(rows: Floats) -> Floats:
    found: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9).astype(np.float32)
    return found


def _conditions(rows: pl.DataFrame) -> Floats:
    """One column a level of instrument type, adduct (the 8 most frequent) and energy bin."""
    parts = [rows["instrument_type"], rows["adduct"], energy_bin(rows)]
    columns = []
    for part in parts:
        levels = part.cast(pl.String).fill_null("unknown")
        top = levels.value_counts(sort=True, name="n").head(8)[levels.name].sort()
        columns += [(levels == level).to_numpy() for level in top]
    return np.stack(columns, axis=1).astype(np.float32)


def _means(values: Floats, of: NDArray[Any], n: int) -> Floats:
    sums = np.zeros((n, values.shape[1]), np.float32)
    np.add.at(sums, of, values)
    found: Floats = np.asarray(sums / np.bincount(of, minlength=n)[:, None], np.float32)
    return found


def _likeness(predicted: Floats, bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    shared = np.einsum("ij,ij->i", predicted, bits.astype(np.float32)).astype(np.float64)
    both = predicted.sum(axis=1, dtype=np.float64) + bits.sum(axis=1) - shared
    found: NDArray[np.float64] = np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)
    return found
