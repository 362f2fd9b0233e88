"""Score predicted spectra against recorded ones: one value per query and metric, never fewer rows than queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import PredictionError, SchemaError
from ..spectra.flat import Flat, flatten, refuse_rows
from .kernels import MEASURES, align, drop_precursor, entropies, measure_aligned
from .missing import MISSING, by_query, check_choice
from .names import parse_as
from .spectrum_names import SpectrumMetric

_PEAKS = ("mzs", "intensities")


def score(predictions: pl.DataFrame, truth: pl.DataFrame, names: Sequence[str], missing: str = "raise") -> pl.DataFrame:
    """Score predictions, joined to the truth by `identifier`; the order of rows and of peaks is irrelevant.

    Args:
        predictions: columns `identifier`, `mzs` (Da), `intensities` (any scale); other columns are ignored.
        truth: the same columns and, for metrics `:no-precursor`, `precursor_mz` (Da).
        names: metric names, see `metrics.spectrum_names`.
        missing: `"raise"` refuses a query without a prediction; `"fail"` gives it 0 on every metric.

    Returns:
        One row a query in the order of `truth`: `identifier`, `predicted` (has at least one peak), one f64 column a
        metric. An empty prediction, an empty truth, or nothing left once the precursor is removed scores 0.

    Raises:
        PredictionError: queries without a prediction, duplicate or unknown identifiers, lists of unequal length, values
            that are NaN, infinite or negative: each names up to five identifiers. ConfigError: a bad metric name.
        SchemaError: a truth that lacks a column, repeats an identifier or holds such values.
    """
    check_choice("missing", missing, MISSING)
    metrics = {name: parse_as(SpectrumMetric, name) for name in names}
    needs_precursor = any(m.no_precursor for m in metrics.values())
    _check_truth(truth, needs_precursor)
    if absent := [c for c in ("identifier", *_PEAKS) if c not in predictions.columns]:
        raise PredictionError(
            f"columns absent: {', '.join(absent)}", where="predictions", remedy="identifier, mzs, intensities"
        )
    rows = by_query(predictions, truth.get_column("identifier"), _PEAKS, missing)
    predicted = flatten(rows, PredictionError, "predictions")
    recorded = flatten(truth, SchemaError, "truth")
    precursor = truth.get_column("precursor_mz").to_numpy() if needs_precursor else None
    values = score_flat(predicted, recorded, metrics, precursor)
    return pl.DataFrame(
        {"identifier": truth.get_column("identifier"), "predicted": np.diff(predicted.offsets) > 0, **values}
    )


def score_flat(
    predicted: Flat,
    recorded: Flat,
    metrics: Mapping[str, SpectrumMetric],
    precursor_mz: NDArray[np.float64] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Values of each metric, shape (n,), of n predicted against n recorded spectra; each alignment is made once.

    `precursor_mz` (n,) is needed for metrics without precursor.
    """
    groups: dict[tuple[float | None, float | None, float, bool], list[str]] = defaultdict(list)
    for name, m in metrics.items():
        groups[m.width, m.ppm, m.max_mz, m.no_precursor].append(name)
    values: dict[str, NDArray[np.float64]] = {}
    sides = {False: (predicted, recorded)}
    if precursor_mz is not None:
        sides[True] = (drop_precursor(predicted, precursor_mz), drop_precursor(recorded, precursor_mz))
    for (width, ppm, max_mz, no_precursor), members in groups.items():
        aligned = align(*sides[no_precursor], width=width, ppm=ppm, max_mz=max_mz)
        for name in members:
            measure = metrics[name].measure
            if measure == "predicted-entropy":
                values[name] = entropies(aligned.x, aligned.offsets)
            else:
                values[name] = measure_aligned(*aligned, MEASURES[measure])
    return {name: values[name] for name in metrics}


def _check_truth(truth: pl.DataFrame, needs_precursor: bool) -> None:
    wanted = ("identifier", *_PEAKS, *(("precursor_mz",) if needs_precursor else ()))
    if absent := [c for c in wanted if c not in truth.columns]:
        raise SchemaError(f"columns absent: {', '.join(absent)}", where="truth", remedy="see docs/schema.md")
    repeated = truth.get_column("identifier").is_duplicated().to_numpy()
    refuse_rows(truth, repeated, "identifier repeated", SchemaError, "truth", "identifiers must be unique")
    if needs_precursor:
        unknown = ~truth.get_column("precursor_mz").is_finite().fill_null(False).to_numpy()
        remedy = "give precursor_mz, or leave out the metrics :no-precursor"
        refuse_rows(truth, unknown, "without a precursor m/z", SchemaError, "truth", remedy)
