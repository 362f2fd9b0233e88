"""The scorer's contract: denominators, refusals, names."""

from __future__ import annotations

import polars as pl
import pytest

from mslitmus.errors import ConfigError, MslitmusError, PredictionError, SchemaError
from mslitmus.metrics import describe, parse_metric, score
from mslitmus.metrics.kernels import MEASURES
from mslitmus.metrics.spectrum_names import MEASURES as NAMED

NAMES = ["cosine@0.01Da", "entropy@10ppm", "jss@1Da:no-precursor", "predicted-entropy"]


def spectra(rows, precursor=300.0):
    return pl.DataFrame(
        [{"identifier": i, "mzs": m, "intensities": v, "precursor_mz": precursor} for i, m, v in rows],
        schema={
            "identifier": pl.String,
            "mzs": pl.List(pl.Float64),
            "intensities": pl.List(pl.Float32),
            "precursor_mz": pl.Float64,
        },
    )


TRUTH = spectra([("a", [100.0, 200.0], [1.0, 0.5]), ("b", [150.0, 300.0], [0.2, 1.0]), ("c", [300.0], [1.0])])


def test_rows_follow_the_truth_and_any_order_of_predictions_is_the_same():
    swapped = [("c", [300.0], [7.0]), ("b", [300.0, 150.0], [10.0, 2.0]), ("a", [200.0, 100.0], [0.5, 1.0])]
    result = score(spectra(swapped).drop("precursor_mz"), TRUTH, NAMES)
    assert result["identifier"].to_list() == ["a", "b", "c"]
    assert result.columns == ["identifier", "predicted", *NAMES]
    assert result["cosine@0.01Da"].to_list() == pytest.approx([1, 1, 1])
    assert result["jss@1Da:no-precursor"].to_list() == pytest.approx([1, 1, 0])  # nothing left of c: 0, not NaN


def test_missing_raises_or_fails_and_the_denominator_stays():
    some = spectra([("a", [100.0, 200.0], [1.0, 0.5])])
    with pytest.raises(PredictionError, match=r"2 rows without a prediction: 'b', 'c'"):
        score(some, TRUTH, NAMES)
    result = score(some, TRUTH, NAMES, missing="fail")
    assert result["predicted"].to_list() == [True, False, False]
    assert result["cosine@0.01Da"].to_list() == pytest.approx([1.0, 0.0, 0.0])
    with pytest.raises(ConfigError):
        score(some, TRUTH, NAMES, missing="skip")


def test_empty_predictions_score_zero():
    empty = spectra([("a", [], []), ("b", [150.0], [0.0]), ("c", [300.0], [1.0])])
    result = score(empty, TRUTH, NAMES)
    assert result["predicted"].to_list() == [False, False, True]
    assert result.row(0)[2:] == result.row(1)[2:] == (0.0, 0.0, 0.0, 0.0)
    assert not any(v != v for row in result.iter_rows() for v in row[2:])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", [100.0], [float("nan")])], "NaN"),
        ([("a", [100.0], [-1.0])], "negative"),
        ([("a", [float("inf")], [1.0])], "infinite"),
        ([("a", [0.0], [1.0])], "NaN"),
        ([("a", [100.0, None], [1.0, 1.0])], "NaN"),
        ([("a", [100.0, 101.0], [1.0])], "unequal"),
        ([("a", [100.0], [1.0]), ("a", [100.0], [1.0])], "more than once"),
        ([("x", [100.0], [1.0]), ("a", [1.0], [1.0])], "not among the queries: 'x'"),
    ],
)
def test_bad_predictions_name_the_rows(rows, message):
    with pytest.raises(PredictionError, match=message) as caught:
        score(spectra(rows), TRUTH, NAMES, missing="fail")
    assert "'a'" in str(caught.value) or "'x'" in str(caught.value)
    assert caught.value.remedy


def test_at_most_five_are_named():
    rows = [(f"x{k}", [100.0], [1.0]) for k in range(9)]
    with pytest.raises(PredictionError, match=r"9 rows .*'x0', 'x1', 'x2', 'x3', 'x4', …"):
        score(spectra(rows), TRUTH, NAMES)


def test_bad_truth_is_not_blamed_on_the_predictions():
    with pytest.raises(SchemaError, match="precursor_mz"):
        score(TRUTH, TRUTH.drop("precursor_mz"), NAMES)
    assert score(TRUTH, TRUTH.drop("precursor_mz"), NAMES[:2]).height == 3
    with pytest.raises(SchemaError, match="precursor"):
        score(TRUTH, TRUTH.with_columns(precursor_mz=pl.lit(None, dtype=pl.Float64)), NAMES)
    with pytest.raises(SchemaError, match="repeated"):
        score(TRUTH, pl.concat([TRUTH, TRUTH]), NAMES)
    with pytest.raises(PredictionError, match="intensities"):
        score(TRUTH.drop("intensities"), TRUTH, NAMES)


def test_no_queries_no_rows():
    assert score(TRUTH.head(0), TRUTH.head(0), NAMES).height == 0


def test_every_measure_has_a_kernel_and_a_meaning():
    assert set(MEASURES) | {"predicted-entropy"} == set(NAMED)


@pytest.mark.parametrize(
    "name",
    ["cosine@0.01Da", "cosine-sqrt@0.1Da", "jss@1Da", "cosine-mz@5ppm<900", "entropy@0.01Da<2000:no-precursor",
     "predicted-entropy", "predicted-entropy:no-precursor", "cosine@2.5ppm"],
)  # fmt: skip
def test_names_round_trip(name):
    metric = parse_metric(name)
    assert metric.name == name
    assert (metric.width is None) != (metric.ppm is None)
    assert describe(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cosin@0.01Da", "'cosine@0.01Da'"),
        ("cosine@.01Da", "'cosine@0.01Da'"),
        ("cosine@0.010Da", "'cosine@0.01Da'"),
        ("cosine@0.01Da<1005", "'cosine@0.01Da'"),
        ("cosine", "cosine@0.01Da"),
        ("cosine@0.01", "cosine@10ppm"),
        ("cosine@0.01da", "cosine@0.01Da"),
        ("predicted-entropy@1Da", "'predicted-entropy'"),
        ("predicted-entropie", "'predicted-entropy'"),
        ("jss@0Da", "0.0001 Da"),
        ("jss@5Da<1", "maximum"),
        ("entropy@10ppm:no-prec", ":no-precursor"),
        ("", "known"),
    ],
)
def test_bad_names_are_refused_with_a_hint(name, hint):
    with pytest.raises(MslitmusError) as caught:
        parse_metric(name)
    assert isinstance(caught.value, ConfigError)
    assert hint in str(caught.value)


@pytest.mark.real
def test_a_recorded_file_scores_one_against_itself(real_data):
    from mslitmus.spectra import formats

    frame = formats.read(real_data("readers/example_5_spectra.mgf")).frame
    names = ["cosine@0.01Da", "cosine-sqrt@1Da", "jss@0.1Da", "entropy@10ppm", "cosine-mz@10ppm"]
    values = score(frame, frame, names).drop("identifier", "predicted")
    assert values.to_numpy().ravel() == pytest.approx(1.0)
