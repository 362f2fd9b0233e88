"""Audits of cohorts: each speaks up about what it is for, and only then."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from mslitmus.audits.cohort import CohortTables, examine_cohort, is_cohort, write
from mslitmus.audits.cohort.blanks import blanks
from mslitmus.audits.cohort.confounding import amount, confounding, line_r2, nearest_mean
from mslitmus.audits.cohort.replicates import replicates
from mslitmus.audits.cohort.size import least_correlation, size, wilson

N = 24


def samples(**columns):
    """24 runs of two groups in two batches, dealt out evenly, with a blank."""
    rng = np.random.default_rng(0)
    empty = [None] * N
    base = {
        "file": [f"s{k}.mzML" for k in range(N)],
        "sample": [f"s{k}" for k in range(N)],
        "unit": [f"s{k}" for k in range(N)],
        "replicate": empty,
        "batch": ["A", "B"] * (N // 2),
        "subject": empty,
        "order": rng.permutation(N).astype(float),
        "acquisition": empty,
        "role": ["sample"] * N,
        "group": (["case"] * 2 + ["control"] * 2) * (N // 4),
        "n_spectra": rng.integers(900, 1100, N),
        "n_peaks": rng.integers(9000, 11000, N),
        "total_intensity": rng.uniform(9e6, 11e6, N),
    }
    schema = dict.fromkeys(("replicate", "subject", "acquisition", "batch", "group"), pl.String())
    schema = {name: dtype for name, dtype in schema.items() if name not in columns}
    frame = pl.DataFrame({**base, **columns}, schema_overrides=schema)
    told = {"role": "blank", "sample": "b0", "unit": "b0", "group": None, "n_spectra": 20}
    blank = frame.head(1).with_columns(pl.lit(v).cast(frame.schema[k]).alias(k) for k, v in told.items())
    return pl.concat([frame, blank])


def tables(frame, predictions=None, results=None):
    return CohortTables(frame, ("group",), predictions, results)


def predictions(folds):
    return pl.DataFrame({
        "question": "classification", "target": "group", "acquisition": "all",
        "representation": "fragments", "seed": "0",
        "fold": folds, "sample": [f"s{k}" for k in range(N)],
    })  # fmt: skip


def worst(findings):
    return findings[0].severity if len({f.severity for f in findings}) == 1 else [f.severity for f in findings]


def test_a_sound_study_passes():
    frame = samples()
    for audit in (confounding, amount, blanks, size):
        assert worst(audit(tables(frame))) == "pass", audit
    assert worst(replicates(tables(frame, predictions(list(range(N)))))) == "note"  # no replicates named


def test_a_batch_for_each_group_is_fatal_and_the_order_too():
    groups = ["case"] * (N // 2) + ["control"] * (N // 2)
    frame = samples(group=groups, batch=["A"] * 6 + ["B"] * 6 + ["C"] * 12, order=np.arange(N) * 1.0)
    found = confounding(tables(frame))
    assert [f.severity for f in found] == ["fatal", "fatal"]
    assert "3 of 3 batches hold one class only" in found[0].evidence
    assert "--together batch" in found[0].remedy


def test_a_batch_that_leans_is_a_warning():
    leaning = ["A" if (g == "case") != (k % 6 == 0) else "B" for k, g in enumerate(samples()["group"].to_list()[:N])]
    assert confounding(tables(samples(batch=leaning)))[0].severity == "warning"


def test_numbers_that_drift_with_the_order():
    found = confounding(tables(samples(group=np.arange(N) / N, order=np.arange(N) * 1.0)))
    assert found[1].severity == "fatal"
    assert "R² 1.00" in found[1].evidence


def test_replicates_do_not_make_a_confounded_batch_significant():
    """Four subjects measured six times each are four."""
    groups = ["case"] * (N // 2) + ["control"] * (N // 2)
    subjects = [f"p{k // 6}" for k in range(N)]
    found = confounding(tables(samples(group=groups, batch=groups, subject=subjects)))
    assert found[0].severity == "pass"
    assert "4 independent samples" in found[0].evidence


def test_the_number_of_spectra_alone():
    groups = samples()["group"].to_list()[:N]
    found = amount(tables(samples(n_spectra=[1000 + k + (300 if g == "case" else 0) for k, g in enumerate(groups)])))
    assert found[0].severity == "warning"
    assert "balanced accuracy of 1.00" in found[0].evidence


def test_blanks_as_a_class_among_the_predictions_and_full_ones():
    frame = samples(group=["blank"] * 6 + ["case"] * 18)
    assert [f.severity for f in blanks(tables(frame))] == ["fatal"]
    asked = predictions([0] * N).with_columns(sample=pl.Series(["b0", *(f"s{k}" for k in range(1, N))]))
    assert "no samples" in blanks(tables(samples(), asked))[0].claim
    full = samples().with_columns(n_spectra=pl.when(pl.col("role") == "blank").then(900).otherwise(pl.col("n_spectra")))
    assert "blanks have half as many" in blanks(tables(full))[0].claim
    empty = samples(n_spectra=[10] + [1000] * (N - 1))
    assert "hardly more spectra than a blank" in blanks(tables(empty))[0].claim


@pytest.mark.parametrize("column", ["replicate", "subject"])
def test_a_group_on_both_sides_of_a_fold(column):
    frame = samples(**{column: [f"g{k // 2}" for k in range(N)]})
    whole = [k // 2 % 5 for k in range(N)]
    assert worst(replicates(tables(frame, predictions(whole)))) == "pass"
    torn = [whole[0] + 1, *whole[1:]]
    found = replicates(tables(frame, predictions(torn)))
    assert found[0].severity == "fatal"
    assert "1 of 12 groups, e.g. g0" in found[0].evidence


def test_replicates_that_are_numbers_of_injections():
    counted = replicates(tables(samples(replicate=[str(k % 3) for k in range(N)])))
    assert counted[0].severity == "warning"
    assert "3 of 3 groups" in counted[0].evidence
    assert not replicates(tables(samples(replicate=[f"g{k // 2}" for k in range(N)])))


def test_the_same_file_twice():
    twin = samples(n_spectra=[1000] * N, n_peaks=[1] * 2 + list(range(2, N)), total_intensity=[5.0] * N)
    assert "the same data" in replicates(tables(twin))[0].claim


def test_too_few_samples():
    few = samples(subject=[f"p{k // 12}" for k in range(N)], group=["case"] * 12 + ["control"] * 12)
    assert worst(size(tables(few))) == "fatal"
    pilot = samples(subject=[f"p{k // 3}" for k in range(N)], group=["case"] * 12 + ["control"] * 12)
    assert worst(size(tables(pilot))) == "warning"
    assert least_correlation(3) == 1
    assert least_correlation(20) == pytest.approx(0.444, abs=1e-3)  # of every table of Pearson's r
    assert wilson(0.5, 10) == pytest.approx(0.263, abs=1e-3)


def test_wide_intervals_are_told():
    row = {"question": "classification", "target": "group", "representation": "fragments", "metric": "macro-f1",
           "seed": "all", "value": 0.7, "low": 0.4, "high": 0.9}  # fmt: skip
    found = size(tables(samples(), results=pl.DataFrame([row])))
    assert found[-1].severity == "warning"
    assert "fragments: macro-f1 0.70 [0.40, 0.90]" in found[-1].evidence


def test_one_number_left_out():
    assert nearest_mean(np.array([0.0, 0.1, 1.0, 1.1]), np.array(["a", "a", "b", "b"])) == 1.0
    x = np.arange(8.0)
    assert line_r2(x, 2 * x) == pytest.approx(1.0)
    assert line_r2(np.array([1.0, -1, 1, -1]), np.array([1.0, 1, -1, -1])) < 0


def test_a_run_folder(tmp_path):
    assert not is_cohort(tmp_path)
    samples().write_parquet(tmp_path / "samples.parquet")
    assert is_cohort(tmp_path)
    found = examine_cohort(tmp_path)
    assert {f.audit for f in found} == {"confounding", "amount", "blanks", "size"}
    assert write(tmp_path, found).is_file()


def two_acquisitions(**columns):
    """Every sample measured twice: RP in the batches given, HILIC in others of its own, with fewer spectra."""
    frame = samples(**columns)
    parts = [
        frame.with_columns(
            acquisition=pl.lit(name), sample=pl.col("unit") + f"@{name}", batch=pl.col("batch") + f" {name}",
            total_intensity=pl.col("total_intensity") * scale, n_spectra=(pl.col("n_spectra") * scale).cast(pl.Int64),
        )
        for name, scale in (("RP", 1.0), ("HILIC", 0.1))
    ]  # fmt: skip
    return pl.concat(parts)


def test_acquisitions_together_are_audited():
    found = {f.claim: f for f in confounding(tables(two_acquisitions()))}
    assert sum("in all acquisitions together" in claim for claim in found) == 2  # batch and order
    assert all(f.severity == "pass" for f in found.values())
    groups = ["case"] * (N // 2) + ["control"] * (N // 2)
    bad = confounding(tables(two_acquisitions(group=groups, batch=["A"] * 12 + ["B"] * 12)))
    assert [f.severity for f in bad if "batch decides group in all acquisitions together" in f.claim] == ["fatal"]
    assert any("together" in f.claim and f.affected == N for f in size(tables(two_acquisitions())))


def test_the_usual_number_of_spectra_is_that_of_an_acquisition():
    assert worst(blanks(tables(two_acquisitions()))) == "pass"
    full = two_acquisitions().with_columns(
        n_spectra=pl.when(pl.col("role") == "blank").then(90).otherwise(pl.col("n_spectra"))
    )
    [found] = blanks(tables(full))
    assert found.claim.endswith("in HILIC")


def test_a_subject_on_both_sides_of_a_fold_of_all_acquisitions():
    frame = two_acquisitions(subject=[f"p{k // 2}" for k in range(N)])
    whole = predictions([k // 2 % 5 for k in range(N)]).with_columns(acquisition=pl.lit("together"))
    assert worst(replicates(tables(frame, whole))) == "pass"
    torn = whole.with_columns(fold=pl.Series([9, *whole["fold"].to_list()[1:]]))
    assert replicates(tables(frame, torn))[0].severity == "fatal"
    blank = whole.with_columns(sample=pl.Series(["b0", *whole["sample"].to_list()[1:]]))
    assert any("no samples" in f.claim for f in blanks(tables(frame, blank)))
