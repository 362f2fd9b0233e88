"""The task library-search: who is a candidate, what a model sees, how a ranking of spectra becomes one of molecules."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from mslitmus.errors import ConfigError, DataError, PredictionError
from mslitmus.models.baselines.library_score import LibraryScore
from mslitmus.models.controls.library_controls import LibraryAccession, LibraryChance, LibraryPrecursor
from mslitmus.models.protocol import FitContext
from mslitmus.spectra.library import Library
from mslitmus.tasks.intake import read_predictions
from mslitmus.tasks.library_search import LibrarySearch

PEAKS = {"A": ([50.0, 80.0, 100.0], [1.0, 0.5, 0.2]), "B": ([50.0, 70.0, 100.0], [0.2, 1.0, 0.5])}
SMILES = {"A": "CCCO", "B": "CC(C)O", "C": "CCO"}


def row(name: str, molecule: str, source: str, like: str | None = None, adduct: str = "[M+H]+", mz: float = 100.0):
    mzs, intensities = PEAKS[like or molecule]
    return {
        "identifier": name, "mzs": mzs, "intensities": intensities, "precursor_mz": mz, "adduct": adduct,
        "charge": 1, "ion_mode": "positive", "instrument_type": "QTOF", "fragmentation": "CID",
        "collision_energy": 20.0,
        "collision_energy_kind": "eV", "smiles": SMILES[molecule], "inchikey14": molecule * 14, "formula": "C3H8O",
        "source": source,
    }  # fmt: skip


@pytest.fixture
def records() -> pl.DataFrame:
    """Isomers A and B of two laboratories, an A whose peaks are B's, a C that nothing else shares its mass with."""
    rows = [
        row("a1", "A", "x"), row("a2", "A", "x"), row("a3", "A", "y"), row("b1", "B", "x"), row("b2", "B", "y"),
        row("odd", "A", "y", like="B"), row("sodium", "A", "x", adduct="[M+Na]+"), row("c1", "C", "x", "A", mz=300.0),
        row("c2", "C", "x", "A", mz=300.001),
    ]  # fmt: skip
    return pl.DataFrame(rows)


def made(records: pl.DataFrame, leave_out: str = "spectrum", **options) -> LibrarySearch:
    task = LibrarySearch(leave_out=leave_out, **options)
    return task.over(records, records["identifier"], lambda line: None)


def known(task: LibrarySearch) -> dict[str, str]:
    """Shown name → true identifier, by the peaks and precursor, as the tests' records are named."""
    return dict(zip(task._names["shown"], task._names["true"], strict=True))


def pools_of(task: LibrarySearch) -> dict[str, set[str]]:
    name = known(task)
    return {
        query: {name[each] for each in found}
        for query, found in task.pools.select("identifier", "candidates").iter_rows()
    }


def fitted(model, task, records):
    view = task.training_view(records)
    model.fit(view, view, FitContext(Path("unused")))
    return model


def scored(model, task, records, *metrics):
    rows = task.asked(records)
    answers = task.check(model.predict(task.queries(rows)), task.queries(rows))
    return task.score(answers, task.truth(rows), metrics)


def test_candidates_are_the_others_of_the_window_and_adduct(records):
    task = made(records)
    pools = pools_of(task)
    assert pools["a1"] == {"a2", "a3", "b1", "b2", "odd"}
    assert pools["sodium"] == set()
    assert pools["c1"] == {"c2"}  # 3 ppm away
    assert "sodium" not in task.asked(records)["identifier"].to_list()


def test_a_contributor_can_be_left_out(records):
    assert LibrarySearch().options.leave_out == "source"
    pools = pools_of(made(records, leave_out="source"))
    assert pools["a1"] == {"a3", "b2", "odd"}
    assert pools["c1"] == set()


def test_near_duplicates_can_be_left_out(records):
    assert pools_of(made(records, max_similarity=0.99))["a1"] == {"b1", "b2", "odd"}


def test_what_the_library_can_answer(records):
    answers = dict(made(records, leave_out="source").pools.select("identifier", "library_answer").iter_rows())
    assert answers["a1"] == "among others"
    answers = dict(made(records).pools.select("identifier", "library_answer").iter_rows())
    assert (answers["c1"], answers["sodium"]) == ("the only candidate", "absent")
    asked = made(records, ask="non-trivial").asked(records)["identifier"].to_list()
    assert set(asked) == {"a1", "a2", "a3", "b1", "b2", "odd"}


