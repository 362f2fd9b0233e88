"""One spelling a metric, every family with the same few facts, and hints over all families."""

from __future__ import annotations

import pytest

from mslitmus.errors import ConfigError
from mslitmus.metrics import describe, family, parse_metric
from mslitmus.metrics.names import FAMILIES, parse_as
from mslitmus.metrics.ranking_names import RankingMetric
from mslitmus.metrics.spectrum_names import SpectrumMetric
from mslitmus.report.numbers import metric_label

SPECTRUM = [
    "cosine@0.01Da", "cosine-sqrt@0.1Da", "jss@1Da", "cosine-mz@5ppm<900", "cosine-sqrt-mz@2.5ppm",
    "entropy@0.01Da<2000:no-precursor", "entropy-unweighted@10ppm", "predicted-entropy",
    "predicted-entropy:no-precursor",
]  # fmt: skip
RANKING = ["hit@1", "hit@20", "hit@1:optimistic", "mrr", "rank", "normalised-rank", "top-1%", "top-1%:optimistic",
           "tanimoto@1", "mces@1", "absence-auc"]  # fmt: skip
FINGERPRINT = ["fp-tanimoto@0.5", "fp-tanimoto@0.25", "fp-tanimoto@1", "fp-tanimoto-soft", "fp-cosine"]
FAMILY_NAMES = {"spectrum": SPECTRUM, "ranking": RANKING, "fingerprint": FINGERPRINT}
ALL = [(name, of) for of, names in FAMILY_NAMES.items() for name in names]


@pytest.mark.parametrize(("name", "of"), ALL)
def test_names_round_trip_and_say_what_they_are(name, of):
    metric = parse_metric(name)
    assert metric.name == name
    assert metric.family == family(name) == of
    assert of in FAMILIES
    assert metric.label
    assert "{" not in metric.label
    assert "{" not in metric.describe
    assert describe(name) == metric.describe
    if metric.best is not None and metric.worst is not None:
        assert (metric.best > metric.worst) == metric.higher_is_better


def test_no_two_metrics_have_one_label():
    labels = [parse_metric(name).label for name, _ in ALL]
    assert len(set(labels)) == len(labels)


def test_where_neither_direction_is_better_there_is_no_best():
    assert parse_metric("predicted-entropy").best is None
    assert not parse_metric("predicted-entropy").higher_is_better
    assert parse_metric("rank").worst is None  # the size of its pool
    assert parse_metric("rank").best == 1


@pytest.mark.parametrize("name", SPECTRUM)
def test_labels_are_those_of_the_report(name):
    assert parse_metric(name).label == metric_label(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("hit@0", "'hit@1'"),
        ("hit", "'hit@1'"),
        ("hit@05", "write 'hit@5'"),
        ("Hit@5", "'hit@5'"),
        ("hits@5", "'hit@5'"),
        ("hit@²", "'hit@1'"),
        ("hit@1:pessimistic", "'hit@1:optimistic'"),
        ("mrr:optimstic", "'mrr:optimistic'"),
        ("mrr@5", "'mrr'"),
        ("tanimoto@1:optimistic", "write 'tanimoto@1'"),
        ("tanimoto@2", "'tanimoto@1'"),
        ("mces", "'mces@1'"),
        ("normalized-rank", "'normalised-rank'"),
        ("top-1", "'top-1%'"),
        ("absence_auc", "'absence-auc'"),
        ("fp-tanimoto", "'fp-tanimoto@0.5'"),
        ("fp-tanimoto@.5", "write 'fp-tanimoto@0.5'"),
        ("fp-tanimoto@0", "'fp-tanimoto@0.5'"),
        ("fp-tanimoto@2", "'fp-tanimoto@0.5'"),
        ("fp-cosine@0.5", "write 'fp-cosine'"),
        ("fpcosine", "'fp-cosine'"),
        ("cosin@0.5Da", "'cosine@0.5Da'"),
        ("hit@1:", "'hit@1'"),
    ],
)
def test_bad_names_are_refused_with_a_hint_over_all_families(name, hint):
    with pytest.raises(ConfigError) as caught:
        parse_metric(name)
    assert hint in str(caught.value)


def test_a_scorer_refuses_metrics_of_another_family():
    assert parse_as(RankingMetric, "hit@5").k == 5
    with pytest.raises(ConfigError, match="family 'ranking'"):
        parse_as(SpectrumMetric, "hit@5")
