"""Task generation: what is shown, what is refused, what scores, and files of other people's structures."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.errors import ConfigError, PredictionError
from mslitmus.metrics.names import parse_metric
from mslitmus.metrics.structure import score
from mslitmus.referee.golden import golden
from mslitmus.schemas import PREDICTED_STRUCTURES
from mslitmus.tasks.generation import Generation
from mslitmus.tasks.intake import read_predictions
from mslitmus.tasks.template import write_queries

from .made_queries import frame

METRICS = ("mol-hit@1", "mol-hit@2", "mol-tanimoto@2", "mol-mces@2", "mol-valid@2", "mol-formula@2")


def answers(rows: list[tuple[str, str | None, float | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PREDICTED_STRUCTURES, orient="row")


def test_formula_is_shown_or_hidden():
    rows = frame()
    assert "formula" in Generation().queries(rows).columns
    hidden = Generation(formula="hidden").queries(rows)
    assert not {"formula", "smiles", "inchikey14", "name"} & set(hidden.columns)
    with pytest.raises(ConfigError, match="formula 'maybe'"):
        Generation(formula="maybe")  # type: ignore[arg-type]


def test_the_best_of_the_first_structures_counts():
    """Q1 is ethanol, Q2 1-propanol, Q3 2-propanol."""
    task = Generation()
    truth = task.truth(frame())
    given = answers(
        [("Q1", "OCC", 2.0), ("Q1", "C1CC", 1.0), ("Q2", "CC(C)O", 0.5), ("Q2", "CCCO", 0.4), ("Q3", None, None)]
    )
    assert task.check(given, task.queries(frame())).height == 5
    found = task.score(given, truth, METRICS)
    assert found["predicted"].to_list() == [True, True, False]
    assert found["mol-hit@1"].to_list() == [1.0, 0.0, 0.0]
    assert found["mol-hit@2"].to_list() == [1.0, 1.0, 0.0]
    assert found["mol-tanimoto@2"].to_list() == [1.0, 1.0, 0.0]
    assert found["mol-mces@2"].to_list() == [0.0, 0.0, 15.0]
    assert found["mol-valid@2"].to_list() == [0.5, 1.0, 0.0]
    assert found["mol-formula@2"].to_list() == [0.5, 1.0, 0.0]


def test_a_query_left_out_raises_or_fails():
    truth = Generation().truth(frame())
    given = answers([("Q1", "CCO", 1.0)])
    with pytest.raises(PredictionError, match="without a prediction"):
        score(given, truth, METRICS)
    assert score(given, truth, METRICS, "fail")["mol-mces@2"].to_list() == [0.0, 15.0, 15.0]
    with pytest.raises(PredictionError, match="not among the queries"):
        score(answers([("Q9", "CCO", 1.0)]), truth, METRICS, "fail")


def test_what_an_answer_must_be():
    task, queries = Generation(), Generation().queries(frame())
    with pytest.raises(PredictionError, match="NaN or infinite"):
        task.check(answers([("Q1", "CCO", float("nan"))]), queries)
    with pytest.raises(PredictionError, match="a structure twice"):
        task.check(answers([("Q1", "CCO", 1.0), ("Q1", "CCO", 0.5)]), queries)
    shown = task.shown(answers([("Q1", "CCO", 1.0), ("Q1", "CCC", 2.0)]), frame().head(2))
    assert shown["candidates"].to_list() == [["CCC", "CCO"], None]


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_files_of_others(tmp_path, ending):
    """Scores may be left out: rows are then best first. Lists of SMILES count as rows."""
    task, queries = Generation(), Generation().queries(frame())
    readme = write_queries(queries, tmp_path / f"queries.{ending}", task)
    assert "structure" in readme.read_text("utf-8")
    rows = pl.DataFrame({"id": ["Q1", "Q1", "Q2"], "predicted_smiles": ["CCO", "OCC", "CCCO"]})
    path = tmp_path / f"mine.{ending}"
    {"parquet": rows.write_parquet, "jsonl": rows.write_ndjson, "csv": rows.write_csv}[ending](path)
    found = read_predictions(path, task, queries=queries)
    assert found["smiles"].to_list() == ["CCO", "OCC", "CCCO"]
    assert found["score"].to_list() == [0.0, -1.0, 0.0]
    if ending != "csv":
        lists = rows.group_by("id", maintain_order=True).agg("predicted_smiles")
        (lists.write_parquet if ending == "parquet" else lists.write_ndjson)(path)
        assert read_predictions(path, task, queries=queries).equals(found)


def test_names_and_the_frozen_definition():
    assert parse_metric("mol-mces@10").higher_is_better is False
    with pytest.raises(ConfigError, match="names no number of structures"):
        parse_metric("mol-hit@0")
    values, told = golden(["mol-hit@1", "mol-tanimoto@10"], "molecule")
    assert set(values) == set(told) == {"mol-hit@1", "mol-tanimoto@10"}
