from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from mslitmus.audits import AUDITS, Evidence, examine
from mslitmus.audits.denominators import answered_only
from mslitmus.audits.finding import SEVERITIES, RunTables
from mslitmus.schemas import COMPARISONS, SUMMARY

METRIC = "cosine@0.1Da"


def summary(**coverage: float) -> pl.DataFrame:
    rows = [
        {
            "split": "molecule", "model": model, "seed": None, "fold": fold, "metric": METRIC, "average": average,
            "mean": {"copy": 0.3, "floor": 0.1}.get(model, 0.5), "low": 0.0, "high": 1.0, "n_queries": 200,
            "n_molecules": 50, "coverage": share,
        }
        for model, share in coverage.items() for fold in ("val", "test") for average in ("spectrum", "molecule")
    ]  # fmt: skip
    return pl.DataFrame(rows, schema={k: v for k, v in SUMMARY.items() if k in rows[0]})


def comparison(a: str, b: str, difference: float, **change: object) -> dict:
    return {
        "split": "molecule", "metric": METRIC, "model_a": a, "model_b": b, "difference": difference,
        "low": difference - 0.05, "high": difference + 0.05, "p": 0.01, "p_holm": 0.02, "effect_size": 0.5,
        "n_queries": 200, "n_molecules": 50, **change,
    }  # fmt: skip


KINDS = {"net": "trained", "copy": "neighbour", "floor": "blind"}


def tables(coverage=1.0, overlap=0, difference=0.2, flipped=False, **change) -> RunTables:
    pair = ("copy", "net", -difference) if flipped else ("net", "copy", difference)
    rows = [comparison(*pair, **{"p_holm": 0.9 if difference == 0 else 0.02, **change})]
    record = {"method": "molecule", "difficulty": {"overlap": {"molecules": {"count": overlap, "share": overlap / 50}}}}
    compared = pl.DataFrame(rows, schema=dict(COMPARISONS))
    return RunTables(summary(net=coverage, copy=1.0, floor=1.0), compared, KINDS, {"molecule": record}, METRIC)


def found(name: str, run: RunTables) -> list:
    return AUDITS[name](Evidence(run))


def worst(name: str, **change) -> str:
    return min((f.severity for f in found(name, tables(**change))), key=SEVERITIES.index)


def test_an_honest_run_passes_all():
    findings = examine(Evidence(tables())).findings
    assert {f.severity for f in findings} == {"pass"}
    assert {f.audit for f in findings} == {name for name in AUDITS if AUDITS[name].cost == "quick"}


def test_skipped_queries_are_counted():
    assert worst("denominators", coverage=0.4) == "warning"
    assert found("denominators", tables(coverage=0.4))[0].affected == 120


def scores() -> pl.DataFrame:
    """Two seeds of a model that answers one spectrum of two, the easier one; molecules of one and of three spectra."""
    rows = [("a", 0.9, True), ("b", 0.6, True), ("b", 0.4, True), ("b", 0.0, False), ("c", 0.0, False)]
    return pl.DataFrame(
        [
            {"split": "molecule", "model": "net", "seed": seed, "fold": fold, "identifier": f"{fold}{k}",
             "inchikey14": key, "predicted": answered, METRIC: value + 0.02 * seed * answered}
            for seed in (0, 1) for fold in ("val", "test") for k, (key, value, answered) in enumerate(rows)
        ]
    )  # fmt: skip


def test_the_mean_of_a_shrunken_denominator():
    found = answered_only(scores().filter(pl.col("fold") == "test"), [METRIC]).rows_by_key("average", named=True)
    assert found["spectrum"][0]["mean"] == pytest.approx((0.9 + 0.6 + 0.4) / 3 + 0.01)
    assert found["molecule"][0]["mean"] == pytest.approx((0.9 + 0.5) / 2 + 0.01)
    assert (found["molecule"][0]["n_queries"], found["molecule"][0]["n_molecules"]) == (3, 2)


def test_a_skipping_models_headline_would_move():
    told = replace(tables(coverage=0.6), scores=scores())
    said = next(f for f in found("denominators", told) if f.severity == "warning").evidence
    assert (
        "over all queries 0.500, place 1 of 3; over the answered alone 0.710 (+0.210), which would be place 1" in said
    )


def test_the_trivial_model_is_the_better_one():
    assert worst("trivial", difference=0.0) == "warning"
    assert worst("trivial", difference=-0.2) == "warning"
    assert worst("trivial", difference=0.2, flipped=True) == "pass"
    assert "nearest" not in found("trivial", tables())[0].claim
    assert "copy" in found("trivial", tables())[0].claim  # the better of the two controls on validation


def test_leaked_molecules_are_counted():
    assert worst("overlap", overlap=5) == "warning"
    assert examine(Evidence(tables(overlap=5))).findings[0].severity == "warning"  # the most severe comes first


@pytest.mark.parametrize("difficulty", [None, {}, {"overlap": None}, {"overlap": {}}])
def test_an_overlap_nobody_measured_is_no_pass(difficulty):
    run = tables()
    record = {"method": "molecule", "difficulty": difficulty}
    (seen,) = found("overlap", RunTables(run.summary, run.comparisons, run.kinds, {"molecule": record}, run.primary))
    assert (seen.severity, "not measured" in seen.claim) == ("note", True)


def test_the_verdict_is_holms_as_on_the_page():
    seen = found("trivial", tables(difference=0.2, p_holm=0.35))[0]  # its interval excludes 0, the family does not
    assert (seen.severity, "cannot be told" in seen.claim) == ("warning", True)


@pytest.mark.parametrize("flipped", [False, True])
def test_one_molecule_gives_no_verdict(flipped):
    seen = found("trivial", tables(flipped=flipped, low=None, high=None, p_holm=None))[0]
    assert seen.severity == "warning"
    assert "no interval" in seen.evidence
    assert "p = undefined" in seen.evidence


def test_near_twins_are_noted():
    run = tables()
    twins = {"histogram": {"edges": [0.0, 0.95, 1.0], "counts": [80, 20]}}
    record = {**run.splits["molecule"], "difficulty": {**run.splits["molecule"]["difficulty"], "nearest_train": twins}}
    seen = found("overlap", RunTables(run.summary, run.comparisons, run.kinds, {"molecule": record}, run.primary))
    assert [f.severity for f in seen] == ["pass", "note"]
    assert seen[1].affected == 20
