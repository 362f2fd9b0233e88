"""The trust of a run's model: learned on its validation fold, judged on its test fold, kept beside the model.

`trust.json` says what it was made of and how well it does; `trust.npz` holds the numbers. They are made the first time
they are asked for, and again where the scores or the features changed. Nothing in them is random.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..errors import ModelError, MslitmusError
from ..models.predict.trust import COVERAGE, FEATURES, Reference, Trust, features
from ..provenance import file_hash, write_json
from .chosen_model import Chosen
from .files import load
from .folder import read_json, read_table
from .stage import dataset_of

Array = NDArray[np.float64]
_COLUMNS = {
    "expected_similarity": pl.Float32(),
    "expected_low": pl.Float32(),
    "expected_high": pl.Float32(),
    "similarity_to_train": pl.Float32(),
}


@dataclass(frozen=True)
class Trusted:
    """Trust of one model. `metric` is what is expected; `record` is what `trust.json` holds."""

    trust: Trust
    reference: Reference
    record: dict[str, Any]

    @property
    def metric(self) -> str:
        return str(self.record["metric"])

    def columns(self, queries: pl.DataFrame, predictions: pl.DataFrame) -> list[pl.Series]:
        """`expected_similarity`, `expected_low`, `expected_high` and `similarity_to_train` of each row."""
        x = features(queries, predictions, self.reference)
        values = (*self.trust.predict(x), x[:, FEATURES.index("similarity to train")])
        return [pl.Series(name, v, dtype=dtype) for (name, dtype), v in zip(_COLUMNS.items(), values, strict=True)]


def unknown_trust(rows: int) -> list[pl.Series]:
    """The columns of `Trusted` where nothing is known."""
    return [pl.Series(name, [None] * rows, dtype=dtype) for name, dtype in _COLUMNS.items()]


def trusted(chosen: Chosen) -> tuple[Trusted | None, str]:
    """(trust, what to tell the user). None where the run lacks validation scores or its data: the text says why."""
    scores = None if chosen.cell is None else chosen.cell / "scores.parquet"
    kept = _kept(chosen.folder, scores)
    if kept is not None:
        return kept, _told(kept)
    if chosen.cell is None or chosen.run is None:
        return None, "no expected similarity: the model folder lies outside a run, whose validation fold would teach it"
    if chosen.score is None:
        return None, "no expected similarity: the run holds no validation scores of this model"
    try:
        made = _made(chosen)
    except MslitmusError as error:
        return None, f"no expected similarity: {error.message}"
    try:
        _keep(made, chosen.folder)
    except OSError as error:
        return made, f"{_told(made)} (not kept beside the model: {error.strerror or error})"
    return made, _told(made)


def _told(found: Trusted) -> str:
    test = found.record["test"]
    text = f"expected {found.metric}: learned on {found.record['rows']:,} validation spectra"
    if not test:
        return text
    held = f"the {COVERAGE:.0%} interval holds {test['coverage']:.0%}"
    return f"{text}; on the test fold Spearman {test['spearman']:.2f}, R² {test['r2']:.2f}, {held}"


def _made(chosen: Chosen) -> Trusted:
    """Fit on validation, judge on test. Raises a MslitmusError where the data are not what the run was made of."""
    assert chosen.cell is not None
    assert chosen.run is not None
    study = load(chosen.run / "config.yaml")
    frame = dataset_of(study).frame()
    folds = read_table(chosen.run / "splits" / f"{chosen.split}.parquet").select("identifier", part="fold")
    scores = read_table(chosen.cell / "scores.parquet").select("identifier", "fold", similarity=chosen.metric)
    train = frame.join(folds.filter(pl.col("part") == "train"), on="identifier", how="semi", maintain_order="left")
    known = frame.drop("mzs", "intensities", "fold").join(scores, on="identifier", maintain_order="left")
    if known.height < scores.height or train.is_empty():
        raise ModelError(f"{scores.height - known.height:,} scored spectra are not in dataset {study.data.name!r} now")
    reference = Reference.of(train.select("smiles", "inchikey14", "adduct"))
    predictions = read_table(chosen.cell / "predictions.parquet")
    rows = known.select("identifier").join(predictions, on="identifier", how="left", maintain_order="left")
    x, y = features(known, rows, reference), known["similarity"].to_numpy().astype(np.float64)
    val = (known["fold"] == "val").to_numpy() & np.isfinite(y)
    test = (known["fold"] == "test").to_numpy() & np.isfinite(y)
    trust = Trust.fit(x[val], y[val], known.filter(pl.Series(val))["inchikey14"].to_list())
    record = {
        "metric": chosen.metric,
        "features": list(FEATURES),
        "slope": {name: round(float(v), 6) for name, v in zip(FEATURES, trust.slope, strict=True)},
        "rows": int(val.sum()),
        "molecules": known.filter(pl.Series(val))["inchikey14"].n_unique(),
        "scores": file_hash(chosen.cell / "scores.parquet"),
        "test": judged(trust, x[test], y[test]) if test.sum() > 1 else None,
        "adducts": reference.adducts,
    }
    return Trusted(trust, reference, record)


def judged(trust: Trust, x: Array, y: Array) -> dict[str, Any]:
    """How well expectations fit similarities that they were not learned from: R², Spearman's ρ, coverage and mean width
    of the interval, and by tenth of the expectation its mean, the mean similarity and the number of rows. The
    calibration error is the mean over tenths of |expected − found|."""
    expected, low, high = trust.predict(x)
    order = np.argsort(expected, kind="stable")
    tenths = [(expected[part].mean(), y[part].mean(), len(part)) for part in np.array_split(order, min(10, len(y)))]
    spread = float(((y - y.mean()) ** 2).sum())
    ranks = np.corrcoef(rankdata(expected), rankdata(y))[0, 1] if len(np.unique(expected)) > 1 and spread > 0 else 0.0
    return {
        "rows": len(y),
        "r2": 1 - float(((y - expected) ** 2).sum()) / spread if spread > 0 else 0.0,
        "spearman": float(ranks),
        "mean_absolute_error": float(np.abs(y - expected).mean()),
        "calibration_error": float(np.mean([abs(e - f) for e, f, _ in tenths])),
        "coverage": float(((low <= y) & (y <= high)).mean()),
        "width": float((high - low).mean()),
        "tenths": [{"expected": float(e), "found": float(f), "rows": n} for e, f, n in tenths],
    }


def _keep(made: Trusted, folder: Path) -> None:
    temporary = folder / ".trust.tmp.npz"
    arrays: dict[str, Any] = {**made.trust.arrays(), "fingerprints": made.reference.fingerprints}
    np.savez(temporary, **arrays)
    temporary.replace(folder / "trust.npz")
    write_json(folder / "trust.json", made.record)


def _kept(folder: Path, scores: Path | None) -> Trusted | None:
    """What an earlier call left, where it still belongs to these features and scores."""
    path = folder / "trust.json"
    if not path.is_file() or not (folder / "trust.npz").is_file():
        return None
    record = dict(read_json(path))
    if record.get("features") != list(FEATURES):
        return None
    if scores is not None and scores.is_file() and record.get("scores") != file_hash(scores):
        return None
    try:
        with np.load(folder / "trust.npz", allow_pickle=False) as stored:
            return Trusted(Trust.of_arrays(stored), Reference(stored["fingerprints"], record["adducts"]), record)
    except (OSError, KeyError, ValueError):
        return None  # damaged: made anew