def test_a_molecule_stands_where_its_best_spectrum_stands(records):
    task = made(records)
    found = scored(fitted(LibraryScore(), task, records), task, records, "hit@1", "rank")
    hits = dict(found.select("identifier", "hit@1").iter_rows())
    assert hits["a1"] == hits["a3"] == hits["c1"] == 1.0
    assert hits["odd"] == 0.0  # its peaks are those of B
    assert hits["b1"] == 0.5  # b2 and odd are equal to the last digit


def test_chance_is_exact_and_the_ceiling_is_what_the_library_holds(records):
    task = made(records)
    found = scored(LibraryChance(), task, records, "hit@1")
    assert dict(found.select("identifier", "hit@1").iter_rows())["a1"] == 0.5  # one of two molecules
    lonely = records.filter(pl.col("identifier") != "b2")
    task = made(lonely)
    rows = task.asked(lonely)
    bounds = task.bounds({"test": rows}, ["hit@1", "rank", "mces@1"])
    assert set(bounds) == {"hit@1"}
    assert bounds["hit@1"]["spectrum"] == pytest.approx(6 / 7)  # b1 alone has no other B
    assert bounds["hit@1"]["molecule"] == pytest.approx(2 / 3)
    assert task.artifacts()["library_pools"]["answers"]["absent"] == 1


def test_spectra_left_out_tie_behind_all_others(records):
    task = made(records)
    rows = records.filter(pl.col("identifier") == "a1")
    answer = pl.DataFrame({"identifier": ["a1"], "candidate": ["b1"], "score": [-3.0]})
    found = task.score(answer, task.truth(rows), ["rank"])
    assert found["rank"].to_list() == [2.0]


def test_a_model_sees_no_structure_of_the_rest_of_the_library(records):
    task = made(records)
    view = task.training_view(records.head(2))
    assert view.height == records.height
    rest = view.tail(-2)
    told = {name for name in rest.columns if rest[name].null_count() < rest.height}
    assert told == set(task.visible) - {"candidates"}  # source, smiles, name, ... are of the training fold alone
    assert view.head(2)["source"].null_count() == 0
    assert set(task.queries(records).columns) == set(task.visible)


def test_names_are_opaque_and_order_tells_nothing(records):
    task = made(records)
    asked = task.asked(records)
    queries, view = task.queries(asked), task.training_view(records.head(3))
    assert not set(queries["identifier"]) & set(records["identifier"])
    assert not set(view["identifier"]) & set(records["identifier"])
    assert set(queries["identifier"]) | set(queries["candidates"].explode()) <= set(view["identifier"])
    assert queries["identifier"].is_sorted()
    assert view["identifier"].head(3).is_sorted()
    assert view["identifier"].tail(-3).is_sorted()
    assert all(row == sorted(row) for row in queries["candidates"].to_list())
    assert made(records).queries(asked).equals(queries)  # the same library, the same names
    other = made(records.filter(pl.col("identifier") != "c2"))
    assert not set(other.queries(records)["identifier"]) & set(queries["identifier"])


def test_what_is_kept_has_the_true_identifiers(records):
    task = made(records)
    rows = task.asked(records)
    queries = task.queries(rows)
    found = task.check(LibraryChance().predict(queries), queries)
    assert found["identifier"].unique(maintain_order=True).to_list() == rows["identifier"].to_list()
    assert set(found["candidate"]) <= set(records["identifier"])
    ranks = task.score(found, task.truth(rows), ["rank"])
    shown = task.score(LibraryChance().predict(queries), task.truth(task.training_view(records)), ["rank"], "fail")
    both = ranks.join(shown, on="identifier")  # before they are checked, as a fit scores them
    assert both.height == ranks.height
    assert both["rank"].equals(both["rank_right"].rename("rank"))


def series(molecules: int = 40, spectra: int = 4) -> pl.DataFrame:
    """Isomers whose spectra are numbered in series, the precursor of all and their peaks alike."""
    numbers = range(molecules * spectra)
    rows = [row(f"LAB-{n:05d}", "A", "xy"[n % 2]) | {"inchikey14": f"{n // spectra:014d}"} for n in numbers]
    return pl.DataFrame(rows)


