"""Score predicted fingerprints against those of the true molecules: one value a query and metric.

The truth is the Morgan fingerprint (radius 2, 2048 bits) of the true SMILES, bits b; a prediction is a probability p
for each bit, and p̂ = [p ≥ threshold].

    fp-tanimoto@threshold  Σ b·p̂ / Σ max(b, p̂)      fp-tanimoto-soft  Σ min(b, p) / Σ max(b, p)
    fp-cosine              Σ b·p / √(Σ b² Σ p²)      each 0 where its denominator is 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..chem.molecule import morgan
from ..errors import ChemistryError, PredictionError, SchemaError
from ..schemas import PREDICTED_FINGERPRINTS
from .fingerprint_names import FingerprintMetric
from .missing import MISSING, by_query, check_choice, check_truth, conformed, refuse
from .molecule import BITS, RADIUS
from .names import parse_as

Array = NDArray[np.float64]
#: Queries compared at once: a block of predictions takes 4,096 × 2,048 × 4 B = 32 MiB.
BLOCK = 4_096
_WHERE = "predictions"


def score(predictions: pl.DataFrame, truth: pl.DataFrame, names: Sequence[str], missing: str = "raise") -> pl.DataFrame:
    """Score fingerprints, joined to the truth by `identifier`.

    Args:
        predictions: schema PREDICTED_FINGERPRINTS: identifier, fingerprint (list of 2048 probabilities).
        truth: identifier, inchikey14, smiles.
        names: metric names, see `metrics.fingerprint_names`.
        missing: `"raise"` refuses a query without a prediction; `"fail"` gives it 0 on every metric.

    Returns:
        One row a query in the order of `truth`: `identifier`, `predicted` (has a fingerprint), one f64 column a metric.

    Raises:
        PredictionError: queries without a prediction, duplicate or unknown identifiers, lists that do not hold 2048
            values, values that are null, not finite or outside 0 to 1: each names up to five identifiers.
        SchemaError: a truth that lacks a column or a value, or with a SMILES that does not parse.
        ConfigError: a bad metric name or choice.
    """
    check_choice("missing", missing, MISSING)
    metrics = {name: parse_as(FingerprintMetric, name) for name in names}
    check_truth(truth, ("identifier", "smiles"))
    given = conformed(predictions, PREDICTED_FINGERPRINTS).filter(pl.col("fingerprint").is_not_null())
    rows = by_query(given, truth.get_column("identifier"), ("fingerprint",), missing)
    short = rows.filter(pl.col("fingerprint").list.len() != BITS)
    refuse(short, f"without {BITS} values", PredictionError, _WHERE, f"one probability for each of {BITS} Morgan bits")
    bits, molecule = _true_bits(truth.get_column("smiles"))
    columns = {name: np.zeros(truth.height) for name in metrics}
    predicted = rows.get_column("fingerprint").is_not_null().to_numpy()
    for start in range(0, truth.height, BLOCK):
        part = np.flatnonzero(predicted[start : start + BLOCK]) + start
        if part.size:
            probabilities = _probabilities(rows[part])
            for name, values in compare(bits[molecule[part]], probabilities, metrics).items():
                columns[name][part] = values
    return pl.DataFrame({"identifier": truth.get_column("identifier"), "predicted": predicted, **columns})


def compare(
    bits: NDArray[np.uint8], probabilities: NDArray[np.float32], metrics: Mapping[str, FingerprintMetric]
) -> dict[str, Array]:
    """Values of each metric, shape (n,), of true bits (n, 2048) against probabilities (n, 2048)."""
    truth = bits.astype(np.float32)
    ones = truth.sum(axis=1, dtype=np.float64)
    mass = probabilities.sum(axis=1, dtype=np.float64)
    # with b in {0, 1}: Σ min(b, p) = Σ b·p and Σ max(b, p) = Σ b + Σ p − Σ b·p
    shared = np.einsum("ij,ij->i", truth, probabilities, dtype=np.float64)
    values = {}
    for name, metric in metrics.items():
        if metric.threshold is not None:
            on = probabilities >= np.float32(metric.threshold)
            both = (on & (bits > 0)).sum(axis=1, dtype=np.float64)
            values[name] = _ratio(both, ones + on.sum(axis=1) - both)
        elif metric.measure == "fp-cosine":
            square = np.einsum("ij,ij->i", probabilities, probabilities, dtype=np.float64)
            values[name] = np.minimum(_ratio(shared, np.sqrt(ones * square)), 1.0)
        else:
            values[name] = _ratio(shared, ones + mass - shared)
    return values


def _ratio(above: Array, below: Array) -> Array:
    out: Array = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return out


def _true_bits(smiles: pl.Series) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Fingerprints of the distinct molecules (u, 2048), and the row of each query's among them (n,)."""
    distinct = smiles.unique(maintain_order=True)
    number = pl.DataFrame({"smiles": distinct}).with_row_index("number")
    rows = smiles.alias("smiles").to_frame().join(number, on="smiles", how="left", maintain_order="left")
    try:
        bits = morgan(distinct.to_list(), RADIUS, BITS)
    except ChemistryError as error:
        raise SchemaError(
            error.message, where="truth", remedy="curate the dataset: every molecule must parse"
        ) from error
    return bits, rows.get_column("number").to_numpy().astype(np.int64)


def _probabilities(rows: pl.DataFrame) -> NDArray[np.float32]:
    values = rows.get_column("fingerprint").explode().to_numpy().reshape(rows.height, BITS)
    good = ((values >= 0) & (values <= 1)).all(axis=1)  # false for NaN
    bad = rows.filter(pl.Series(~good))
    refuse(bad, "with values outside 0 to 1, or NaN", PredictionError, _WHERE, "give probabilities")
    return np.ascontiguousarray(values, dtype=np.float32)
