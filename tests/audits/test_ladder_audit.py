from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from mslitmus.audits import AUDITS
from mslitmus.audits.denominators import side_by_side
from mslitmus.audits.evidence import CellKey, Evidence
from mslitmus.audits.finding import RunTables
from mslitmus.schemas import COMPARISONS, SUMMARY
from mslitmus.tasks.build import build_task

METRIC = "cosine@0.1Da"


def rows(test: pl.DataFrame, model: str, mean: float, answered: float = 1.0) -> pl.DataFrame:
    noise = np.random.default_rng(len(model)).normal(0, 0.03, test.height)
    got = np.arange(test.height) < answered * test.height
    return test.select("identifier", "inchikey14").with_columns(
        pl.Series(METRIC, np.where(got, mean + noise, 0.0)), pl.Series("predicted", got), split=pl.lit("molecule"),
        model=pl.lit(model), seed=pl.lit(0), fold=pl.lit("test"),
    )  # fmt: skip


def evidence(tiny: pl.DataFrame, kinds: dict[str, str], scores: list[pl.DataFrame]) -> Evidence:
    keys = tiny["inchikey14"].unique().sort()
    train = tiny.filter(pl.col("inchikey14").is_in(keys.head(8).implode()))
    test = tiny.filter(~pl.col("inchikey14").is_in(keys.head(8).implode()))
    empty = pl.DataFrame(schema=dict(SUMMARY)), pl.DataFrame(schema=dict(COMPARISONS))
    tables = RunTables(*empty, kinds, {"molecule": {"method": "molecule"}}, METRIC, pl.concat(scores))
    cells = {CellKey("molecule", model, 0): {} for model in kinds}
    folds = {"train": train, "val": train, "test": test}
    return Evidence(tables, build_task("spectrum-prediction"), cells, lambda split: folds)


@pytest.fixture
def asked(tiny: pl.DataFrame) -> pl.DataFrame:
    keys = tiny["inchikey14"].unique().sort()
    return tiny.filter(~pl.col("inchikey14").is_in(keys.head(8).implode()))


@pytest.mark.parametrize(("copy", "severity"), [(0.3, "pass"), (0.7, "warning"), (0.5, "note")])
def test_a_model_against_the_rung_of_the_run(tiny, asked, copy, severity):
    kinds = {"net": "trained", "copy": "neighbour"}
    (seen,) = AUDITS["ladder"](evidence(tiny, kinds, [rows(asked, "net", 0.5), rows(asked, "copy", copy)]))
    assert seen.severity == severity
    assert "copy: " in seen.evidence


@pytest.mark.parametrize(("mean", "severity"), [(0.99, "pass"), (0.0, "warning")])
def test_without_a_rung_the_look_up_is_made(tiny, asked, mean, severity):
    (seen,) = AUDITS["ladder"](evidence(tiny, {"net": "trained"}, [rows(asked, "net", mean)]))
    assert seen.severity == severity
    assert "nearest-molecule (looked up here" in seen.evidence


def test_three_denominators(tiny, asked):
    scores = [rows(asked, "net", 0.5), rows(asked, "shy", 0.6, answered=0.5)]
    given = evidence(tiny, {"net": "trained", "shy": "trained"}, scores).tables
    skipping = pl.DataFrame({"split": ["molecule"], "model": ["shy"]})
    (seen,) = side_by_side(given, skipping)
    assert (seen.severity, "different winners" in seen.claim) == ("warning", True)
    assert "skips as failures / own answers / answered by all" in seen.evidence
    slower = [rows(asked, "net", 0.8), rows(asked, "shy", 0.6, answered=0.5)]
    (calm,) = side_by_side(replace(given, scores=pl.concat(slower)), skipping)
    assert calm.severity == "note"
