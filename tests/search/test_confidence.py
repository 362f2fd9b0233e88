"""Confidence of a library search: decoys, false discovery rates, calibration, all on a made-up library."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from mslitmus.chem.molecule import identify
from mslitmus.cli.app import app
from mslitmus.data import store
from mslitmus.data.ledger import Ledger, LedgerEntry
from mslitmus.errors import ConfigError, DataError
from mslitmus.schemas import HITS, SPECTRA, conform
from mslitmus.search import confidence
from mslitmus.search.decoys import METHODS, decoys
from mslitmus.search.evaluation import evaluate
from mslitmus.search.fdr import against_truth, competed, expected, second_ranked
from mslitmus.search.first_places import first_places
from mslitmus.search.isomers import by_group, by_isomer, isomers
from mslitmus.search.left_out import LeftOut
from mslitmus.search.libraries import Part, Reference
from mslitmus.search.searching import Search, stream
from mslitmus.search.settings import doubts, refuse_another_score, settings
from mslitmus.search.windows import Window
from mslitmus.spectra.library import Library, Scoring


def library(molecules: int = 150, spectra: int = 3, noise: float = 0.5, seed: int = 0) -> pl.DataFrame:
    """Groups of five isomers that share half of their fragments; every spectrum adds its own peaks. A third of the
    molecules has one spectrum only, so that the library cannot answer it."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(molecules):
        group = number // 5
        shared = np.random.default_rng(1000 + group).uniform(50, 180, 6)
        own = np.random.default_rng(5000 + number).uniform(50, 180, 4)
        precursor = 200.0 + group
        for copy in range(1 if number % 3 == 0 else spectra):
            extra = rng.uniform(50, 180, rng.integers(0, 8))
            mzs = np.concatenate([shared, own, extra, [precursor]])
            heights = np.concatenate([rng.uniform(0.1, 1, 10), noise * rng.uniform(0, 1, extra.size), [0.5]])
            order = np.argsort(mzs)
            rows.append(
                {
                    "identifier": f"{number:03d}-{copy}", "mzs": mzs[order], "intensities": heights[order],
                    "precursor_mz": precursor, "adduct": "[M+H]+", "inchikey14": f"{number:014d}",
                    "smiles": "C", "name": f"m{number}", "formula": "C", "source": "xy"[copy % 2],
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


@pytest.fixture(scope="module")
def asked() -> LeftOut:
    return LeftOut.make(library(), Scoring("entropy", "0.02Da"), Window())


@pytest.fixture(scope="module")
def found(asked):
    return evaluate(asked, calibration=0.5, progress=lambda line: None)


@pytest.mark.parametrize("method", METHODS)
def test_decoys_keep_precursors_and_numbers_of_peaks(method):
    records = library(30)
    made = decoys(records, method, seed=1)
    assert made["identifier"].to_list() == records["identifier"].to_list()
    assert made["precursor_mz"].to_list() == records["precursor_mz"].to_list()
    assert (made["mzs"].list.len() <= records["mzs"].list.len()).all()
    assert (made["mzs"].list.len() >= records["mzs"].list.len() - 1).mean() > 0.9
    assert made.select((pl.col("mzs").list.max() == pl.col("precursor_mz")).all()).item()
    assert made.select((pl.col("mzs").list.diff(null_behavior="drop").list.min() >= 0).all()).item()
    assert not made["mzs"].equals(records["mzs"])


@pytest.mark.parametrize("method", METHODS)
def test_decoys_depend_on_the_seed_and_not_on_the_order(method):
    records = library(20)
    turned = decoys(records.reverse(), method, seed=1).reverse()
    assert turned.equals(decoys(records, method, seed=1))
    assert not turned["mzs"].equals(decoys(records, method, seed=2)["mzs"])


def test_a_decoy_takes_nothing_from_its_own_molecule():
    records = library(2, 3).with_columns(inchikey14=pl.lit("A" * 14))
    made = decoys(records, "resampled")
    assert made["mzs"].list.len().to_list() == [1] * made.height  # the precursor alone


def test_an_unknown_method_is_named():
    with pytest.raises(ConfigError, match="unknown decoy method 'shiftd'"):
        decoys(library(2), "shiftd")


def test_competition_counts_decoys():
    target, decoy = np.array([0.9, 0.8, 0.7, 0.6, 0.0]), np.array([0.1, 0.2, 0.75, 0.3, 0.0])
    q = competed(target, decoy)
    assert np.isnan(q[[2, 4]]).all()
    assert q[[0, 1, 3]] == pytest.approx([0.5, 0.5, 2 / 3])  # (0 + 1) / 2 at 0.8, (1 + 1) / 3 at 0.6


def test_second_places_and_probabilities():
    q = second_ranked(np.array([0.9, 0.8, 0.0]), np.array([0.85, 0.1, 0.0]))
    assert q[:2] == pytest.approx([0.0, 0.5])
    q = expected(np.array([0.9, 0.5, np.nan, 0.9]))
    assert q[[0, 1, 3]] == pytest.approx([0.1, 0.7 / 3, 0.1])


def test_what_was_accepted_is_compared_with_the_truth():
    q, right = np.array([0.01, 0.04, 0.2, np.nan]), np.array([True, False, True, False])
    table = against_truth(q, right, np.array(list("abcd")), (0.001, 0.05, 0.2))
    assert table["accepted"].to_list() == [0, 2, 3]
    assert table["true"].to_list() == [None, 0.5, pytest.approx(1 / 3)]
    assert table["estimated"].to_list() == [None, 0.04, 0.2]


def test_hits_per_spectrum_and_per_molecule_have_the_same_first_place():
    rows = [("q", 1, "a1", 0.9, "A"), ("q", 2, "a2", 0.8, "A"), ("q", 3, "b1", 0.5, "B"), ("r", 1, "c", 0.4, None)]
    hits = _hits(rows)
    answers = first_places(hits)
    assert answers["molecule"].to_list()[0] == "A"
    assert answers["second"].to_list() == [0.5, None]
    assert answers["lead"].to_list() == pytest.approx([0.4, 0.2])
    assert first_places(hits.filter(pl.col("library_identifier") != "a2")).equals(answers)


def _hits(rows) -> pl.DataFrame:
    table = pl.DataFrame(rows, schema=["identifier", "rank", "library_identifier", "score", "inchikey14"], orient="row")
    table = table.with_columns(library=pl.lit("lib"), matched_peaks=pl.lit(4))
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in HITS.items() if name not in table.columns]
    return conform(table.with_columns(absent), HITS)


def test_left_out_answers_are_judged(asked):
    answers = asked.answers()
    hits = asked.hits()
    assert (hits["identifier"] != hits["library_identifier"]).all()
    alone = answers.filter(pl.col("inchikey14").str.tail(3).cast(pl.Int64) % 3 == 0)
    assert not alone["answerable"].any()
    assert not alone["right"].any()
    assert answers.filter("answerable")["right"].mean() > 0.6


def test_probabilities_hold_and_tell_right_from_wrong(found):
    assert found.summary["calibration_error"] < 0.12
    auc = dict(found.signs.select("sign", "auc").iter_rows())
    assert auc["probability"] > 0.85
    answerable = found.strata.filter((pl.col("stratum") == "answerable") & (pl.col("average") == "spectrum"))
    assert answerable["ceiling"].item() == 1.0
    assert answerable["top1"].item() > answerable["chance"].item()
    assert set(found.rates["method"]) == {"q_value", "calibrated", "second-rank", *METHODS}
    calibrated = found.rates.filter((pl.col("method") == "calibrated") & (pl.col("level") == 0.2))
    assert abs(calibrated["true"].item() - calibrated["estimated"].item()) < 0.12


def test_a_confidence_is_saved_and_fills_hits(found, asked, tmp_path):
    found.confidence.save(tmp_path / "c.json")
    again = confidence.load(tmp_path / "c.json")
    hits = asked.hits().head(40)
    filled = again.apply(hits)
    assert filled.schema == hits.schema
    first = filled.filter(pl.col("rank") == 1)
    assert first["probability"].null_count() == first["q_value"].null_count() == 0
    assert first["probability"].is_between(0, 1, closed="none").all()
    assert filled.filter(pl.col("rank") > 1)["probability"].null_count() == filled.height - first.height
    assert filled.equals(found.confidence.apply(hits))
    assert again.apply(hits.head(0)).is_empty()
    surest = first.sort("probability")
    assert surest["q_value"].is_sorted(descending=True)


def test_the_shape_of_the_hits_does_not_move_the_confidence(found):
    """It reads the second molecule, also where hits are spectra, few, or of many matched peaks only."""
    frame = conform(library(80).with_columns(ion_mode=pl.lit("positive")), SPECTRA)
    part = Part("positive", Library.build(frame))
    references = [Reference("made", "dataset", Path("made"), (part,))]
    queries = frame.head(20).with_columns(identifier=pl.lit("q-") + pl.col("identifier"))

    def sure(**shape):
        [answer] = stream([queries], references, Search(score="cosine", precursor=None, **shape), found.confidence)
        first = answer.hits.unique("identifier", keep="first", maintain_order=True)
        return first.select("identifier", "inchikey14", "probability", "q_value")

    plain = sure()
    assert plain["probability"].null_count() == 0
    for shape in ({"per": "spectrum"}, {"top_k": 1}, {"least_peaks": 2}):
        shaped = sure(**shape).join(plain, on=["identifier", "inchikey14"])
        assert shaped.height > 10
        assert (shaped["probability"] == shaped["probability_right"]).all(), shape


def test_every_kind_of_map(asked):
    answers = asked.answers()
    for kind in confidence.KINDS:
        p = confidence.fit(answers, kind=kind).probability(answers)
        assert np.isfinite(p).all()
        assert p[answers["right"].to_numpy()].mean() > p[~answers["right"].to_numpy()].mean()


def test_a_search_that_tells_less_than_the_calibration_is_refused(asked):
    answers = asked.answers().with_columns(explained=pl.col("score"), explained_library=pl.col("score"))
    made = confidence.fit(answers, kind="logistic")
    with pytest.raises(DataError, match="do not tell: explained"):
        made.probability(answers.with_columns(explained=pl.lit(None, pl.Float64)))


def test_q_values_are_cautious_steps():
    """Ten right answers and a wrong one, each of a molecule of its own."""
    p, right = np.linspace(0.99, 0.89, 11), np.array([1.0] * 10 + [0.0])
    errors = confidence.cautious_errors(p, right, np.ones(11))
    assert errors.y == pytest.approx([5 / 11] * 11)  # few molecules show nothing, however right they are
    many = confidence.cautious_errors(np.repeat(p, 100), np.repeat(right, 100), np.ones(1100))
    assert many.y[0] == pytest.approx(101 / 1101)
    assert many.y[-1] == pytest.approx(5 / 1100)
    assert confidence.cautious_errors(p, right, np.full(11, 20.0)).y[-1] == pytest.approx(5 / 220)
    made = confidence.Confidence("isotonic", (), (), (), (), None, many, record={"molecules": 1100})
    assert made.q_values(np.array([0.0, 0.895, 0.9, 1.0])) == pytest.approx([101 / 1101] * 2 + [5 / 1100] * 2)
    assert made.threshold(0.05) == pytest.approx(0.9)
    assert made.unreachable(0.05) is None
    assert "needs at least 1,250 molecules, and the calibration has 1,100" in str(made.unreachable(0.004))


def test_what_a_map_saw_does_not_judge_it(asked):
    """Out of fold, molecules are judged by a map of the other molecules: a look-up of the score is no better there."""
    answers = asked.answers()
    seen = confidence._fitted(answers, "isotonic").probability(answers)
    unseen = confidence.out_of_fold(answers, "isotonic")
    right = answers["right"].to_numpy().astype(float)
    assert np.mean((right - seen) ** 2) < np.mean((right - unseen) ** 2)
    again = confidence.out_of_fold(answers.reverse(), "isotonic")[::-1]
    assert unseen == pytest.approx(again)


def test_unknown_contributors_count_as_one_and_are_told():
    records = library(30).with_columns(
        source=pl.when(pl.col("identifier").str.ends_with("-0")).then(None).otherwise("source")
    )
    made = LeftOut.make(records, Scoring(), Window(leave_out="source"))
    source = dict(records.select("identifier", "source").iter_rows())
    asked_, there = (
        frame["identifier"].gather(at).to_list()
        for frame, at in ((made.queries, made.pairs.query), (made.library.rows, made.pairs.row))
    )
    assert made.pairs.query.size
    assert all(source[a] != source[b] for a, b in zip(asked_, there, strict=True))
    assert "30 of 70 spectra state no contributor" in made.notes[0]
    everything = LeftOut.make(records, Scoring(), Window())
    assert not everything.notes
    for name in ("x", None):
        with pytest.raises(DataError, match=r"contributor.*(.|\n)*--leave-out spectrum"):
            LeftOut.make(records.with_columns(source=pl.lit(name, pl.String)), Scoring(), Window(leave_out="source"))


def test_ion_modes_do_not_meet():
    modes = pl.Series(["positive", "negative", None] * 30)
    records = library(30).head(60).with_columns(ion_mode=modes.head(60))
    made = LeftOut.make(records, Scoring(), Window())
    mine, other = (
        made.queries["ion_mode"].gather(made.pairs.query),
        made.library.rows["ion_mode"].gather(made.pairs.row),
    )
    pairs = set(zip(mine, other, strict=True))
    assert ("positive", "negative") not in pairs
    assert {("positive", "positive"), ("positive", None), (None, "negative")} <= pairs


def test_what_is_left_out_gives_decoys_no_fragment():
    records = library(30)
    donors = (records["source"] == "x").to_numpy()
    made = decoys(records, "naive", seed=1, donors=donors)
    given = set(records.filter(donors)["mzs"].explode()) | set(records["precursor_mz"])
    assert set(made["mzs"].explode()) <= given
    assert made["mzs"].list.len().mean() > 5


def test_settings_are_compared_by_meaning():
    [one] = [Reference("made", "dataset", Path("made"), (), "hash")]
    told = settings(Search(tolerance="0.02Da", same=("adduct",)), one, "positive", leave_out="source")
    alike = Search(tolerance="0.020Da", precursor="10.0ppm", intensity_power=1, same=("adduct",))
    refuse_another_score(told, alike, "c.json")
    assert doubts(told, alike, [one], {"positive"}) == []
    with pytest.raises(ConfigError, match=r"made with tolerance 0\.02Da, this search has 0\.01Da"):
        refuse_another_score(told, Search(), "c.json")
    with pytest.raises(ConfigError, match="made with score entropy, this search has cosine"):
        refuse_another_score(told, Search(score="cosine", tolerance="0.02Da"), "c.json")
    other = Reference("other", "file", Path("other"), ())
    wide = Search(tolerance="0.02Da", precursor="1Da")
    found = doubts(told, wide, [one, other], {"negative"})
    assert [line.split(",")[0] for line in found] == [
        "candidates within 10ppm", "candidates equal in adduct", "positive mode", "the library made",
    ]  # fmt: skip
    newer = Reference("made", "dataset", Path("made"), (), "another")
    assert doubts(told, alike, [newer], set()) == ["another state of the library made"]
    assert (
        "any precursor" in doubts(told, Search(tolerance="0.02Da", precursor=None, same=("adduct",)), [one], set())[0]
    )


def test_isomers_are_real_and_judged_by_group():
    table = isomers()
    assert [identify(smiles).inchikey14 for smiles in table["smiles"]] == table["inchikey14"].to_list()
    assert [identify(smiles).formula for smiles in table["smiles"]] == table["formula"].to_list()
    assert table.group_by("group").agg(pl.col("formula").n_unique())["formula"].unique().to_list() == [1]
    assert table["inchikey14"].is_unique().all()
    leucine, isoleucine = table["inchikey14"][:2]
    rows = [("a", leucine, leucine, 1.0), ("b", leucine, isoleucine, 0.0), ("c", isoleucine, isoleucine, 1.0)]
    answers = pl.DataFrame(rows, schema=["identifier", "inchikey14", "molecule", "right"], orient="row")
    group = by_group(answers).row(0, named=True)
    assert (group["members"], group["judged"], group["top1"], group["worst"]) == (3, 2, 0.75, "Leucine")
    assert by_isomer(answers)["taken_for"].to_list()[:2] == ["Isoleucine", None]


def test_the_command_writes_what_a_search_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    frame = conform(library(80).with_columns(ion_mode=pl.lit("positive")), SPECTRA)
    store.save("made", frame, Ledger((LedgerEntry("made", frame.height),)), {"title": "made"})
    out = tmp_path / "c.json"
    command = ["confidence", "made", "--out", str(out), "--leave-out", "spectrum", "--calibration", "0.5"]
    page = tmp_path / "page.html"
    more = ["--tables", str(tmp_path / "tables"), "--threads", "1", "--page", str(page)]
    done = CliRunner().invoke(app, [*command, *more])
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    assert text.count('<svg class="chart sizes"') == 5
    assert "http" not in text.replace("http://www.w3.org", "")  # self-contained
    assert "ROC of right against wrong" in text
    assert 'class="bar wrong"' in text
    assert "estimated against true" in done.output
    assert confidence.load(out).search["precursor_tolerance"] == "10ppm"
    rates = pl.read_parquet(tmp_path / "tables" / "rates.parquet")
    assert rates.height == 4 * (3 + len(METHODS))


def test_mistakes_of_files_and_data_are_named(asked, tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="no calibration"):
        confidence.load(tmp_path / "x.json")
    with pytest.raises(DataError, match="too little"):
        confidence.fit(asked.answers().head(5))
    with pytest.raises(DataError, match="no spectrum of the library has a candidate"):
        LeftOut.make(library(1, 1), Scoring(), Window())
    with pytest.raises(ConfigError, match="leave_out"):
        Window(leave_out="all")
