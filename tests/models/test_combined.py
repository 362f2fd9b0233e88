"""library-combined: which spectra its learner is shown, beside which answers its margin is calibrated."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from mslitmus.models.embed import pair_features
from mslitmus.models.embed.library_combined import LibraryCombined
from mslitmus.models.embed.trees import limited
from mslitmus.models.protocol import FitContext, FitReport
from mslitmus.search.pairs import Pairs
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


def fitted(
    records: pl.DataFrame, train: pl.DataFrame, val: pl.DataFrame, folder, embedder=None, threads=None, **options
):
    task = LibrarySearch(leave_out="spectrum").over(records, val["identifier"], lambda line: None)

    def score(predictions, rows):
        return float(task.score(predictions, task.truth(rows), ["hit@1"])["hit@1"].mean())

    model = LibraryCombined(learner="logistic", penalty=[1.0], leave_out="spectrum", **options)
    model._embedder = embedder
    context = FitContext(folder, 0, score, progress=lambda line: None, threads=threads)
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
    assert (report.notes["calibrated_on"], report.notes["of_unknown_molecule"]) == (12, 0)


def test_a_hidden_first_candidate_is_wrong_only_where_the_folds_share_no_molecule(records, tmp_path):
    """Copy 3 of each molecule is in the test fold: it looks most like the validation query, and nobody is told."""
    fourth = records.filter(pl.col("identifier").str.ends_with("-2")).with_columns(
        identifier=pl.col("identifier").str.replace("-2", "-3")
    )
    whole = records.vstack(fourth)
    last = pl.col("identifier").str.ends_with("-2")
    _, report = fitted(whole, records.filter(~last), records.filter(last), tmp_path)
    assert report.notes["calibrated_on"] == 0
    assert report.notes["of_unknown_molecule"] == 12
    few = pl.col("inchikey14") >= f"{8:014}"
    _, report = fitted(whole, whole.filter(~few), records.filter(few & last), tmp_path)  # all other copies are hidden
    assert (report.notes["calibrated_on"], report.notes["of_unknown_molecule"]) == (4, 0)


def test_threads_are_those_of_the_context(records, tmp_path, monkeypatch):
    asked = []
    measure = pair_features.measure_pairs
    monkeypatch.setattr(pair_features, "measure_pairs", lambda *a: (asked.append(a[4]), measure(*a))[1])
    last = pl.col("identifier").str.ends_with("-2")
    model, _ = fitted(records, records.filter(~last), records.filter(last), tmp_path, threads=1)
    assert set(asked) == {1}
    from threadpoolctl import threadpool_info

    with limited(1):
        assert {each["num_threads"] for each in threadpool_info()} <= {1}
    model.save(tmp_path / "m")
    told = json.loads((tmp_path / "m" / "chosen.json").read_text())
    assert LibraryCombined.load(tmp_path / "m")._any_unit is False
    del told["any_unit"]  # as an earlier version wrote it: it learned from numbers of any unit, and answers by them
    (tmp_path / "m" / "chosen.json").write_text(json.dumps(told))
    assert LibraryCombined.load(tmp_path / "m")._any_unit is True


def test_energies_are_apart_in_one_unit_only():
    kinds = ["eV", "NCE", "resonant-%", "unitless", None]
    frame = pl.DataFrame(
        {"collision_energy": [10.0, 10.0, 35.0, 35.0, 10.0], "collision_energy_kind": kinds, "instrument_type": "QTOF"}
    )
    query, row = (v.ravel() for v in np.meshgrid(np.arange(5), np.arange(5), indexing="ij"))
    apart, known, *_ = pair_features._conditions(frame, frame, Pairs(query, row))
    in_ev = np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    assert known.reshape(5, 5).tolist() == in_ev.tolist()  # NCE is stored in eV
    assert not apart.any()
    assert pair_features._conditions(frame, frame, Pairs(query, row), any_unit=True)[1].all()
