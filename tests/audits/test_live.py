"""Live audits on planted liars and honest toy models: what is caught, what passes, what cannot be told."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import live_world as toy
import numpy as np
import polars as pl
import pytest

from mslitmus.audits import AUDITS, Absent
from mslitmus.audits.evidence import CellKey
from mslitmus.audits.live import peaks, swaps
from mslitmus.audits.live.answers import distances
from mslitmus.audits.live.changes import COLUMNS, table
from mslitmus.audits.live.connect import ask_command, ask_object, askable
from mslitmus.chem.molecule import inchikey14
from mslitmus.chem.spelling import respelled, respelled_column
from mslitmus.errors import ConfigError, MissingExtraError, ModelError


def found(audit: str, task: str, predict, **more) -> list:
    return AUDITS[audit](toy.evidence(task, predict, **more))


def said(audit: str, task: str, predict, **more) -> list[tuple[str, str]]:
    return [(f.severity, f.claim) for f in found(audit, task, predict, **more)]


# -- spectrum ablation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "predict"), [("fingerprint", toy.honest), ("retrieval", toy.honest_ranker)])
def test_a_reader_of_spectra_passes(task, predict):
    findings = said("spectrum-ablation", task, predict)
    assert ("pass", "m on split molecule, seed 0 reads its spectrum") in findings
    assert {severity for severity, _ in findings} <= {"pass", "note"}


def test_a_model_that_ignores_its_spectrum_is_caught():
    ((severity, claim),) = said("spectrum-ablation", "fingerprint", toy.of_precursor)
    assert (severity, "does not read its spectrum" in claim) == ("fatal", True)


def test_a_neighbour_that_ignores_its_spectrum_is_a_warning_and_a_blind_model_is_not_asked():
    assert said("spectrum-ablation", "fingerprint", toy.of_precursor, kind="neighbour")[0][0] == "warning"
    with pytest.raises(Absent, match="by design"):
        found("spectrum-ablation", "fingerprint", toy.of_precursor, kind="blind")


def test_another_model_on_the_same_evidence_is_asked_anew():
    given = toy.evidence("fingerprint", toy.of_precursor)
    assert AUDITS["spectrum-ablation"](given)[0].severity == "fatal"
    other = replace(given, open_model=lambda key: toy.honest)
    assert AUDITS["spectrum-ablation"](other)[0].severity == "pass"


def test_blindness_to_intensities_is_told():
    findings = said("spectrum-ablation", "fingerprint", toy.intensity_blind)
    assert [severity for severity, claim in findings if "blind to intensities" in claim] == ["warning"]
    assert not any("blind to intensities" in claim for _, claim in said("spectrum-ablation", "fingerprint", toy.honest))


def test_a_hybrid_that_mostly_ignores_its_spectrum_is_caught():
    def hybrid(queries: pl.DataFrame) -> pl.DataFrame:  # the spectrum moves every answer, and decides nothing
        blind = toy.of_precursor(queries)["fingerprint"].to_list()
        return toy.as_answer(queries, 0.95 * np.array(blind) + 0.02 * toy.lookup(queries))

    ((severity, claim),) = said("spectrum-ablation", "fingerprint", hybrid)
    assert (severity, "does not come from its spectrum" in claim) == ("fatal", True)


def test_what_was_measured_is_a_table():
    evidence = toy.evidence("fingerprint", toy.honest)
    AUDITS["spectrum-ablation"](evidence)
    rows = table(evidence)
    assert rows.schema == COLUMNS
    random = rows.filter(pl.col("edit") == "of another query").row(0, named=True)
    assert random["n"] == toy.COUNT
    assert random["after"] - random["before"] == pytest.approx(random["change"])
    assert random["low"] < random["change"] < random["high"] < 0


def test_a_refusal_is_told_and_not_raised():
    def picky(queries: pl.DataFrame) -> pl.DataFrame:
        if queries["mzs"].list.len().min() == 0:
            raise ValueError("no peaks")
        return toy.honest(queries)

    first = found("spectrum-ablation", "fingerprint", picky)[0]
    assert (first.severity, "without any peak: refused (ValueError: no peaks)" in first.evidence) == ("pass", True)


# -- molecule ablation ---------------------------------------------------------------------------------------------


def test_a_spectrum_predictor_that_echoes_the_precursor_is_caught():
    ((severity, claim),) = said("molecule-ablation", "spectrum-prediction", toy.echo)
    assert (severity, "does not read its molecule" in claim) == ("fatal", True)
    assert said("molecule-ablation", "spectrum-prediction", toy.copied_spectra)[0][0] == "pass"
    with pytest.raises(Absent, match="bring a molecule"):
        found("molecule-ablation", "fingerprint", toy.honest)
    with pytest.raises(Absent, match="bring a spectrum"):
        found("spectrum-ablation", "spectrum-prediction", toy.echo)


# -- metadata ------------------------------------------------------------------------------------------------------


def test_identifiers_that_decide_are_fatal():
    severity, claim = said("metadata", "fingerprint", toy.of_identifier)[0]
    assert (severity, "identifiers decide" in claim) == ("fatal", True)
    assert said("spectrum-ablation", "fingerprint", toy.of_identifier)[0][0] == "fatal"


def test_hidden_columns_that_are_read_are_told():
    assert ("warning", True) in [
        (s, "columns that the task hides" in c) for s, c in said("metadata", "fingerprint", toy.peeking)
    ]


def test_skill_that_hangs_on_the_instrument_is_told():
    known = dict(toy.world().select("precursor_mz", "instrument_type").iter_rows())

    def hanging(queries: pl.DataFrame) -> pl.DataFrame:
        right = [known[mz] == kind for mz, kind in queries.select("precursor_mz", "instrument_type").iter_rows()]
        return toy.as_answer(queries, toy.lookup(queries) * np.array(right)[:, None])

    assert any(s == "warning" and "to the instrument" in c for s, c in said("metadata", "fingerprint", hanging))


@pytest.mark.parametrize(
    ("task", "predict"),
    [("fingerprint", toy.honest), ("retrieval", toy.honest_ranker), ("spectrum-prediction", toy.copied_spectra)],
)
def test_honest_models_pass_metadata_and_batching(task, predict):
    assert {severity for severity, _ in said("metadata", task, predict)} == {"pass", "note"}
    assert {severity for severity, _ in said("batching", task, predict)} == {"pass"}


# -- batching ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "predict", "how"),
    [
        ("fingerprint", toy.padded, "alone"),
        ("fingerprint", toy.by_row, "order of rows"),
        ("retrieval", toy.positional, "candidates in another order"),
        ("retrieval", toy.speller, "spelled"),
    ],
)
def test_answers_that_depend_on_how_they_are_asked_are_fatal(task, predict, how):
    fatal = [claim for severity, claim in said("batching", task, predict) if severity == "fatal"]
    assert len(fatal) == 1
    assert how in fatal[0]


@pytest.mark.parametrize(("predict", "worst"), [(toy.honest, "pass"), (toy.padded, "fatal")])
def test_company_is_not_judged_itself(predict, worst, monkeypatch):
    from mslitmus.audits import batching

    monkeypatch.setattr(batching, "MOLECULES", 20)  # as many others as are asked: the fold holds 40
    assert {severity for severity, _ in said("batching", "fingerprint", predict)} == {worst}


def test_a_model_that_draws_is_told_apart():
    ((severity, claim),) = said("batching", "fingerprint", toy.drawing())
    assert (severity, "differently each time" in claim) == ("warning", True)


def test_predictions_of_another_model_are_noticed():
    def other(key: CellKey) -> pl.DataFrame:
        return toy.intensity_blind(toy.task("fingerprint").queries(toy.folds()["test"])).with_columns(
            fingerprint=pl.lit([0.0] * 2048, pl.List(pl.Float32))
        )

    claims = [c for s, c in said("batching", "fingerprint", toy.honest, read_predictions=other) if s == "warning"]
    assert claims == ["m on split molecule, seed 0 does not give the predictions that it was scored by"]

    def same(key: CellKey) -> pl.DataFrame:
        return toy.honest(toy.task("fingerprint").queries(toy.folds()["test"]))

    assert {s for s, _ in said("batching", "fingerprint", toy.honest, read_predictions=same)} == {"pass"}


# -- noise ---------------------------------------------------------------------------------------------------------


def test_dose_and_response():
    assert said("noise", "fingerprint", toy.honest)[0][0] == "pass"
    assert any("brittle" in c for s, c in said("noise", "fingerprint", toy.exact_only) if s == "warning")
    assert any("destroyed" in c for s, c in said("noise", "fingerprint", toy.of_precursor) if s == "warning")


# -- who can be asked ----------------------------------------------------------------------------------------------


def test_models_that_cannot_be_asked_are_named():
    evidence = toy.evidence("fingerprint", toy.honest)
    two = {**evidence.cells, CellKey("molecule", "filed", 0): {}}
    from dataclasses import replace

    notes = [f for f in AUDITS["spectrum-ablation"](replace(evidence, cells=two)) if "cannot be asked" in f.claim]
    assert (notes[0].severity, "filed on split molecule" in notes[0].evidence) == ("note", True)
    with pytest.raises(Absent, match="file of predictions"):
        found("spectrum-ablation", "fingerprint", None)


def test_a_file_and_a_draw_are_no_models():
    options = SimpleNamespace(predictions="x.parquet")
    with pytest.raises(Absent, match="file of predictions"):
        askable(SimpleNamespace(options=options, predict=toy.honest), "m")
    inner = SimpleNamespace(options=SimpleNamespace(choose="random"))
    with pytest.raises(Absent, match="by chance"):
        askable(SimpleNamespace(inner=inner, predict=toy.honest), "m")
    assert askable(SimpleNamespace(predict=toy.honest), "m") is toy.honest


SCRIPT = """import sys
import polars as pl
queries = pl.read_parquet(sys.argv[1])
queries.select("identifier", bits=pl.col("mzs").list.eval(pl.element().floor().cast(pl.Int64) % 2048).list.unique()
    ).write_parquet(sys.argv[2])
