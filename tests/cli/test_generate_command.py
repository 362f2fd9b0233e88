"""`mslitmus generate`: from files to structures and a page, and everything that goes wrong."""

from __future__ import annotations

import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from mslitmus.chem.molecule import formulas
from mslitmus.cli import main
from mslitmus.models import MODELS
from mslitmus.models.protocol import FitContext
from mslitmus.provenance import write_json
from mslitmus.report.generate_page import GeneratePage, _card
from mslitmus.spectra import formats
from mslitmus.studies import generating
from mslitmus.studies.generating import GENERATED, Trust, listed_formulae

pytest.importorskip("torch")

TINY = {"network": {"size": "tiny"}, "beams": 2, "top": 10}
TINY |= {"training": {"epochs": 1, "batch_size": 16, "val_limit": 2}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, spectra_module):
    """A fitted generator of its own."""
    place = tmp_path_factory.mktemp("generator")
    model = MODELS["spectrum-to-smiles"](**TINY)
    model.fit(spectra_module[:40], spectra_module[40:44], FitContext(place, device="cpu", threads=1))
    model.save(place)
    return place


@pytest.fixture(scope="module")
def spectra_module():
    from mslitmus.data.simulate import simulated_dataset

    frame = simulated_dataset().frame()
    return frame.filter(pl.col("formula").str.len_chars() < 9).head(60)


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, spectra_module):
    monkeypatch.chdir(tmp_path)
    unknown = [pl.lit(None, pl.String).alias(name) for name in ("smiles", "inchikey14", "name")]
    formats.write(spectra_module[44:48].with_columns(*unknown), tmp_path / "q.mgf")

    def started(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mslitmus", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        out, err = capsys.readouterr()
        return int(done.value.code or 0), out, " ".join(err.split())

    return started


def cell_of(folder, tmp_path):
    """The same model as a cell whose validation answers score −9 to 0, the better ones nearer to the truth."""
    cell = tmp_path / "run" / "cells" / "scaffold" / "generator" / "seed0"
    cell.mkdir(parents=True)
    (cell / "model").symlink_to(folder)
    task = {"name": "generation", "formula": "given"}
    write_json(cell / "identity.json", {"task": task, "model": "spectrum-to-smiles", "selection_metric": "mol-hit@1"})
    write_json(cell / "cell.json", {"split": "scaffold", "model": "generator", "seed": 0, "kind": "trained"})
    names = [f"v{k}" for k in range(20)]
    scores = {"fold": "val", "identifier": names, "inchikey14": names, "mol-tanimoto@1": np.linspace(0, 1, 20)}
    pl.DataFrame(scores).write_parquet(cell / "scores.parquet")
    answers = {"identifier": names, "smiles": "C", "score": np.linspace(-200, 0, 20)}
    pl.DataFrame(answers).write_parquet(cell / "predictions.parquet")
    return tmp_path / "run"


def read(path) -> pl.DataFrame:
    return pl.read_csv(path, separator="\t", schema_overrides=GENERATED)


def test_structures_and_a_page(call, folder, tmp_path, spectra_module):
    code, out, err = call("generate", "q.mgf", "--model", cell_of(folder, tmp_path), "--top", 2)
    assert code == 0, err
    found = read(tmp_path / "q.structures.tsv")
    assert found.columns == list(GENERATED)
    asked = spectra_module[44:48]
    assert found["identifier"].n_unique() == 4
    assert found["rank"].max() <= 2
    told = dict(zip(asked["identifier"], asked["formula"], strict=True))
    assert all(told[i] == f for i, f in found.select("identifier", "formula").iter_rows())
    assert set(found["formula_from"]) == {"told"}
    assert found.filter(pl.col("rank") == 1)["expected_similarity"].is_between(0, 1).all()
    assert "calibrated on 20 validation queries" in err
    assert "4 queries" in out
    text = (tmp_path / "q.structures.html").read_text("utf-8")
    assert "Structures from spectra" in text
    assert "<svg" in text


def test_a_blend_answers_with_any_formula_and_says_which(call, folder, tmp_path, spectra_module):
    model = MODELS["structure-blend"](members=[{"model": "nearest-structure", "options": {"tiers": ["all"]}}])
    model.check_start(MODELS["spectrum-to-smiles"](**TINY))
    model.start_from(folder)
    report = model.fit(spectra_module[:40], spectra_module[40:44], FitContext(tmp_path / "fit", threads=1))
    assert report.notes["members"] == ["spectrum-to-smiles", "nearest-structure"]
    model.save(tmp_path / "blend")
    code, _, err = call("generate", "q.mgf", "--model", tmp_path / "blend", "--top", 20)
    assert code == 0, err
    assert "this model has 10 places" in err
    found = read(tmp_path / "q.structures.tsv")
    assert found["identifier"].n_unique() == 4
    assert 2 < found["rank"].max() <= 10
    assert found["formula"].to_list() == list(formulas(found["smiles"].to_list()))
    asked = dict(zip(spectra_module[44:48]["identifier"], spectra_module[44:48]["formula"], strict=True))
    told = [asked[name] == formula for name, formula in found.select("identifier", "formula").iter_rows()]
    assert (found["formula_from"] == "told").fill_null(False).to_list() == told
    assert 0 < sum(told) < len(told)
    assert found["score"].is_between(-0.001, 1).all()


def test_more_structures_than_the_model_was_told_to_list(call, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "one")
    options = json.loads((tmp_path / "one" / "options.json").read_text("utf-8"))
    write_json(tmp_path / "one" / "options.json", {**options, "structures": 1})
    for top, limit in ((1, 1), (2, 2), (50, 2)):
        code, _, err = call("generate", "q.mgf", "--model", tmp_path / "one", "--top", top, "--no-page")
        assert code == 0, err
        assert read(tmp_path / "q.structures.tsv")["rank"].max() == limit
        assert ("this model has 2 beams" in err) == (top > 2)


def test_formulae_inferred_or_listed(call, folder, tmp_path, spectra_module):
    code, _, err = call("generate", "q.mgf", "--model", folder, "--formula", "inferred", "--out", "s.parquet")
    assert code == 0, err
    found = pl.read_parquet(tmp_path / "s.parquet")
    assert set(found["formula_from"].drop_nulls()) == {"inferred"}
    assert found["confident"].drop_nulls().not_().all()
    assert "nothing to judge by" in err
    names = spectra_module[44:48]["identifier"].to_list()
    pl.DataFrame({"identifier": names, "formula": "C2H6O"}).write_csv(tmp_path / "f.csv")
    code, _, err = call("generate", "q.mgf", "--model", folder, "--formula", "f.csv", "--min-score", 1, "--no-page")
    assert code == 0, err
    found = read(tmp_path / "q.structures.tsv")
    assert set(found["smiles"].drop_nulls()) <= {"CCO", "COC"}
    assert not found["confident"].any()
    assert listed_formulae(tmp_path / "f.csv")[names[0]] == "C2H6O"


def test_predicted_spectra_beside_the_structures(call, folder, tmp_path, spectra_module):
    predictor = MODELS["neural"](trunk={"width": 16, "layers": 1}, training={"epochs": 1, "batch_size": 32})
    predictor.fit(spectra_module[:40], spectra_module[40:44], FitContext(tmp_path / "p", device="cpu", threads=1))
    predictor.save(tmp_path / "predictor")
    code, _, err = call("generate", "q.mgf", "--model", folder, "--predictor", "predictor", "--top", 2)
    assert code == 0, err
    found = read(tmp_path / "q.structures.tsv")
    first = found.filter(pl.col("rank") == 1)
    assert first["repredicted"].is_between(0, 1).all()
    assert first["repredicted"].null_count() == 0
    assert found.filter(pl.col("rank") == 2)["repredicted"].null_count() == found.height - first.height
    assert "Spectra predicted by" in (tmp_path / "q.structures.html").read_text("utf-8")


def test_a_model_that_guesses_formulae_takes_told_ones_for_true(call, folder, tmp_path, spectra_module):
    """The same weights, `formula: predicted`: told in the record, else guessed by the model."""
    guessing = tmp_path / "guessing"
    guessing.mkdir()
    for name in ("vocabulary.json", "weights.pt", "formulas.json"):
        (guessing / name).symlink_to(folder / name)
    options = json.loads((folder / "options.json").read_text())
    write_json(guessing / "options.json", {**options, "formula": "predicted", "guesses": 2})
    answers = {}
    for asked in ("record", "inferred"):
        code, _, err = call("generate", "q.mgf", "--model", guessing, "--formula", asked, "--no-page")
        assert code == 0, err
        answers[asked] = read(tmp_path / "q.structures.tsv").drop_nulls("smiles")
    told = dict(spectra_module[44:48].select("identifier", "formula").iter_rows())
    assert set(answers["record"]["formula_from"]) == {"told"}
    assert answers["record"]["formula"].to_list() == [told[name] for name in answers["record"]["identifier"]]
    assert set(answers["inferred"]["formula_from"]) == {"inferred"}
    assert answers["inferred"]["formula"].to_list() == formulas(answers["inferred"]["smiles"].to_list())


def test_the_lead_of_a_guess_stands_beside_its_own_structures(spectra_module):
    class Guesses:
        options = SimpleNamespace(formula="predicted")

        def predict(self, queries):
            two = pl.DataFrame({"smiles": ["CCO", "CCN"], "score": [-1.0, -2.0]})
            return queries.select("identifier").join(two, how="cross")

    class Inferred:
        def add(self, frame):
            told = {"formula": pl.lit("C2H6O"), "formula_from": pl.lit("inferred"), "formula_lead": pl.lit(1.5)}
            return frame.with_columns(**told)

    asking = generating.Generating(Guesses(), None, Trust(), Inferred())
    queries, found = asking.answer(spectra_module[:1])
    assert found.select("formula", "formula_lead").rows() == [("C2H6O", 1.5), ("C2H7N", None)]
    page = GeneratePage("q", ())
    page.add(queries, found)
    drawn = _card(*page._drawn[0], {found["identifier"][0]: "q1"}).answers
    assert [told for _, _, told in drawn] == ["\N{MINUS SIGN}1.000", "\N{MINUS SIGN}2.000, C2H7N"]


def test_a_masked_model_guesses_formulae_without_peaks(folder, tmp_path):
    for name in ("vocabulary.json", "weights.pt", "formulas.json"):
        (tmp_path / name).symlink_to(folder / name)
    options = json.loads((folder / "options.json").read_text())
    seen = []
    for blind in (True, False):
        write_json(tmp_path / "options.json", {**options, "blind": blind})
        asking = generating.open_generating(tmp_path, None, "inferred", (0.5, None), None, 10)
        assert asking.formulae is not None
        seen.append(asking.formulae.options.peaks)
    assert seen == [0.0, 5.0]


def test_what_is_wrong_is_said(call, folder, tmp_path):
    assert "no format is known" in call("generate", "q.mgf", "--model", folder, "--out", "x.docx")[2]
    assert "no such file" in call("generate", "absent.mgf", "--model", folder)[2]
    assert "no finished model" in call("generate", "q.mgf", "--model", tmp_path)[2]
    (tmp_path / "bad.tsv").write_text("a\tb\n1\t2\n")
    assert "no table of formulae" in call("generate", "q.mgf", "--model", folder, "--formula", "bad.tsv")[2]


def test_interrupted_it_keeps_what_was_done(call, folder, tmp_path, monkeypatch):
    from mslitmus.cli import generate

    monkeypatch.setattr(generate, "_BATCH", 2)
    answer = generating.Generating.answer

    def twice(self, frame):
        if self.asked:
            raise KeyboardInterrupt
        return answer(self, frame)

    monkeypatch.setattr(generating.Generating, "answer", twice)
    code, _, err = call("generate", "q.mgf", "--model", folder)
    assert code == 130
    assert "Interrupted after 2 queries" in err
    assert read(tmp_path / "q.structures.tsv")["identifier"].n_unique() == 2
    assert "NOT COMPLETE" in (tmp_path / "q.structures.html").read_text("utf-8")


def test_trust():
    assert Trust().of(1.0) == (None, None)
    assert Trust(least_score=0.0).of(-1.0) == (None, False)
    assert Trust().of(None) == (None, False)
