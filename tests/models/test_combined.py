"""library-combined: which spectra its learner is shown, beside which answers its margin is calibrated."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.models.embed.library_combined import LibraryCombined
from mslitmus.models.protocol import FitContext, FitReport
from mslitmus.tasks.library_search import LibrarySearch

pytest.importorskip("sklearn")


class Embedder:
    """Notes what it was trained on and which library spectra were compared, call by call."""

    def __init__(self):
        self.met, self.compared = set(), []

    def fit(self, train, val, context):
        self.met = set(train.filter(pl.col("inchikey14").is_not_null())["identifier"])
        return FitReport(0.0)

    def similarity(self, queries, rows, query, candidate):
        self.compared.append(set(rows.gather(candidate)))
        return np.zeros(len(query))

    def parameters(self):
        return 0


@pytest.fixture
def records() -> pl.DataFrame:
    """Twelve isomers, three spectra each: peaks of their own and a common one."""
    rows = [
        {
            "identifier": f"{molecule:02}-{copy}", "mzs": [50.0, 60.0 + molecule, 100.0],
            "intensities": [0.3 + 0.1 * copy, 1.0, 0.2], "precursor_mz": 100.0, "adduct": "[M+H]+", "charge": 1,
            "ion_mode": "positive", "instrument_type": "QTOF", "fragmentation": "CID", "collision_energy": 20.0,
            "collision_energy_kind": "eV", "smiles": "CCCO", "inchikey14": f"{molecule:014}", "formula": "C3H8O",
            "source": f"lab {copy}",
        }
        for molecule in range(12)
        for copy in range(3)
    ]  # fmt: skip
    return pl.DataFrame(rows)


def fitted(records: pl.DataFrame, train: pl.DataFrame, val: pl.DataFrame, folder, embedder=None, **options):
    task = LibrarySearch(leave_out="spectrum").over(records, val["identifier"], lambda line: None)

    def score(predictions, rows):
        return float(task.score(predictions, task.truth(rows), ["hit@1"])["hit@1"].mean())

    model = LibraryCombined(learner="logistic", penalty=[1.0], leave_out="spectrum", **options)
    model._embedder = embedder
    context = FitContext(folder, 0, score, progress=lambda line: None)
    return model, model.fit(task.training_view(train), task.training_view(task.asked(val)), context)


@pytest.mark.parametrize("rivals", ["all", "unmet"])
def test_rivals_of_the_pools_are_met_or_not(records, tmp_path, rivals):
    here = pl.col("inchikey14").is_in([f"{molecule:014}" for molecule in range(8)])
    embedder = Embedder()
    fitted(records, records.filter(here), records.filter(~here), tmp_path, embedder, rivals=rivals)
    learned_from = embedder.compared[0]
    assert bool(learned_from & embedder.met) is (rivals == "all")
    assert learned_from - embedder.met


def test_an_answer_in_the_training_fold_counts_in_the_calibration(records, tmp_path):
    last = pl.col("identifier").str.ends_with("-2")
    train = records.filter(~last & (pl.col("inchikey14") != f"{11:014}"))
    val = records.filter(last)
    model, report = fitted(train.vstack(val), train, val, tmp_path)
    assert report.best_score == pytest.approx(11 / 12)
    assert model._platt != (1.0, 0.0)  # which stands where all answers are alike: eleven are right, one cannot be
