"""Small fixed tables of truths and predictions, one a metric family, made in code and never of real data.

They hold what definitions differ in: ties, edges of bins and tolerances, peaks of the precursor, pools of one
candidate, probabilities on the threshold, predictions that are missing, partial, empty or worth nothing. A table is
part of every frozen benchmark: to change one changes the hash of its metrics, so it takes a new `manifest.FORMAT`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import polars as pl

from ..metrics import fingerprint, ranking, spectrum, structure
from ..metrics.molecule import BITS

Scorer = Callable[[pl.DataFrame, pl.DataFrame, Sequence[str], str], pl.DataFrame]
SMILES = ("CCO", "Oc1ccccc1", "CC(=O)Nc1ccc(O)cc1", "NC1CCCCC1", "CCCC(=O)O")


class GoldenTable(NamedTuple):
    """`score(predictions, truth, names, missing)` of a family; its truth (identifier, inchikey14, …); predictions of
    two models, neither of all queries."""

    score: Scorer
    truth: pl.DataFrame
    predictions: tuple[pl.DataFrame, pl.DataFrame]


def spectra() -> GoldenTable:
    """Ten spectra. Predicted peaks lie up to 0.6 Da or 21 ppm beside the recorded ones, some on an edge of a bin."""
    shifts = (0.0, 1e-5, 4e-4, 0.0049, 0.01, -0.03, 0.2, -0.6)
    recorded, predicted = [], []
    for k in range(6):
        mzs = [60 + 10 * j + 0.1 * k + 0.0137 * j * j for j in range(10)] + [100.0 + k, 300.1, 1004.995, 1500.5 + k]
        heights = [(1 + (7 * j + 3 * k) % 11) / 11 for j in range(len(mzs))]
        near = [mz + shifts[(j + k) % 8] if j % 2 else mz * (1 + 3e-6 * ((j + k) % 8)) for j, mz in enumerate(mzs)]
        recorded.append((sorted(mzs), heights))
        predicted.append((sorted(near), [(1 + (5 * j + k) % 7) / 7 for j in range(len(near))]))
    single = ([120.05, 250.0], [1.0, 0.01])  # low entropy: weighted by Li & Fiehn
    crowded = ([200.0, 200.0004, 200.0008, 200.002], [0.5, 1.0, 0.5, 0.2])  # rivals within one tolerance
    rivals = ([200.0002, 200.0006, 200.0015], [1.0, 1.0, 0.3])
    recorded += [single, crowded, recorded[0], ([305.0, 305.5], [1.0, 0.2])]
    predicted += [([120.05, 250.0, 304.5], [1.0, 0.02, 0.4]), rivals, ([], []), ([305.0, 309.5], [1.0, 0.1])]
    keys = _queries(len(recorded))
    truth = keys.with_columns(_peaks(recorded), precursor_mz=pl.lit(305.0))
    first = keys.select("identifier").with_columns(_peaks(predicted))
    second = keys.select("identifier").with_columns(_peaks(predicted[1:] + predicted[:1]))
    return GoldenTable(spectrum.score, truth, _partial(first, second))


def rankings() -> GoldenTable:
    """Pools of 1 to 150 candidates; the truth alone, tied with few or with all, at the top, in the middle, last."""
    #: candidates, width of the groups that tie, place of the truth
    shapes = ((150, 1, 0), (150, 4, 2), (120, 50, 60), (12, 3, 5), (101, 101, 9), (1, 1, 0), (40, 2, 39), (30, 1, 3))
    truths, scores = [], []
    for k in range(10):
        size, tied, place = shapes[k % len(shapes)]
        pool = [f"{(k * 1000 + 7919 * j) % 99991:05d}" for j in range(size)]
        smiles = [SMILES[(j + k) % 3] for j in range(size)]
        truths.append((pool[place], smiles[place], [*pool, *pool[:1]], [*smiles, *smiles[:1]]))  # one listed twice
        scores.append([(candidate, -float(j // tied)) for j, candidate in enumerate(pool)])
    scores[7][0] = (scores[7][0][0], float("nan"))  # a decoy, worth nothing
    scores[8] = [row for row in scores[8] if row[0] != truths[8][0]]  # without the truth
    scores[9] = scores[9][:-1]  # without a decoy
    columns = ("inchikey14", "smiles", "candidates", "candidate_smiles")
    own = pl.DataFrame(dict(zip(columns, zip(*truths, strict=True), strict=True)))
    truth = _queries(len(truths)).select("identifier").hstack(own)
    rows = [(f"q{k}", *row) for k, listed in enumerate(scores) for row in listed]
    first = pl.DataFrame(rows, schema=["identifier", "candidate", "score"], orient="row")
    return GoldenTable(ranking.score, truth, _partial(first, first.with_columns(-pl.col("score"))))


def fingerprints() -> GoldenTable:
    """Probabilities in steps of 0.01 and so on any round threshold, dense and sparse, all 0, all 0.5, all 1."""
    flat = {6: 0.0, 7: 0.5, 8: 1.0}
    rows = [[flat.get(k, ((37 * i + 11 * k) % 101) / 100 * (i % (k + 1) == 0)) for i in range(BITS)] for k in range(10)]
    keys = _queries(len(rows))
    truth = keys.with_columns(smiles=pl.Series([SMILES[k // 2] for k in range(len(rows))]))
    kind = pl.List(pl.Float32)
    first = keys.select("identifier").with_columns(fingerprint=pl.Series([*rows[:-1], None], dtype=kind))
    second = keys.select("identifier").with_columns(fingerprint=pl.Series(rows[::-1], dtype=kind))
    return GoldenTable(fingerprint.score, truth, _partial(first, second))


def structures() -> GoldenTable:
    """One to twelve structures a query: the truth first, last, tied, absent; texts that do not parse; no structure."""
    pool = (*SMILES, "OCC", "CC(C)O", "C1CC", "c1ccccc1", "CCN", "CCCO", "CNC")
    keys = ("LFQSCWFLJHTTHZ", "ISWSIDIOOBJBQZ", "RZVAJINKPMORJF", "PAFZNILMFXTMIY", "FERIUCNNQQJTOY")
    formulas = ("C2H6O", "C6H6O", "C8H9NO2", "C6H13N", "C4H8O2")
    rows = [
        (f"q{k}", pool[(k // 2 + place * (1 + k % 3)) % len(pool)], -float(place // (1 + k % 2)))
        for k in range(9)
        for place in range(1 + (5 * k) % 12)
    ]
    schema = {"identifier": pl.String, "smiles": pl.String, "score": pl.Float64}
    first = pl.DataFrame([*rows, ("q9", None, None)], schema=schema, orient="row")
    first = first.unique(["identifier", "smiles"], keep="first", maintain_order=True)
    answers = [(f"q{k}", keys[k // 2], SMILES[k // 2], formulas[k // 2]) for k in range(10)]
    truth = pl.DataFrame(answers, schema=["identifier", "inchikey14", "smiles", "formula"], orient="row")
    return GoldenTable(structure.score, truth, _partial(first, first.with_columns(-pl.col("score"))))


def _queries(count: int) -> pl.DataFrame:
    """q0, q1, … of molecules with one to three spectra."""
    molecules = ("A", "A", "B", "C", "C", "C", "D", "E", "E", "F")
    return pl.DataFrame({"identifier": [f"q{k}" for k in range(count)], "inchikey14": molecules[:count]})


def _partial(first: pl.DataFrame, second: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One model does not answer q3, the other neither q0 nor q4."""
    return first.filter(pl.col("identifier") != "q3"), second.filter(~pl.col("identifier").is_in(["q0", "q4"]))


def _peaks(rows: Sequence[tuple[list[float], list[float]]]) -> list[pl.Series]:
    kind = pl.List(pl.Float64)
    return [pl.Series(name, [row[k] for row in rows], dtype=kind) for k, name in enumerate(("mzs", "intensities"))]