def test_accession_numbers_would_tell_and_names_do_not():
    records = series()
    task = made(records)
    rows = task.asked(records)
    hit = scored(fitted(LibraryAccession(), task, records), task, records, "hit@1")["hit@1"].mean()
    chance = scored(LibraryChance(), task, records, "hit@1")["hit@1"].mean()
    assert abs(hit - chance) < 0.06
    true = known(task)
    queries = task.queries(rows).with_columns(
        pl.col("identifier").replace(true), pl.col("candidates").list.eval(pl.element().replace(true))
    )
    model = LibraryAccession()
    view = task.training_view(records).with_columns(pl.col("identifier").replace(true))
    model.fit(view, view, FitContext(Path("unused")))
    leak = task.score(model.predict(queries), task.truth(rows), ["hit@1"])["hit@1"].mean()
    assert leak > 0.7


def test_scores_are_chosen_on_validation(records):
    task = made(records)

    class Context(FitContext):
        pass

    def value(predictions, rows):
        truth = task.truth(rows)
        return float(task.score(predictions, truth, ["hit@1"])["hit@1"].mean())

    model = LibraryScore(score=["cosine", "entropy"], mz_power=[0.0, 1.0], precursor=["keep", "remove"])
    view = task.training_view(records)
    report = model.fit(view, view, FitContext(Path("unused"), score=value))
    assert len(report.notes["tried"]) == 6  # entropy has no powers
    assert report.best_score == max(one["validation"] for one in report.notes["tried"])


def test_precursors_alone(records):
    near = records.with_columns(
        precursor_mz=pl.when(pl.col("inchikey14").str.starts_with("B")).then(100.0005).otherwise("precursor_mz")
    )
    task = made(near)
    found = scored(fitted(LibraryPrecursor(), task, near), task, near, "hit@1")
    assert dict(found.select("identifier", "hit@1").iter_rows())["b1"] == 1.0


def test_answers_from_elsewhere(records, tmp_path):
    task = made(records)
    queries = task.queries(task.asked(records))
    path = tmp_path / "hits.csv"
    name = {true: shown for shown, true in known(task).items()}
    path.write_text(f"query,library_identifier,score\n{name['a1']},{name['a2']},0.9\n{name['a1']},{name['b1']},0.1\n")
    found = task.check(read_predictions(path, task, queries), queries)
    assert found["identifier"].to_list() == ["a1", "a1"]
    assert found["candidate"].to_list() == ["a2", "b1"]
    path.write_text("query,library_identifier,score\na1,a2,0.9\n")
    with pytest.raises(PredictionError, match=r"none of its identifiers(.|\n)*opaque names"):
        read_predictions(path, task, queries)
    path.write_text(f"query,library_identifier,score\n{name['a1']},{name['sodium']},0.9\n")
    with pytest.raises(PredictionError, match="not among the query's candidates"):
        task.check(read_predictions(path, task, queries), queries)


def test_mistakes_are_named(records):
    with pytest.raises(ConfigError, match="'leave_out'"):
        LibrarySearch(leave_out="everything")
    with pytest.raises(ConfigError, match="'precursor_tolerence'"):
        LibrarySearch(precursor_tolerence="1ppm")
    with pytest.raises(DataError, match="no library yet"):
        LibrarySearch().queries(records)
    with pytest.raises(ConfigError, match="unknown score"):
        LibraryScore(score="kosine")
    with pytest.raises(ConfigError, match="precursor 'cut'"):
        LibraryScore(precursor="cut")


def test_rivals_are_told_by_what_was_trained_on(records):
    task = made(records)
    train = records.filter(pl.col("inchikey14") == "B" * 14)
    test = records.filter(pl.col("identifier").is_in(["a1", "c1", "sodium"]))
    found = task.rivals({"one": {"train": train, "test": test}, "two": {"train": train.head(0), "test": test}})
    told = {
        (split, name): rivals for split, name, rivals in found.select("split", "identifier", "library_rivals").rows()
    }
    assert told["one", "a1"] == "all trained on"
    assert told["two", "a1"] == "none trained on"
    assert told["one", "c1"] == told["one", "sodium"] == "none"


def test_a_window_says_the_columns_that_it_reads(records):
    for leave_out in ("spectrum", "source"):
        window = LibrarySearch(leave_out=leave_out).window
        kept = records.select(*window.columns, "mzs", "intensities")
        library = Library.build(kept)
        assert window.pairs(library, kept).row.size