"""


def test_a_command_is_a_model(tmp_path):
    (tmp_path / "my model.py").write_text(SCRIPT)
    task, line = toy.task("fingerprint"), f'{sys.executable} "{tmp_path / "my model.py"}" {{queries}} {{predictions}}'
    ask = ask_command(line, task, tmp_path / "asked")
    queries = task.queries(toy.folds()["test"].head(3))
    answer = ask(queries)
    assert answer["identifier"].to_list() == queries["identifier"].to_list()
    assert task.check(answer, queries).height == 3
    assert not list((tmp_path / "asked").glob("question-*"))
    with pytest.raises(ModelError, match="wrote no answer"):
        ask_command(f"{sys.executable} -c 1 {{queries}} {{out}}", task, tmp_path)(queries)
    with pytest.raises(ConfigError, match="needs"):
        ask_command("python my_model.py", task, tmp_path)


def test_an_object_is_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy_object.py").write_text(
        "class Model:\n    task = 'fingerprint'\n    def predict(self, queries):\n        return queries\n"
        "one = Model()\ntwo = one.predict\nnothing = 3\n"
    )
    (tmp_path / "toy_needy.py").write_text("import no_such_package\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    task, queries = toy.task("fingerprint"), pl.DataFrame({"identifier": ["a"]})
    for name in ("Model", "one", "two"):
        assert ask_object(f"toy_object:{name}", task)(queries).equals(queries)
    for name, match in (
        ("toy_object", "names no object"), ("no_such_module:x", "no module"), ("toy_object:y", "has no 'y'"),
        ("toy_object:nothing", "no predict"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=match):
            ask_object(name, task)
    with pytest.raises(ConfigError, match="not 'retrieval'"):
        ask_object("toy_object:one", toy.task("retrieval"))
    with pytest.raises(MissingExtraError, match="no_such_package"):
        ask_object("toy_needy:x", task)


# -- edits and distances -------------------------------------------------------------------------------------------


def test_edits_keep_spectra_whole():
    queries = toy.task("fingerprint").queries(toy.folds()["test"])
    for edited in (
        peaks.permuted(queries, 0), peaks.binarised(queries), peaks.strongest(queries, 5), peaks.shifted(queries, 0.5),
        peaks.noisy(queries, 10, 0.002, 0.05, 0), peaks.mz_jitter(queries, 20, 0), peaks.dropout(queries, 0.95, 0),
        peaks.intensity_jitter(queries, 0.3, 0), peaks.zero_padded(queries, 4), peaks.precursor_only(queries),
    ):  # fmt: skip
        assert edited.schema == queries.schema
        assert (edited["mzs"].list.len() == edited["intensities"].list.len()).all()
        assert edited["mzs"].list.diff(null_behavior="drop").list.min().fill_null(0).min() >= 0
        assert edited["intensities"].list.max().to_list() == pytest.approx([1.0] * queries.height)
        assert edited.drop("mzs", "intensities").equals(queries.drop("mzs", "intensities"))
    assert peaks.strongest(queries, 5)["mzs"].list.len().unique().to_list() == [5]
    assert peaks.noisy(queries, 10, 0.002, 0.05, 0)["mzs"].list.len().unique().to_list() == [24]
    assert peaks.empty(queries)["mzs"].list.len().sum() == 0
    one = peaks.permuted(queries, 0)
    assert one["mzs"].to_list() == queries["mzs"].to_list()
    heights = (np.array([sorted(i) for i in frame["intensities"]]) for frame in (one, queries))
    np.testing.assert_allclose(*heights, rtol=1e-6)
    assert sorted(peaks.shuffled(queries, 0)["mzs"][0]) == pytest.approx(queries["mzs"][0].to_list())


def test_donors_are_other_molecules():
    rows = toy.folds()["test"]
    for common in ("nothing", "formula", "mass"):
        chosen = swaps.donors(rows, rows, common, 0)
        has = chosen >= 0
        given = rows[chosen[has]]
        own = rows.filter(pl.Series(has))
        assert has.sum() > 10
        assert not (given["inchikey14"] == own["inchikey14"]).any()
        assert common != "formula" or (given["formula"] == own["formula"]).all()
        assert common != "mass" or ((given["precursor_mz"] - own["precursor_mz"]).abs().max() <= 5)
    swapped = swaps.another_value(rows, ("instrument_type",), 0)
    assert not (swapped["instrument_type"] == rows["instrument_type"]).any()
    assert swaps.another_value(rows, ("adduct",), 0).is_empty()  # all have the one adduct


def test_other_spellings_are_the_same_molecule():
    column = pl.Series("smiles", [["c1ccccc1CCO", "CC(=O)O"], ["CC(=O)O"]])
    other = respelled_column(column)
    assert other.dtype == column.dtype
    assert [[inchikey14(s) for s in row] for row in other] == [[inchikey14(s) for s in row] for row in column]
    assert respelled(["CC(=O)Nc1ccc(O)cc1"]) != ["CC(=O)Nc1ccc(O)cc1"]


def test_distances_between_answers():
    names = pl.Series("identifier", ["a", "b", "c"])
    one = pl.DataFrame({"identifier": ["a", "b"], "fingerprint": [[0.1, 0.9], [0.0, 1.0]]})
    two = pl.DataFrame({"identifier": ["a", "c"], "fingerprint": [[0.1, 0.4], [0.0, 1.0]]})
    assert distances(one, two, names).to_list() == pytest.approx([0.5, 1.0, 1.0])
    scores = pl.DataFrame({"identifier": ["a"] * 3, "candidate": ["x", "y", "z"], "score": [1.0, 2.0, 5.0]})
    assert distances(scores, scores.reverse(), names).to_list() == [0, 0, 0]
    assert distances(scores, scores.with_columns(pl.col("score").replace(5.0, 4.0)), names)[0] == pytest.approx(0.25)
    assert distances(scores, scores.head(2), names)[0] == 1
    spectra = pl.DataFrame(
        {"identifier": ["a", "b"], "mzs": [[50.0, 60.0], [70.0]], "intensities": [[1.0, 1.0], [1.0]]}
    )
    half = spectra.with_columns(mzs=pl.Series([[50.0, 61.0], [70.0]]))
    assert distances(spectra, half, names).to_list() == pytest.approx([0.5, 0.0, 0.0])
    texts = pl.DataFrame({"identifier": ["a", "a"], "smiles": ["C", "CC"]})
    assert distances(texts, texts, names)[0] == 0
    assert distances(texts, texts.head(1), names)[0] == 1
