"""Tasks: what is shown, what is hidden, what is refused."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.data.candidates import CandidateSet
from mslitmus.errors import ConfigError, DataError, PredictionError
from mslitmus.metrics.names import family, parse_metric
from mslitmus.models import MODELS
from mslitmus.schemas import CANDIDATES, SPECTRA
from mslitmus.tasks import TASKS
from mslitmus.tasks.fingerprint import Fingerprint
from mslitmus.tasks.protocol import mean_per_molecule, refuse_missing
from mslitmus.tasks.retrieval import Retrieval
from mslitmus.tasks.template import TRUTH


@pytest.fixture
def pools(tiny: pl.DataFrame) -> CandidateSet:
    """Every molecule's pool is all molecules of the frame but the last."""
    every = tiny.unique("inchikey14", maintain_order=True).select("inchikey14", "smiles", "formula")
    pairs = (
        every.head(-1)
        .select(molecule="inchikey14")
        .join(every.select(candidate="inchikey14", smiles="smiles", formula="formula"), how="cross")
    )
    rows = pairs.with_columns(origin=pl.lit("dataset")).select(list(CANDIDATES))
    return CandidateSet.make("all", "mass", {}, rows)


@pytest.fixture
def retrieval(pools: CandidateSet) -> Retrieval:
    return Retrieval(kind="mass", min_candidates=2).with_pools(pools)


def test_a_query_without_a_pool_is_not_asked(retrieval, tiny):
    asked = retrieval.asked(tiny)
    assert asked["inchikey14"].n_unique() == tiny["inchikey14"].n_unique() - 1
    larger = Retrieval(min_candidates=500).with_pools(retrieval.pools)
    assert larger.asked(tiny).is_empty()


@pytest.mark.parametrize("kind", ["mass", "formula"])
def test_queries_hide_the_molecule(kind, pools, tiny):
    task = Retrieval(kind=kind, min_candidates=2).with_pools(pools)
    queries = task.queries(task.asked(tiny))
    assert ("formula" in queries.columns) == (kind == "formula")
    assert not set(queries.columns) & set(TRUTH) - {"formula"}
    row = queries.row(0, named=True)
    assert len(row["candidates"]) == len(row["candidate_smiles"]) == tiny["inchikey14"].n_unique()


def test_what_a_ranking_must_be(retrieval, tiny):
    queries = retrieval.queries(retrieval.asked(tiny))
    answer = queries.select("identifier", pl.col("candidates").alias("candidate")).explode("candidate")
    answer = answer.with_columns(score=pl.int_range(pl.len()).cast(pl.Float64))
    assert retrieval.check(answer, queries).height == answer.height
    with pytest.raises(PredictionError, match="not in the query's pool"):
        retrieval.check(answer.with_columns(candidate=pl.lit("AAAAAAAAAAAAAA")).head(1), queries)
    with pytest.raises(PredictionError, match="candidate twice"):
        retrieval.check(pl.concat([answer, answer]), queries)
    with pytest.raises(PredictionError, match="NaN or infinite"):
        retrieval.check(answer.with_columns(score=pl.lit(float("nan"))), queries)
    with pytest.raises(PredictionError, match="not among the queries"):
        retrieval.check(answer.with_columns(identifier=pl.lit("stranger")), queries)


def test_the_page_is_shown_the_best_candidates_and_the_truths_place(retrieval, tiny):
    rows = retrieval.asked(tiny).head(3)
    truth = retrieval.truth(rows)
    perfect = truth.explode("candidates", "candidate_smiles").select(
        "identifier", candidate="candidates", score=(pl.col("candidates") == pl.col("inchikey14")).cast(pl.Float64)
    )
    shown = retrieval.shown(perfect, rows)
    assert shown["truth_rank"].to_list() == [1.0] * 3
    assert shown["candidates"].list.len().to_list() == [5] * 3
    scores = retrieval.score(perfect, truth, ["hit@1", "mrr"])
    assert mean_per_molecule(scores, truth, "hit@1") == 1.0


def test_pools_come_before_queries_and_options_are_named(tiny):
    with pytest.raises(DataError, match="no candidates yet"):
        Retrieval().queries(tiny)
    with pytest.raises(ConfigError, match="'sise'"):
        Retrieval(sise=3)
    with pytest.raises(ConfigError, match="formula 'maybe'"):
        Fingerprint(formula="maybe")  # type: ignore[arg-type]


def test_fingerprints_are_probabilities(tiny):
    task = Fingerprint()
    queries = task.queries(task.eligible(tiny)).head(2)
    assert "formula" not in queries.columns
    bits = pl.Series("fingerprint", [[0.5] * 2048] * 2)
    answer = queries.select("identifier").with_columns(bits)
    assert task.check(answer, queries).height == 2
    with pytest.raises(PredictionError, match="outside 0 to 1"):
        task.check(answer.with_columns(pl.Series("fingerprint", [[0.5] * 2047 + [float("nan")]] * 2)), queries)
    with pytest.raises(PredictionError, match="without 2,048"):
        task.check(answer.with_columns(pl.Series("fingerprint", [[0.5]] * 2)), queries)


def test_missing_answers_are_named(tiny):
    queries = tiny.select("identifier")
    with pytest.raises(PredictionError, match=r"1 of \d+ queries have no prediction"):
        refuse_missing(queries.tail(-1), queries)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_names_metrics_and_controls_that_exist(name):
    task = TASKS[name]()
    assert task.headline in task.default_metrics
    assert parse_metric(task.headline).higher_is_better
    assert {family(metric) for metric in task.default_metrics} == {task.metric_family}
    assert all(MODELS[control].kind in ("blind", "neighbour") for control in task.controls)
    assert any(MODELS[control].kind == "blind" for control in task.controls)
    assert set(task.visible) <= {*SPECTRA, "candidates", "candidate_smiles"}
